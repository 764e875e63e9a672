// Joining: what a token allows, what is refused by name, and that a refused join leaves nothing
// behind.
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  AdminClient,
  createIdentity,
  joinMesh,
  parseToken,
  renewMembership,
} from "../../control/index.js";
import { joinProof } from "../../control/join.js";
import { parseCredentials, signingKey } from "../../control/nats/index.js";
import { formatToken, openToken } from "../../control/token.js";
import { codeOf, eventually, factsOf, joinNode, underlayOf, withMesh } from "./fixture.js";
import { connectUser } from "./raw.js";
import { recordedWire } from "./wire.js";

test("a token joins one node, again with the same lease, but no second one", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token, view } = await admin.tokens.create();
    assert.is(parseToken(token).tokenId, view.tokenId);
    const first = await joinNode(token, 1);
    assert.equal(first.membership.podCIDRs, ["10.244.0.0/24"]);
    assert.is(await codeOf(joinNode(token, 2)), "MESHD_TOKEN_USED");
    const again = await joinNode(token, 1, first.identity);
    assert.equal(again.membership.podCIDRs, first.membership.podCIDRs);
    const fresh = await admin.tokens.create();
    const moved = await joinNode(fresh.token, 3, first.identity);
    assert.equal(moved.membership.podCIDRs, first.membership.podCIDRs);
    assert.equal(
      (await admin.nodes.list()).map((node) => node.name),
      ["n3"],
    );
    assert.equal(await admin.leases.audit(), []);
    assert.is(await codeOf(joinNode((await admin.tokens.create()).token, 1)), "");
  });
});

test("ended, revoked, damaged and foreign tokens are refused by name", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token, view } = await admin.tokens.create({ uses: 5 });
    await admin.tokens.revoke(view.tokenId);
    assert.is(await codeOf(joinNode(token, 1)), "MESHD_TOKEN_REVOKED");
    const short = await admin.tokens.create({ expires_s: 1 });
    const end = Date.parse(short.view.expires ?? "");
    await eventually("it ended", () => Date.now() > end);
    assert.is(await codeOf(joinNode(short.token, 1)), "MESHD_TOKEN_EXPIRED");
    const late = { ...openToken(short.token), expires: null };
    // The server counts in whole seconds; from then on it refuses the credential itself.
    await eventually("also for the server", () => Date.now() > end + 2_000);
    assert.is(await codeOf(joinNode(formatToken(late), 1)), "MESHD_TOKEN_REVOKED");
    assert.is(await codeOf(joinNode("meshd1.AAAA", 1)), "MESHD_TOKEN_INVALID");
    assert.is(await codeOf(joinNode("something", 1)), "MESHD_TOKEN_INVALID");
    const { token: whole } = await admin.tokens.create();
    for (const more of ["A", "AA", "=", ".", "!"]) {
      assert.is(await codeOf(joinNode(whole + more, 1)), "MESHD_TOKEN_INVALID", more);
    }
    const good = openToken((await admin.tokens.create()).token);
    const bootstrap = { ...good.bootstrap, seed: createIdentity().seed };
    const guessed = formatToken({ ...good, bootstrap });
    assert.is(await codeOf(joinNode(guessed, 1)), "MESHD_TOKEN_REVOKED", "the server refuses it");
    assert.is(await codeOf(admin.tokens.revoke("f".repeat(32))), "MESHD_NOT_FOUND");
    assert.equal(await admin.leases.list(), []);
  });
});

test("a token gives no role but those that there are", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    assert.is(await codeOf(admin.tokens.create({ role: "gateway" })), "MESHD_BAD_REQUEST");
    assert.equal(await admin.tokens.list(), []);
    assert.is((await admin.tokens.create({ role: "node" })).view.role, "node");
  });
});

test("a request signed by another key than it names is refused", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const [mine, other] = [createIdentity(), createIdentity()];
    const identity = { nodeId: other.nodeId, seed: mine.seed };
    assert.is(await codeOf(joinNode(token, 1, identity)), "MESHD_PROOF_INVALID");
    assert.equal(await admin.nodes.list(), []);
  });
});

