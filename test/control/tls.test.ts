// TLS to NATS with real nats-servers: what crosses the wire, who is believed, and who is not before
// any credential was used.
import { execFileSync } from "node:child_process";
import { readFile, rm, stat } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  AdminClient,
  Controller,
  createIdentity,
  createMesh,
  endWarnings,
  ensureServerCertificate,
  joinMesh,
  readMembership,
  renewMembership,
  writeMembership,
} from "../../control/index.js";
import { Link, parseCredentials, signingKey } from "../../control/nats/index.js";
import { inboxOf } from "../../control/subjects.js";
import { fingerprintOf, type ServerCertificate } from "../../control/tls/index.js";
import { openToken } from "../../control/token.js";
import { type NatsServer, startNatsServer } from "../../src/natsd/index.js";
import { codeOf, eventually, factsOf, joinNode, type TestMesh, withMesh } from "./fixture.js";
import { recordedWire } from "./wire.js";

const wishes = (index: number) => ({
  identity: createIdentity(),
  name: `n${index}`,
  underlay: { address: `192.0.2.${index}`, port: 8472 },
});

test("a token names the CA, a node keeps it, and all that crosses is a TLS stream", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const { token } = await (await mesh.admin()).tokens.create();
    assert.is(openToken(token).ca, fingerprintOf(mesh.mesh.ca ?? ""));
    assert.match(mesh.server.url, /^tls:/);
    const wire = await recordedWire(mesh.server.port);
    mesh.later(() => wire.close());
    const own = wishes(1);
    const membership = await joinMesh(token, { ...own, servers: [wire.url] });
    assert.is(membership.ca, mesh.mesh.ca);
    const file = join(mesh.dir, "node", "membership.json");
    await writeMembership(file, membership);
    const again = await readMembership(file);
    assert.equal(again, membership);
    assert.is((await stat(join(mesh.dir, "node", "ca.pem"))).mode & 0o777, 0o600);
    const session = await mesh.session(
      { membership, identity: own.identity },
      {
        servers: [wire.url],
      },
    );
    await session.ready(10_000);
    assert.ok(session.encrypted);
    await session.writeNode(factsOf(1));
    await eventually("its record is there", async () => session.snapshot()?.nodes.size === 1);
    const rest = wire.bytes().replace(/INFO \{[^\r]*\r\n/g, "");
    assert.ok(rest.length > 4_000);
    const words = ["CONNECT {", own.identity.nodeId, "eyJ0eXAi", "$KV.mesh", "192.0.2.1"];
    assert.equal(
      words.filter((word) => rest.includes(word)),
      [],
    );
  });
});

/** Listens as the mesh's server would, and is one of another mesh: with another CA, or no TLS. */
async function impostor(mesh: TestMesh, tls: boolean): Promise<NatsServer> {
  const dir = join(mesh.dir, tls ? "impostor" : "plain");
  const other = await createMesh(join(dir, "mesh"), { servers: [], tls });
  const server = await startNatsServer({ mesh: other, dir: join(dir, "nats"), port: 0 });
  mesh.later(() => server.stop());
  return server;
}

/** A wire to an impostor, to see what was sent to it. */
async function wireTo(mesh: TestMesh, server: NatsServer) {
  const wire = await recordedWire(server.port);
  mesh.later(() => wire.close());
  return wire;
}

for (const [what, tls, code] of [
  ["another CA", true, "MESHD_TLS_MISMATCH"],
  ["no TLS", false, "MESHD_TLS_MISSING"],
] as const) {
  test(`a server with ${what} is refused by who joins, renews, follows or asks`, async () => {
    await withMesh({}, async (mesh) => {
      await mesh.controller();
      const { token } = await (await mesh.admin()).tokens.create({ uses: null });
      const joined = await joinNode(token, 1);
      const wire = await wireTo(mesh, await impostor(mesh, tls));
      const servers = [wire.url];
      const { identity, membership } = joined;
      const { adminCredentials: credentials, name, ca } = mesh.mesh;
      assert.is(await codeOf(joinMesh(token, { ...wishes(2), servers })), code);
      assert.is(await codeOf(renewMembership(membership, identity, { servers })), code);
      const admin = AdminClient.connect({ servers, ca, credentials, mesh: name });
      assert.is(await codeOf(admin), code);
      assert.is(await codeOf(Controller.start({ mesh: mesh.mesh, servers })), code);
      const said: unknown[] = [];
      const log = (_: string, fields: Record<string, unknown>) => void said.push(fields.code);
      const session = await mesh.session(joined, { servers, log });
      await eventually("it has tried", () => said.includes(code));
      assert.not(session.connected);
      const text = wire.bytes();
      for (const word of ["CONNECT {", "eyJ0eXAi"]) assert.not(text.includes(word), word);
      const [spent] = await (await mesh.admin()).tokens.list();
      assert.is(spent?.uses, 1, "the token was not used");
    });
  });
}

