// Conflicts with pools and the choice of an underlay address, from made-up facts; and the kernel's.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  findFirewall,
  findPoolConflicts,
  findStrictFilters,
  gatherFacts,
  type HostFacts,
  MESH_ROUTE_PROTOCOL,
  run,
  suggestUnderlay,
  tunProblem,
  underlayCandidates,
  underlayOf,
  writeSysctl,
} from "../../src/host/index.js";
import { createNamespace, joinByVeth } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const OWN = { devices: ["mesh0"], pools: ["10.244.0.0/16", "fd00:244::/48"] };

/** A node and a neighbour: 192.168.9.1/24 dev u0 -- u1. */
function makeNode(): string {
  const node = createNamespace("node");
  const other = createNamespace("other");
  joinByVeth(
    { namespace: node, device: "u0", addresses: ["192.168.9.1/24", "fd09::1/64"], mtu: 1400 },
    { namespace: other, device: "u1", addresses: ["192.168.9.2/24", "fd09::2/64"] },
  );
  return node;
}

function kinds(facts: HostFacts): string[] {
  return findPoolConflicts(facts, OWN).map((item) => `${item.severity} ${item.kind} ${item.found}`);
}

rootTest(
  test,
  "a host without overlaps has no conflict, nor do our own routes make one",
  async () => {
    const netns = makeNode();
    assert.equal(kinds(await gatherFacts({ netns })), []);
    await run(["ip", "tuntap", "add", "mode", "tun", "mesh0"], { netns });
    await run(["ip", "address", "add", "10.244.1.0/32", "dev", "mesh0"], { netns });
    await run(["ip", "link", "set", "mesh0", "up"], { netns });
    const proto = ["proto", `${MESH_ROUTE_PROTOCOL}`];
    const route = ["ip", "route", "add"];
    await run([...route, "10.244.2.0/24", "dev", "mesh0", ...proto], { netns });
    await run([...route, "unreachable", "10.244.0.0/16", ...proto], { netns });
    await run([...route, "unreachable", "fd00:244::/48", ...proto], { netns });
    await run([...route, "default", "via", "192.168.9.2"], { netns });
    assert.equal(kinds(await gatherFacts({ netns })), []);
  },
);

rootTest(
  test,
  "overlapping routes and addresses of others are found with their severity",
  async () => {
    const netns = makeNode();
    const add = (...words: string[]) => run(["ip", ...words], { netns });
    await add("route", "add", "10.244.7.0/24", "via", "192.168.9.2");
    await add("route", "add", "10.0.0.0/8", "via", "192.168.9.2");
    await add("address", "add", "fd00:244:0:5::1/64", "dev", "u0", "nodad");
    assert.equal(kinds(await gatherFacts({ netns })).sort(), [
      "refuse address fd00:244:0:5::1/64",
      "refuse route 10.244.7.0/24",
      "refuse route fd00:244:0:5::/64",
      "warn route 10.0.0.0/8",
    ]);
  },
);

rootTest(test, "the underlay's interface and MTU are known by its address", async () => {
  const facts = await gatherFacts({ netns: makeNode() });
  const wanted = { address: "192.168.9.1", family: 4, device: "u0", mtu: 1400 };
  const { interfaceAddresses = [], ...plain } = underlayOf(facts, "192.168.9.1") ?? {};
  assert.equal(plain, wanted);
  // Its own with its length, then what neighbours can send IPv6 to: the link's address, no other.
  assert.is(interfaceAddresses[0], "192.168.9.1/24");
  assert.match(interfaceAddresses.slice(1).join(), /^fe80::[0-9a-f:]+\/64$/);
  const six = underlayOf(facts, "fd09::1")?.interfaceAddresses;
  assert.equal(six, ["fd09::1/64", "192.168.9.1/24"]);
  assert.is(underlayOf(facts, "fd09:0::1")?.device, "u0");
  assert.is(underlayOf(facts, "192.168.9.77"), undefined);
  assert.equal(
    underlayCandidates(facts, OWN).map((item) => item.address),
    ["192.168.9.1", "fd09::1"],
  );
});