test("a join that the token's seed did not sign is refused by the controller", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { tokenId, meshId, bootstrap } = openToken((await admin.tokens.create()).token);
    const { nodeId, seed } = createIdentity();
    const wishes = { nodeId, name: "n1", underlay: { address: underlayOf(1), port: 8472 } };
    const proof = signingKey(seed).sign(joinProof(meshId, tokenId, wishes));
    const signed = Buffer.from(proof).toString("base64url");
    const guest = await connectUser(mesh, bootstrap.jwt, bootstrap.seed);
    const ask = async (request: object) => {
      const inbox = `_INBOX_TOKEN_${tokenId}.a`;
      const replies = guest.connection.subscribe(inbox, { max: 1 });
      guest.publish(`mesh.join.${tokenId}`, JSON.stringify(request), inbox);
      for await (const one of replies) return one.headers?.get("Nats-Service-Error") ?? "";
      return "";
    };
    assert.match(await ask({ ...wishes, proof: signed }), /^MESHD_BAD_REQUEST: .*tokenProof/);
    const byNode = { ...wishes, proof: signed, tokenProof: signed };
    assert.match(await ask(byNode), /^MESHD_TOKEN_INVALID: /);
    assert.equal(await admin.nodes.list(), []);
  });
});

test("a used token stays used when its node asks again and is refused", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const first = await joinNode(token, 1);
    await joinNode((await admin.tokens.create()).token, 2);
    const underlay = { address: underlayOf(1), port: 8472 };
    const taken = joinMesh(token, { identity: first.identity, name: "n2", underlay });
    assert.is(await codeOf(taken), "MESHD_NAME_TAKEN");
    assert.is(await codeOf(joinNode(token, 3)), "MESHD_TOKEN_USED");
    assert.equal((await joinNode(token, 1, first.identity)).membership.name, "n1");
  });
});

test("an answer that says more than its grants is not believed", async () => {
  await withMesh({ tls: false }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const identity = createIdentity();
    const underlay = { address: underlayOf(1), port: 8472 };
    // Same lengths, so that the protocol's own counts stay right.
    const wire = await recordedWire(mesh.server.port, (text) =>
      text.replace(
        '"podCIDRs":["10.244.0.0/24"],"epoch":1',
        '"podCIDRs":["10.244.9.0/24"],"epoch":1',
      ),
    );
    mesh.later(() => wire.close());
    const servers = [wire.url];
    const join = joinMesh(token, { identity, name: "n1", underlay, servers });
    assert.is(await codeOf(join), "MESHD_PROOF_INVALID");
    const { membership } = await joinNode(token, 1, identity);
    const renewed = renewMembership(membership, identity, { servers });
    assert.is(await codeOf(renewed), "MESHD_PROOF_INVALID");
  });
});

test("no secret of a token, a node or an administrator crosses the wire", async () => {
  await withMesh({ tls: false }, async (mesh) => {
    await mesh.controller();
    const wire = await recordedWire(mesh.server.port);
    mesh.later(() => wire.close());
    const servers = [wire.url];
    const { adminCredentials: credentials, name } = mesh.mesh;
    const admin = await AdminClient.connect({ servers, credentials, mesh: name });
    const { token } = await admin.tokens.create();
    const identity = createIdentity();
    const underlay = { address: underlayOf(1), port: 8472 };
    const membership = await joinMesh(token, { identity, name: "n1", underlay, servers });
    await renewMembership(membership, identity, { servers });
    await admin.close();
    const seen = wire.bytes();
    assert.ok(seen.includes(membership.jwt), "the recording works");
    assert.not(/\bS[UAO][A-Z2-7]{50,}/.test(seen), "no seed in it");
    assert.not(seen.includes(token), "nor the token");
    const adminSeed = parseCredentials(await readFile(credentials, "utf8")).seed;
    for (const seed of [identity.seed, openToken(token).bootstrap.seed, adminSeed]) {
      assert.not(seen.includes(seed));
    }
  });
});

