// meshd admin and meshd keys against a real nats-server and a real controller: files, roles, what a
// person sees, and what the controller's log says of him.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { until } from "../support/netns.js";
import { freePort } from "../support/ports.js";
import { ask, meshd, type UpView } from "./real.js";
import { makeWorld, type World } from "./world.js";

const test = suite("cli/administrators");

interface AdminRow {
  name: string;
  role: string;
  state: string;
  expires: string | null;
}

let world: World;
let up: UpView;
const file = (name: string) => join(world.stateDir, "..", name);

test.before(async () => {
  world = makeWorld();
  const where = ["--listen", "127.0.0.1", "--port", String(await freePort()), "--no-systemd"];
  up = await ask<UpView>(world, "up", ...where);
});

test.after(async () => {
  await meshd(world, "down");
  world.remove();
});

/** What a person with a credentials file and nothing else of the mesh is told. */
function asOnly(creds: string, ...words: string[]) {
  const away = ["--creds", creds, "--state-dir", file("elsewhere"), "--run-dir", file("away")];
  return world.run([...words, ...away], {});
}

test("an administrator's file opens the mesh from anywhere, as far as the role goes", async () => {
  const anna = file("anna.creds");
  const made = await ask<AdminRow & { file: string }>(
    world,
    ...["admin", "add", "anna", "--role", "operator", "--expires", "30d", "--out", anna],
  );
  assert.equal([made.name, made.role, made.file], ["anna", "operator", anna]);
  assert.is(statSync(anna).mode & 0o777, 0o600);
  const token = await asOnly(anna, "token", "create");
  assert.is(token.code, 0, token.err);
  assert.match(token.out, /^meshd1\./);
  const refused = await asOnly(anna, "config", "set", "mtu", "1400");
  assert.is(refused.code, 1);
  assert.match(refused.err, /^meshd: anna may not ask for config.set: it needs role admin; /);
  const again = await meshd(world, "admin", "add", "anna", "--role", "admin", "--out", anna);
  assert.match(again.err, /is there already/, "a file is not written over");
  const log = readFileSync(join(world.stateDir, "controller.log"), "utf8");
  assert.match(log, /admin-change by=admin path=admins.add name=anna role=operator/);
  assert.match(log, /admin-change by=anna path=tokens.create .*made=[0-9a-f]{32}/);
  assert.not.match(log, /SU[A-Z2-7]{40}/, "no seed");
});

test("the command that admin add prints works where it was made", async () => {
  const port = new URL(up.servers[0] ?? "").port;
  const words = ["admin", "add", "eva", "--role", "observer", "--out", file("eva.creds")];
  const other = `tls://localhost:${port}`;
  const ca = join(world.stateDir, "mesh/ca.pem");
  const { code, out, err } = await meshd(world, ...words, "--nats", other, "--nats-ca", ca);
  assert.is(code, 0, err);
  const command = / Try: meshd (.*)\n$/.exec(out)?.[1]?.split(" ") ?? [];
  assert.equal(command, ["--nats", other, "--creds", file("eva.creds"), "node", "list"]);
  const shown = await world.run(
    [...command, "--state-dir", file("no"), "--run-dir", file("no")],
    {},
  );
  assert.is(shown.code, 0, shown.err);
  await ask(world, "admin", "remove", "eva");
});

test("a key made elsewhere: no secret is printed, and take makes a credentials file", async () => {
  const otto = file("otto.creds");
  const { out: key } = await world.run(["admin", "key", otto], {});
  assert.is(statSync(otto).mode & 0o777, 0o600);
  const words = ["admin", "add", "otto", "--role", "observer", "--key", key.trim()];
  const granted = await meshd(world, ...words);
  assert.is(granted.code, 0, granted.err);
  assert.not.match(granted.out, /SEED/);
  writeFileSync(file("grant"), granted.out);
  const wrong = await world.run(
    ["admin", "take", file("anna.creds"), "--grant", file("grant")],
    {},
  );
  assert.match(wrong.err, /not what "meshd admin add --key" printed/);
  const taken = await world.run(["admin", "take", otto, "--grant", file("grant")], {});
  assert.is(taken.code, 0, taken.err);
  const list = await asOnly(otto, "admin", "list", "--json");
  assert.is(list.code, 0, list.err);
  const rows = JSON.parse(list.out) as AdminRow[];
  assert.equal(
    rows.map(({ name, role, state }) => [name, role, state]),
    [
      ["admin", "admin", "active"],
      ["anna", "operator", "active"],
      ["otto", "observer", "active"],
    ],
  );
  assert.ok(
    rows.every(({ expires }) => expires !== null),
    "each ends",
  );
  const refused = await asOnly(otto, "token", "create");
  assert.match(refused.err, /otto may not ask for tokens.create: it needs role operator; /);
});

test("remove shuts out at once; recover lets him in who has the mesh's folder", async () => {
  await ask(world, "admin", "remove", "anna");
  // The controllers refuse her at once, the server a moment later.
  await until("the server refuses her", async () => {
    const refused = await asOnly(file("anna.creds"), "node", "list");
    assert.is(refused.code, 1);
    return refused.err.includes("refused the credentials");
  });
  const last = await meshd(world, "admin", "remove", "admin");
  assert.match(last.err, /last administrator with role admin/);
  const { name } = await ask<{ name: string }>(world, "admin", "recover");
  await ask(world, "admin", "remove", "admin");
  const rows = await ask<AdminRow[]>(world, "admin", "list");
  assert.equal(
    rows.map((row) => row.name),
    ["otto", name],
  );
  assert.ok(existsSync(up.adminCredentials));
});

test("keys move takes two keys off the host, up says so until then, and all goes on", async () => {
  const before = await ask<{ offlineKeys: string[] }>(world, "up");
  assert.is(before.offlineKeys.length, 2);
  assert.match((await meshd(world, "up")).out, /nothing that runs reads them; 'meshd keys move/);
  const { moved } = await ask<{ moved: string[] }>(world, "keys", "move", file("safe"));
  assert.ok(moved.every((path) => existsSync(path)));
  const listed = await ask<{ file: string; here: boolean }[]>(world, "keys", "list");
  assert.equal(
    listed.filter(({ here }) => !here).map((one) => one.file.split("/").at(-1)),
    ["operator.nk", "account.nk"],
  );
  await ask(world, "down");
  const after = await ask<{ offlineKeys: string[] }>(world, "up", "--no-systemd");
  assert.equal(after.offlineKeys, []);
  const { tokenId } = await ask<{ tokenId: string }>(world, "token", "create");
  const revoked = await meshd(world, "token", "revoke", tokenId);
  assert.is(revoked.out, `token ${tokenId} is revoked\n`);
});

test("keys rotate does a step at a time and says what is next", async () => {
  const step = async (what: string) =>
    (await ask<{ step: string }>(world, "keys", "rotate", what)).step;
  const begun = await meshd(world, "keys", "rotate", "account-signing");
  assert.match(begun.out, /copy .*account-signing.next.nk .*mesh.json/);
  assert.match(begun.out, /next, when all took it: 'meshd keys rotate account-signing' once more/);
  const during = await ask<{ file: string }[]>(world, "keys", "list");
  assert.ok(during.some(({ file: path }) => path.endsWith("account-signing.next.nk")));
  assert.is(await step("account-signing"), "ended");
  await until("the folder's own administrator is taken", async () => {
    return (await meshd(world, "node", "list")).code === 0;
  });
  assert.is(await step("ca"), "begun");
  const wrong = await meshd(world, "keys", "rotate", "grant");
  assert.match(wrong.err, /rotate what\? One of ca, account-signing/);
});

test.run();
