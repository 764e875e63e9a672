// Two controllers at once under 200 simultaneous joins: one holder per CIDR, in both families, by
// compare-and-set alone.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ensureBuckets } from "../../control/controller/creation.js";
import { createIdentity, joinMesh } from "../../control/index.js";
import { type Bucket, Link, parseCredentials, signingKey } from "../../control/nats/index.js";
import { inboxOf, subjectsOf } from "../../control/subjects.js";
import { codeOf, joinNode, type TestMesh, underlayOf, withMesh } from "./fixture.js";

const count = 200;

test("200 joins at once through two controllers get 200 PodCIDRs of each family", async () => {
  const config = { clusterPoolIPv6PodCIDR: "fd00:10:244::/48" };
  await withMesh({ config }, async (mesh) => {
    await Promise.all([mesh.controller(), mesh.controller()]);
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: count });
    const joins = Array.from({ length: count }, (_, index) => joinNode(token, index + 1));
    const members = (await Promise.all(joins)).map((one) => one.membership);
    for (const family of [0, 1]) {
      assert.is(new Set(members.map((one) => one.podCIDRs[family])).size, count);
    }
    const held = (await admin.leases.list()).filter((lease) => lease.state === "held");
    assert.is(held.length, 2 * count);
    const holders = new Map(held.map((lease) => [lease.cidr, lease.nodeId]));
    for (const { nodeId, podCIDRs } of members) {
      for (const cidr of podCIDRs) assert.is(holders.get(cidr), nodeId);
    }
    assert.equal(await admin.leases.audit(), []);
    const [view] = await admin.tokens.list();
    assert.is(view?.uses, count);
  });
});

async function winnersOf(mesh: TestMesh, wish: (index: number) => { name: string; host: number }) {
  const admin = await mesh.admin();
  const { token } = await admin.tokens.create({ uses: null });
  const joins = Array.from({ length: 20 }, (_, index) => {
    const { name, host } = wish(index);
    const underlay = { address: underlayOf(host), port: 8472 };
    return codeOf(joinMesh(token, { identity: createIdentity(), name, underlay }));
  });
  const codes = await Promise.all(joins);
  assert.is((await admin.nodes.list()).length, codes.filter((code) => code === "").length);
  return codes.sort();
}

test("of twenty nodes that join at once under one name, one gets it", async () => {
  await withMesh({}, async (mesh) => {
    await Promise.all([mesh.controller(), mesh.controller()]);
    const codes = await winnersOf(mesh, (index) => ({ name: "web", host: index + 1 }));
    assert.equal(codes, ["", ...new Array(19).fill("MESHD_NAME_TAKEN")]);
  });
});

test("of twenty nodes that join at once with one underlay address, one gets it", async () => {
  await withMesh({}, async (mesh) => {
    await Promise.all([mesh.controller(), mesh.controller()]);
    const codes = await winnersOf(mesh, (index) => ({ name: `n${index}`, host: 1 }));
    assert.equal(codes, ["", ...new Array(19).fill("MESHD_ADDRESS_CLAIMED")]);
  });
});

test("of eight controllers that find no buckets at once, one makes them", async () => {
  await withMesh({}, async (mesh) => {
    const user = parseCredentials(await readFile(mesh.mesh.controllerCredentials, "utf8"));
    const inbox = inboxOf.controller(signingKey(user.seed).publicKey);
    let there = false;
    let made = 0;
    const bucket = {
      exists: async () => there,
      make: async () => {
        made++;
        await sleep(100);
        there = true;
      },
    } as unknown as Bucket;
    const begin = async () => {
      const link = await Link.open({
        servers: [mesh.server.url],
        ca: () => mesh.mesh.ca,
        user: () => user,
        inbox,
        name: "",
      });
      mesh.later(() => link.close());
      await sleep(Math.random() * 100);
      return ensureBuckets(link, subjectsOf("mesh").creation, [bucket], {
        replicas: 1,
        value_max: 1,
      });
    };
    const results = await Promise.all(Array.from({ length: 8 }, begin));
    assert.is(made, 1);
    assert.is(results.filter((isMaker) => isMaker).length, 1);
  });
});

test.run();