test("a taken name and a claimed underlay address are refused and spend no token", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    await joinNode(token, 1);
    const join = (name: string, index: number) =>
      joinMesh(token, {
        identity: createIdentity(),
        name,
        underlay: { address: underlayOf(index), port: 8472 },
      });
    assert.is(await codeOf(join("n1", 2)), "MESHD_NAME_TAKEN");
    assert.is(await codeOf(join("n2", 1)), "MESHD_ADDRESS_CLAIMED");
    assert.is(await codeOf(join("No", 2)), "MESHD_BAD_REQUEST");
    const underlay = { address: "10.244.7.1", port: 8472 };
    const inPool = joinMesh(token, { identity: createIdentity(), name: "n2", underlay });
    assert.is(await codeOf(inPool), "MESHD_UNDERLAY_IN_POOL");
    assert.is(await codeOf(join("n2", 2)), "", "neither refusal took name, address or use");
    assert.ok(mesh.log.some((line) => line.event === "address-claimed"));
  });
});

test("an underlay address is one member's whatever the port, and no static peer's", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 3 });
    await joinNode(token, 1);
    const peer = { name: "rack", port: 8472, podCIDRs: ["10.9.0.0/24"], vni: 1 };
    const endpoint = "192.0.2.7";
    const vtepMac = "02:00:00:00:00:07";
    await admin.peers.add({ ...peer, endpoint, vtepMac, protocol: "vxlan" });
    for (const address of [underlayOf(1), endpoint]) {
      const underlay = { address, port: 9000 };
      const second = joinMesh(token, { identity: createIdentity(), name: "n2", underlay });
      assert.is(await codeOf(second), "MESHD_ADDRESS_CLAIMED", address);
    }
    const onNode = { ...peer, name: "other", podCIDRs: ["10.10.0.0/24"], port: 9000 };
    const clash = { ...onNode, endpoint: underlayOf(1), vtepMac, protocol: "vxlan" as const };
    assert.is(await codeOf(admin.peers.add(clash)), "MESHD_ADDRESS_CLAIMED");
    await joinNode(token, 2);
  });
});

test("an exhausted pool is a clear error and leaves nothing half-done", async () => {
  const config = {
    clusterPoolIPv4PodCIDR: "10.9.0.0/23",
    clusterPoolIPv4MaskSize: 24,
    clusterPoolIPv6PodCIDR: "fd00::/63",
  };
  await withMesh({ config }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 3 });
    await joinNode(token, 1);
    await admin.leases.reserve("fd00:0:0:1::/64");
    assert.is(await codeOf(joinNode(token, 2)), "MESHD_POOL_EXHAUSTED");
    const held = (await admin.leases.list()).filter((lease) => lease.state === "held");
    assert.equal(
      held.map((lease) => lease.cidr),
      ["10.9.0.0/24", "fd00::/64"],
    );
    assert.equal(
      (await admin.nodes.list()).map((node) => node.name),
      ["n1"],
    );
    assert.equal(await admin.leases.audit(), []);
    await admin.leases.reclaim("fd00:0:0:1::/64");
    const second = await joinNode(token, 2);
    assert.equal(second.membership.podCIDRs, ["10.9.1.0/24", "fd00:0:0:1::/64"]);
    assert.is(await codeOf(joinNode(token, 3)), "MESHD_POOL_EXHAUSTED");
  });
});

test("a removed node's PodCIDR rests, but for its own key", async () => {
  const config = { clusterPoolIPv4PodCIDR: "10.9.0.0/23", clusterPoolIPv4MaskSize: 24 };
  await withMesh({ config }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const one = await joinNode(token, 1);
    await joinNode(token, 2);
    await admin.nodes.remove("n1");
    assert.is(await codeOf(joinNode(token, 3)), "MESHD_POOL_EXHAUSTED");
    const back = await joinNode(token, 1, one.identity);
    assert.equal(back.membership.podCIDRs, one.membership.podCIDRs);
    assert.is(back.membership.epoch, 2);
    const session = await mesh.session(back);
    await session.ready(10_000);
    await session.writeNode(factsOf(1));
    await admin.nodes.remove("n1");
    await admin.config.set("leaseQuarantine", 0);
    await admin.leases.reclaim("10.9.0.0/24");
    assert.equal((await joinNode(token, 3)).membership.podCIDRs, ["10.9.0.0/24"]);
  });
});

test.run();
