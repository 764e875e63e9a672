// A mesh's CA through the command line: made for a mesh that has none, shown with what else ends,
// and replaced; members keep their PodCIDR.
import { X509Certificate } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  createIdentity,
  createMesh,
  joinMesh,
  type Membership,
  renewMembership,
} from "../../control/index.js";
import { freePort } from "../support/ports.js";
import { codeOf } from "../support/wait.js";
import { ask, meshd, type UpView } from "./real.js";
import { makeWorld, type World } from "./world.js";

interface Given {
  world: World;
  port: number;
}

const identity = createIdentity();
const day_ms = 86_400_000;

async function join1(world: World): Promise<Membership> {
  const { token } = await ask<{ token: string }>(world, "token", "create");
  const underlay = { address: "192.0.2.1", port: 8472 };
  return joinMesh(token, { identity, name: "n1", underlay });
}

const test = suite<Given>("the CA of a mesh");
test.before(async (given) => {
  given.world = makeWorld();
  given.port = await freePort();
  // As an earlier version made it.
  await createMesh(join(given.world.stateDir, "mesh"), { servers: [], tls: false });
});
test.after(async ({ world }) => {
  await meshd(world, "down", "--all");
  world.remove();
});

test("up gives a mesh that has no CA one, and says when all ends", async ({ world, port }) => {
  const up = await ask<UpView>(world, "up", "--listen", "127.0.0.1", "--port", String(port));
  assert.equal(up.servers, [`tls://127.0.0.1:${port}`]);
  const { ends } = up;
  const days = (end: string | null) => Math.round((Date.parse(end ?? "") - Date.now()) / day_ms);
  assert.equal(
    [days(ends.credentials), days(ends.serverCertificate), days(ends.ca)],
    [90, 90, 3653],
  );
  const file = join(world.stateDir, "mesh/ca.pem");
  assert.equal(up.ca, { file, fingerprint: up.ca?.fingerprint });
  const certificate = new X509Certificate(readFileSync(file));
  const digits = certificate.fingerprint256.replaceAll(":", "").toLowerCase();
  assert.match((await meshd(world, "up")).out, new RegExp(`^ca +${file}, SHA-256 ${digits}$`, "m"));
  const { out } = await meshd(world, "status");
  const shown = `server's certificate ${ends.serverCertificate?.slice(0, 16)}Z, CA 20`;
  assert.ok(out.includes(shown), out);
});

test("members join anew after another CA, with the same PodCIDR, and not before", async ({
  world,
  port,
}) => {
  const { ca: first, ...before } = await join1(world);
  // A member of a time without TLS knows no CA: it believes nobody.
  const own = [`tls://127.0.0.1:${port}`];
  const unknowing = renewMembership(before, identity, { servers: own });
  assert.is(await codeOf(unknowing), "MESHD_TLS_MISMATCH");
  const knowing: Membership = { ...before, ...(first === undefined ? {} : { ca: first }) };
  assert.is((await renewMembership(knowing, identity)).ca, first);
  await meshd(world, "down");
  for (const path of ["mesh/ca.key", "mesh/ca.pem", "nats/tls"]) {
    rmSync(join(world.stateDir, path), { recursive: true });
  }
  await ask<UpView>(world, "up");
  assert.is(await codeOf(renewMembership(knowing, identity)), "MESHD_TLS_MISMATCH");
  const again = await join1(world);
  assert.is(again.ca, readFileSync(join(world.stateDir, "mesh/ca.pem"), "utf8"));
  assert.is.not(again.ca, first);
  assert.equal(again.podCIDRs, before.podCIDRs);
});

test.run();
