// Two controllers at once under 200 simultaneous joins: one holder per CIDR, in both families, by
// compare-and-set alone.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { joinNode, withMesh } from "./fixture.js";

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

test.run();