rootTest(test, "routes to neighbours, ours or of the underlay, are no conflict", async () => {
  const netns = makeNode();
  const by = ["via", "192.168.9.2"];
  const add = (...words: string[]) => run(["ip", "route", "add", ...words, ...by], { netns });
  await add("10.244.2.0/24", "proto", `${MESH_ROUTE_PROTOCOL}`);
  const facts = await gatherFacts({ netns });
  assert.equal(kinds(facts), []);
  const candidates = underlayCandidates(facts, OWN).map((item) => item.device);
  assert.equal(candidates, ["u0", "u0"], "its interface is no mesh's device");
  await add("10.244.3.0/24", "proto", "bird");
  const later = await gatherFacts({ netns });
  assert.equal(kinds(later), ["refuse route 10.244.3.0/24"]);
  assert.equal(findPoolConflicts(later, { ...OWN, left: ["10.244.0.0/16"] }), []);
});

rootTest(test, "the device of another agent of this host is no underlay", async () => {
  const netns = makeNode();
  const add = (...words: string[]) => run(["ip", ...words], { netns });
  await add("tuntap", "add", "mode", "tun", "mesh9");
  await add("address", "add", "10.99.1.0/32", "dev", "mesh9");
  await add("link", "set", "mesh9", "up");
  assert.is((await suggestUnderlay(OWN, 4, { netns })).chosen, undefined);
  const proto = ["proto", `${MESH_ROUTE_PROTOCOL}`];
  await add("route", "add", "10.99.2.0/24", "dev", "mesh9", ...proto);
  assert.is((await suggestUnderlay(OWN, 4, { netns })).chosen?.address, "192.168.9.1");
});

rootTest(
  test,
  "the advertised address follows the default route, else it is the only one",
  async () => {
    const netns = makeNode();
    const only = await suggestUnderlay(OWN, "auto", { netns });
    assert.is(only.chosen?.address, "192.168.9.1");
    await run(["ip", "address", "add", "192.168.10.1/24", "dev", "u0"], { netns });
    const two = await suggestUnderlay(OWN, 4, { netns });
    assert.is(two.chosen, undefined);
    assert.is(two.candidates.length, 2);
    await run(["ip", "route", "add", "default", "via", "192.168.10.2"], { netns });
    assert.is((await suggestUnderlay(OWN, "auto", { netns })).chosen?.address, "192.168.10.1");
    const inPool = { devices: [], pools: ["192.168.10.0/24"] };
    assert.is((await suggestUnderlay(inPool, 4, { netns })).chosen?.address, "192.168.9.1");
    assert.is((await suggestUnderlay(OWN, 6, { netns })).chosen?.address, "fd09::1");
  },
);

rootTest(
  test,
  "a forward policy of drop is found on the real kernel, and an answer to it",
  async () => {
    const netns = makeNode();
    const traffic = { device: "mesh0", pools: OWN.pools, udpPort: 8472 };
    const nft = (input: string) => run(["nft", "-f", "-"], { netns, input });
    assert.equal(await findFirewall(traffic, { netns }), []);
    await nft(
      "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }\n",
    );
    const found = await findFirewall(traffic, { netns });
    assert.is(found.length, 1);
    assert.match(found[0]?.message ?? "", "nftables ip filter FORWARD");
    await nft('add rule ip filter FORWARD iifname "mesh0" accept\n');
    assert.equal(await findFirewall(traffic, { netns }), []);
  },
);

rootTest(
  test,
  "a strict reverse path filter is found, also when only the host-wide value says so",
  async () => {
    const netns = makeNode();
    assert.equal(await findStrictFilters(["u0", "lo"], { netns }), []);
    await writeSysctl("ipv4/conf/u0/rp_filter", 1, { netns });
    const found = await findStrictFilters(["u0", "lo"], { netns });
    assert.is(found.length, 1);
    assert.match(found[0] ?? "", "net.ipv4.conf.u0.rp_filter to 0 or 2");
    await writeSysctl("ipv4/conf/all/rp_filter", 1, { netns });
    assert.is((await findStrictFilters(["u0", "lo"], { netns })).length, 2);
  },
);

rootTest(test, "the TUN device of this host can be opened", async () => {
  assert.is(await tunProblem(), undefined);
});

test.run();
