// The agent's part of PPTP filtering: what it refuses to filter, who is let in, what it says.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { checkFilter, FilterKeeper, filterWish } from "../../src/agent/filter-keeper.js";
import { run } from "../../src/host/index.js";
import { createNamespace, joinByVeth, pings, runSync } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { codeOf } from "../support/wait.js";

const NOTHING = { udpPorts: [], ipProtocols: [], members: [], bare: [] };

/** A host with an underlay (eth0, NATS behind its router) and an interface to callers (eth1). */
function makeHost(): { host: string; router: string; caller: string } {
  const [host = "", router = "", caller = ""] = ["host", "router", "caller"].map(createNamespace);
  joinByVeth(
    { namespace: host, device: "eth0", addresses: ["192.0.2.1/24"] },
    { namespace: router, device: "eth0", addresses: ["192.0.2.9/24"] },
  );
  joinByVeth(
    { namespace: host, device: "eth1", addresses: ["198.51.100.1/24"] },
    { namespace: caller, device: "eth0", addresses: ["198.51.100.7/24"] },
  );
  runSync(host, ["ip", "route", "add", "default", "via", "192.0.2.9"]);
  return { host, router, caller };
}

rootTest(
  test,
  "an interface with the mesh's underlay or NATS is refused, unless asked",
  async () => {
    const where = { netns: makeHost().host };
    const check = (device: string, servers: string[], withMesh = false) =>
      codeOf(checkFilter({ device, withMesh }, { underlayDevice: "eth0", servers }, where));
    const cut = "MESHD_FILTER_CUTS_MESH";
    assert.is(await check("eth0", []), cut);
    assert.is(await check("eth0", [], true), "");
    assert.is(await check("eth1", ["nats://203.0.113.5:4222", "not a server"]), "");
    for (const server of ["nats://198.51.100.7:4222", "198.51.100.7", "tls://198.51.100.1:4443"]) {
      assert.is(await check("eth1", ["nats://203.0.113.5", server]), cut, server);
      assert.is(await check("eth1", [server], true), "");
    }
    await checkFilter(null, { underlayDevice: "eth0", servers: [] }, where);
    assert.equal(filterWish({ withMesh: true }), null);
  },
);

rootTest(test, "callers come in while their connection is up, and counts are shown", async () => {
  const { host, caller } = makeHost();
  const where = { netns: host };
  const keeper = new FilterKeeper("mesh0", { device: "eth1", withMesh: false }, where);
  const facts = { underlayDevice: "eth0", servers: [], mesh: NOTHING };
  await keeper.setCallers(["198.51.100.7"]);
  assert.is(await keeper.apply(facts), 1);
  assert.is(await keeper.apply(facts), 0);
  assert.not(pings(caller, "198.51.100.1", 56, 1));
  await keeper.refresh();
  assert.ok((keeper.status()?.refused?.icmp.packets ?? 0) > 0);
  assert.is(keeper.drops()[0]?.reason, "NFT_PPTP_FILTER");
  const callers = async () => {
    const text = await run(["nft", "list", "set", "inet", "meshd_mesh0_pptp", "callers4"], where);
    return text.match(/198\.51\.100\.\d+/g) ?? [];
  };
  assert.equal(await callers(), ["198.51.100.7"]);
  // Two changes at once: the last one holds.
  await Promise.all([keeper.setCallers([]), keeper.setCallers(["198.51.100.8"])]);
  assert.equal(await callers(), ["198.51.100.8"]);
  assert.is(keeper.status()?.table, "meshd_mesh0_pptp");
  assert.is(await keeper.remove(), 1);
  assert.is(await keeper.remove(), 0);
  await keeper.setCallers(["198.51.100.9"]);
  assert.ok(pings(caller, "198.51.100.1"), "nothing comes back after its end");
});

rootTest(test, "an underlay that moves to a filtered interface opens it, and says so", async () => {
  const { host, caller } = makeHost();
  const keeper = new FilterKeeper("mesh0", { device: "eth1", withMesh: false }, { netns: host });
  const facts = { underlayDevice: "eth0", servers: [], mesh: NOTHING };
  await keeper.apply(facts);
  const moved = keeper.apply({ ...facts, underlayDevice: "eth1" });
  assert.is(await codeOf(moved), "MESHD_FILTER_CUTS_MESH");
  assert.match(keeper.status()?.problem ?? "", /carries the mesh's underlay/);
  assert.is(keeper.status()?.table, null);
  await keeper.setCallers(["198.51.100.7"]);
  assert.ok(pings(caller, "198.51.100.1"));
  assert.is(await keeper.apply(facts), 1);
  assert.is(keeper.status()?.problem, null);
  assert.not(pings(caller, "198.51.100.1", 56, 1));
});

rootTest(test, "an interface that is not there is said", async () => {
  const where = { netns: makeHost().host };
  const problemOf = async (device: string) => {
    const keeper = new FilterKeeper("mesh0", { device, withMesh: false }, where);
    await keeper.apply({ underlayDevice: "eth0", servers: [], mesh: NOTHING });
    await keeper.refresh();
    return keeper.status()?.problem;
  };
  assert.is(await problemOf("eth1"), null);
  assert.match((await problemOf("eth9")) ?? "", /there is no interface eth9/);
});

rootTest(test, "a node without the setting takes away what another process left", async () => {
  const { host } = makeHost();
  const facts = { underlayDevice: "eth0", servers: [], mesh: NOTHING };
  const where = { netns: host };
  await new FilterKeeper("mesh0", { device: "eth1", withMesh: false }, where).apply(facts);
  const next = new FilterKeeper("mesh0", null, where);
  assert.is(await next.apply(facts), 1);
  assert.equal([await next.apply(facts), next.status()], [0, null]);
});

test.run();
