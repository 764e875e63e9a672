// TLS to NATS with real nats-servers: what crosses the wire, who is believed, and who is not before
// any credential was used.
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createIdentity, joinMesh, readMembership, writeMembership } from "../../control/index.js";
import { fingerprintOf } from "../../control/tls/index.js";
import { openToken } from "../../control/token.js";
import { eventually, factsOf, withMesh } from "./fixture.js";
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

test.run();