test("a server of the mesh in another's place is refused: its certificate names it", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const { token } = await (await mesh.admin()).tokens.create();
    // 127.0.0.9 leads to the server, whose certificate is for 127.0.0.1.
    const wire = await wireTo(mesh, mesh.server);
    const servers = [wire.url.replace("127.0.0.1", "127.0.0.9")];
    const relay = await relayAt("127.0.0.9", wire.url);
    mesh.later(() => relay());
    assert.is(await codeOf(joinMesh(token, { ...wishes(1), servers })), "MESHD_TLS_MISMATCH");
    const { ca } = mesh.mesh;
    const given = joinMesh(token, { ...wishes(1), servers, ca: ca ?? "" });
    assert.is(await codeOf(given), "MESHD_TLS_MISMATCH", "also with the CA at hand");
  });
});

/** Listens on another address of loopback for a server, on its port. */
function relayAt(host: string, url: string): Promise<() => Promise<void>> {
  const port = Number(new URL(url).port);
  const server = createServer((client) => {
    const up = connect({ host: "127.0.0.1", port });
    for (const one of [client, up]) one.on("error", () => undefined);
    client.pipe(up).pipe(client);
  });
  return new Promise((resolve) =>
    server.listen(port, host, () =>
      resolve(() => new Promise((done) => void server.close(() => done()))),
    ),
  );
}

test("a certificate is renewed at half of its life; clients come back to the new one", async () => {
  await withMesh({}, async (mesh) => {
    const place = { mesh: mesh.mesh, dir: join(mesh.dir, "short"), port: 0 };
    const renewals: (ServerCertificate | Error)[] = [];
    const onRenewal = (one: ServerCertificate | Error) => void renewals.push(one);
    const server = await startNatsServer({ ...place, certificate_s: 4, onRenewal });
    mesh.later(() => server.stop());
    const user = parseCredentials(await readFile(mesh.mesh.controllerCredentials, "utf8"));
    const inbox = inboxOf.controller(signingKey(user.seed).publicKey);
    const way = { servers: [server.url], ca: () => mesh.mesh.ca, user: () => user, inbox };
    const first = await Link.open({ ...way, name: "first" });
    mesh.later(() => first.close());
    const began = first.certificate?.ends.getTime() ?? 0;
    assert.ok(began - Date.now() <= 4_000);
    // The first certificate is over by then: who comes now is shown a newer one.
    await eventually("its end is past", () => Date.now() > began + 1_000);
    const second = await Link.open({ ...way, name: "second" });
    mesh.later(() => second.close());
    assert.ok((second.certificate?.ends.getTime() ?? 0) > began);
    assert.ok(renewals.length >= 2 && renewals.every((one) => !(one instanceof Error)));
    // nats-server 2.9 in operator mode ends connections when it reads its configuration anew.
    const shown = () => first.certificate?.ends.getTime() ?? 0;
    await eventually("it is back", () => first.connected && shown() > began);
  });
});

test("a certificate is kept while it does, and made anew for another host or CA", async () => {
  await withMesh({}, async ({ mesh, dir }) => {
    const at = (hosts: string[], days = 0) =>
      ensureServerCertificate(mesh.dir, {
        ...{ dir: join(dir, "certificate"), hosts },
        now: new Date(Date.now() + days * 86_400_000),
      });
    assert.ok((await at(["a.example", "2001:db8::1"])).isNew);
    assert.not((await at(["a.example"])).isNew);
    assert.not((await at(["2001:db8:0::1"], 44)).isNew);
    assert.ok((await at(["a.example"], 46)).isNew);
    assert.ok((await at(["b.example"], 46)).isNew);
    const { file, caFile } = await at(["b.example"], 46);
    assert.is((await stat(file)).mode & 0o777, 0o600);
    execFileSync("openssl", ["verify", "-x509_strict", "-no_check_time", "-CAfile", caFile, file]);
    await rm(join(mesh.dir, "ca.key"));
    assert.is(await codeOf(at(["c.example"], 46)), "MESHD_NO_MESH");
    assert.not((await at(["b.example"], 100)).isNew, "past its half, and nobody can sign");
  });
});

test("what is in the last tenth of its life is warned of", () => {
  const begins = new Date("2026-01-01T00:00:00Z");
  const ends = new Date("2026-04-11T00:00:00Z");
  const at = (time: string) => endWarnings([{ what: "it", begins, ends }], new Date(time));
  assert.equal(at("2026-03-31T00:00:00Z"), []);
  assert.match(at("2026-04-02T00:00:00Z").join(), /^it: near their end, not renewed in time/);
  assert.match(at("2026-04-12T00:00:00Z").join(), /^it: over/);
});

test.run();
