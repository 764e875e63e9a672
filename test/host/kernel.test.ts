// Links, addresses, routes, sysctl, nftables and namespaces on the real kernel, each test in a
// namespace of its own.
import { existsSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  addVeth,
  applyMasquerade,
  deleteLink,
  deleteNamespace,
  deleteRoutes,
  enableForwarding,
  findLink,
  HostError,
  ipBatch,
  leaveOutQueueing,
  listAddresses,
  listLinks,
  listNamespaces,
  listRoutes,
  createNamespace as makeNamespace,
  namespaceExists,
  readSysctl,
  reconcileAddresses,
  reconcileRoutes,
  removeMasquerade,
  rpFilter,
  run,
  runInNamespace,
  runJson,
  SysctlKeeper,
  setLink,
  type WantedRoute,
} from "../../src/host/index.js";
import { adoptNamespace, createNamespace, runSync, uniqueName } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const SCOPE = { devices: ["mesh0"], pools: ["10.244.0.0/16", "fd00:244::/48"] };

/** A namespace with a TUN device mesh0 that is up and has a node's addresses. */
async function makeNode(): Promise<string> {
  const netns = createNamespace("host");
  await run(["ip", "tuntap", "add", "mode", "tun", "mesh0"], { netns });
  await setLink("mesh0", { mtu: 1450, addressMode: "none", up: true }, { netns });
  await reconcileAddresses("mesh0", ["10.244.1.0/32", "fd00:244:0:1::/128"], { netns });
  return netns;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof HostError ? error.code : undefined;
}

async function codeFrom(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(() => undefined, codeOf);
}

async function rootDiscipline(netns: string): Promise<string | undefined> {
  const list = await runJson(["ip", "-json", "link", "show", "dev", "mesh0"], { netns });
  return (list as { qdisc: string }[])[0]?.qdisc;
}

rootTest(test, "a link is set once and then left alone", async () => {
  const netns = createNamespace("host");
  await run(["ip", "tuntap", "add", "mode", "tun", "mesh0"], { netns });
  const wanted = {
    up: true,
    mtu: 1400,
    gsoMaxSize: 32_768,
    queueLength: 900,
    addressMode: "none" as const,
  };
  assert.is(await setLink("mesh0", wanted, { netns }), 5);
  assert.is(await setLink("mesh0", wanted, { netns }), 0);
  const link = await findLink("mesh0", { netns });
  assert.is(link?.mtu, 1400);
  assert.is(link?.gsoMaxSize, 32_768);
  assert.is(link?.queueLength, 900);
  assert.is(link?.kind, "tun");
  assert.is(link?.up, true);
  assert.is(await setLink("mesh0", { up: false }, { netns }), 1);
  assert.is(await codeFrom(setLink("nope", { up: true }, { netns })), "MESHD_HOST_NO_LINK");
  assert.is(await findLink("nope", { netns }), undefined);
});

rootTest(test, "only a discipline that the kernel chose by itself is left out", async () => {
  const netns = createNamespace("host");
  await run(["ip", "tuntap", "add", "mode", "tun", "mesh0"], { netns });
  const choose = (name: string) =>
    run(["tc", "qdisc", "replace", "dev", "mesh0", "root", name], { netns });
  await setLink("mesh0", { up: true }, { netns });
  for (const [name, isLeftOut] of [
    ["pfifo_fast", true],
    ["pfifo", false],
  ] as const) {
    await choose(name);
    assert.is(await leaveOutQueueing("mesh0", { netns }), isLeftOut, name);
    assert.is(await rootDiscipline(netns), isLeftOut ? "noqueue" : name);
    assert.is(await leaveOutQueueing("mesh0", { netns }), false);
  }
});

rootTest(
  test,
  "a device of several queues has its disciplines left out, unless one was chosen",
  async () => {
    const netns = createNamespace("host");
    await run(["ip", "tuntap", "add", "mode", "tun", "multi_queue", "mesh0"], { netns });
    const tc = (...words: string[]) =>
      run(["tc", "qdisc", "replace", "dev", "mesh0", ...words], { netns });
    await setLink("mesh0", { up: true }, { netns });
    await tc("root", "handle", "1:", "mq");
    await tc("parent", "1:1", "pfifo");
    assert.is(await leaveOutQueueing("mesh0", { netns }), false);
    assert.is(await rootDiscipline(netns), "mq");
    await tc("parent", "1:1", "pfifo_fast");
    assert.is(await leaveOutQueueing("mesh0", { netns }), true);
    assert.is(await rootDiscipline(netns), "noqueue");
  },
);

rootTest(test, "a veth pair spans two namespaces, knows its peer, and goes as one", async () => {
  const netns = createNamespace("host");
  const peerNetns = createNamespace("pod");
  await addVeth({ name: "h0", peerName: "eth0", peerNetns, mtu: 1450 }, { netns });
  const outer = await findLink("h0", { netns });
  const inner = await findLink("eth0", { netns: `/run/netns/${peerNetns}` });
  assert.is(outer?.peerIndex, inner?.index);
  assert.is(inner?.peerIndex, outer?.index);
  assert.is(inner?.mtu, 1450);
  const again = addVeth({ name: "h0", peerName: "eth1", peerNetns }, { netns });
  assert.is(await codeFrom(again), "MESHD_HOST_COMMAND");
  assert.is(await deleteLink("h0", { netns }), true);
  assert.is(await deleteLink("h0", { netns }), false);
  assert.equal(
    (await listLinks({ netns: peerNetns })).map((link) => link.name),
    ["lo"],
  );
});

rootTest(test, "addresses are made as wanted and a second time nothing changes", async () => {
  const netns = await makeNode();
  const wanted = ["10.244.1.0/32", "FD00:244:0:1:0:0:0:0/128"];
  assert.is(await reconcileAddresses("mesh0", wanted, { netns }), 0);
  const there = await listAddresses("mesh0", { netns });
  assert.equal(
    there.map((item) => [item.family, item.address, item.length, item.tentative]),
    [
      [4, "10.244.1.0", 32, false],
      [6, "fd00:244:0:1::", 128, false],
    ],
  );
  assert.is(await reconcileAddresses("mesh0", ["10.244.5.0/32"], { netns }), 3);
  assert.equal(await listAddresses("nope", { netns }), []);
});

const WANTED: WantedRoute[] = [
  { destination: "10.244.2.0/24", device: "mesh0", source: "10.244.1.0" },
  { destination: "10.244.3.0/24", device: "mesh0", mtu: 1400, advmss: 1360 },
  { destination: "fd00:244:0:2::/64", device: "mesh0", source: "fd00:244:0:1::", mtu: 1300 },
  { destination: "10.244.0.0/16", kind: "unreachable" },
  { destination: "fd00:244::/48", kind: "unreachable" },
  { destination: "10.7.0.0/16", via: "10.244.2.1", device: "mesh0", onLink: true },
];

rootTest(test, "routes of both families are made, compared, changed and taken out", async () => {
  const netns = await makeNode();
  const first = await reconcileRoutes(WANTED, SCOPE, { netns });
  assert.is(first.changes, WANTED.length);
  assert.is((await reconcileRoutes(WANTED, SCOPE, { netns })).changes, 0);
  const shown = runSync(netns, ["ip", "route", "get", "10.244.2.5"]);
  assert.match(shown, "dev mesh0 src 10.244.1.0");
  const changed = WANTED.map((route) => (route.device ? { ...route, mtu: 1280 } : route));
  const second = await reconcileRoutes(changed, SCOPE, { netns });
  assert.is(second.replace.length, 4);
  assert.is(second.changes, 4);
  assert.is((await reconcileRoutes(changed, SCOPE, { netns })).changes, 0);
  assert.is(await deleteRoutes(SCOPE, { netns }), WANTED.length);
  assert.is((await listRoutes({ netns })).filter((route) => route.protocol === 157).length, 0);
});

rootTest(test, "a peer's route can turn into a refusal and back in one step", async () => {
  const netns = await makeNode();
  const metric = 500;
  for (const destination of ["10.244.2.0/24", "fd00:244:0:2::/64"]) {
    const open: WantedRoute = { destination, device: "mesh0", metric };
    const closed: WantedRoute = { destination, kind: "unreachable", metric };
    for (const route of [open, closed, open]) {
      assert.is((await reconcileRoutes([route], SCOPE, { netns })).changes, 1);
      assert.is((await reconcileRoutes([route], SCOPE, { netns })).changes, 0);
      const kind = (await listRoutes({ netns })).find((item) => item.metric === metric)?.kind;
      assert.is(kind, route.kind ?? "unicast");
    }
    await deleteRoutes(SCOPE, { netns });
  }
});

rootTest(test, "routes of others survive everything we do", async () => {
  const netns = await makeNode();
  await ipBatch(
    [
      "link add name f0 type veth peer name f1",
      "link set dev f0 up",
      "link set dev f1 up",
      "route add 10.244.2.0/24 dev f0 proto 4 metric 157",
      "route add 10.50.0.0/16 dev f0 proto 157",
      "route add unreachable 10.51.0.0/16 proto 157",
      "route add 10.244.4.0/24 dev mesh0 proto 4",
      "route add fd00:244:0:4::/64 dev f0 proto 4 metric 157",
      "route add 10.52.0.0/16 dev mesh0 proto 157 table 99",
    ],
    { netns },
  );
  const before = runSync(netns, ["ip", "route", "show", "table", "all"]);
  const result = await reconcileRoutes(WANTED, SCOPE, { netns });
  assert.is(result.conflicts.length, 1);
  assert.is(result.conflicts[0]?.foreign.device, "f0");
  await deleteRoutes(SCOPE, { netns });
  assert.is(runSync(netns, ["ip", "route", "show", "table", "all"]), before);
});

rootTest(test, "four thousand routes are made and compared", async () => {
  const netns = await makeNode();
  const scope = { devices: ["mesh0"], pools: [] };
  const many = Array.from({ length: 4096 }, (_, i) => ({
    destination: `10.${64 + (i >> 8)}.${i & 255}.0/24`,
    device: "mesh0",
  }));
  assert.is((await reconcileRoutes(many, scope, { netns })).changes, 4096);
  assert.is((await reconcileRoutes(many, scope, { netns })).changes, 0);
  assert.is((await reconcileRoutes(many.slice(1), scope, { netns })).changes, 1);
});

rootTest(test, "a setting of the kernel is changed once, remembered and put back", async () => {
  const netns = await makeNode();
  const keeper = new SysctlKeeper();
  const key = "ipv4/conf/mesh0/proxy_arp";
  assert.is(await keeper.set(key, 1, { netns }), true);
  assert.is(await keeper.set(key, 1, { netns }), false);
  assert.is(await enableForwarding(keeper, 4, [], { netns }), 1);
  assert.is(await enableForwarding(keeper, 6, ["mesh0"], { netns }), 2);
  assert.is(await enableForwarding(keeper, 6, ["mesh0"], { netns }), 0);
  assert.is(await readSysctl("ipv6/conf/mesh0/accept_ra", { netns }), "2");
  assert.equal(keeper.changes()[0], { key, before: "0", after: "1", netns });
  const later = new SysctlKeeper(JSON.parse(JSON.stringify(keeper.changes())));
  assert.is(await later.restore(), 4);
  assert.is(await readSysctl("ipv4/ip_forward", { netns }), "0");
  assert.is(await readSysctl("ipv4/conf/nope/proxy_arp", { netns }), undefined);
  const missing = keeper.set("ipv4/conf/nope/proxy_arp", 1, { netns });
  assert.is(await codeFrom(missing), "MESHD_HOST_SYSCTL");
});

rootTest(test, "a value that somebody changed since is not put back", async () => {
  const netns = await makeNode();
  const keeper = new SysctlKeeper();
  await keeper.set("ipv4/conf/mesh0/rp_filter", 1, { netns });
  assert.is(await rpFilter("mesh0", { netns }), 1);
  await run(["tee", "/proc/sys/net/ipv4/conf/mesh0/rp_filter"], { netns, input: "2" });
  assert.is(await keeper.restore(), 0);
  assert.is(await rpFilter("mesh0", { netns }), 2);
});

rootTest(test, "the masquerade table is accepted, compared, replaced and removed", async () => {
  const netns = await makeNode();
  const options = {
    device: "mesh0",
    sources: ["10.244.1.0/24", "fd00:244:0:1::/64"],
    pools: ["10.244.0.0/16", "10.250.0.0/24", "10.250.1.0/24", "10.9.0.1/32", "fd00:244::/48"],
  };
  await run(["nft", "-f", "-"], { netns, input: "table inet other { chain c { }; }\n" });
  assert.is(await applyMasquerade(options, { netns }), true);
  assert.is(await applyMasquerade(options, { netns }), false);
  const turned = { ...options, pools: [...options.pools].reverse() };
  assert.is(await applyMasquerade(turned, { netns }), false);
  const fewer = { ...options, pools: options.pools.slice(0, 1) };
  assert.is(await applyMasquerade(fewer, { netns }), true);
  assert.is(await applyMasquerade(fewer, { netns }), false);
  for (const spoil of [
    "add element inet meshd_mesh0 pools4 { 1.2.3.0/24 }\n",
    "flush chain inet meshd_mesh0 postrouting\n",
    "add rule inet meshd_mesh0 postrouting accept\n",
    "delete table inet meshd_mesh0\n",
  ]) {
    await run(["nft", "-f", "-"], { netns, input: spoil });
    assert.is(await applyMasquerade(fewer, { netns }), true, spoil);
  }
  assert.is(await removeMasquerade("mesh0", { netns }), true);
  assert.is(await removeMasquerade("mesh0", { netns }), false);
  assert.match(runSync(netns, ["nft", "list", "tables"]), "table inet other");
});

rootTest(test, "namespaces are made once, listed, entered and removed", async () => {
  const name = uniqueName("made");
  adoptNamespace(name);
  assert.is(await makeNamespace(name), true);
  assert.is(await makeNamespace(name), false);
  assert.ok((await listNamespaces()).includes(name));
  assert.is(await namespaceExists(`/run/netns/${name}`), true);
  assert.match(await runInNamespace(name, ["ip", "-br", "link", "show", "lo"]), "UP");
  assert.is(await deleteNamespace(name), true);
  assert.is(await deleteNamespace(name), false);
  assert.not.ok(existsSync(`/run/netns/${name}`));
  const entered = runInNamespace(name, ["true"]);
  assert.is(await codeFrom(entered), "MESHD_HOST_NO_NAMESPACE");
  assert.is(await codeFrom(makeNamespace("-x")), "MESHD_HOST_BAD_VALUE");
  assert.is(await codeFrom(makeNamespace("/tmp/x")), "MESHD_HOST_BAD_VALUE");
  assert.is(await namespaceExists("/etc/passwd"), false);
});

rootTest(test, "a failed command says what was run and what the program answered", async () => {
  const netns = createNamespace("host");
  const error = await run(["ip", "link", "set", "dev", "nope", "up"], { netns }).catch((e) => e);
  assert.instance(error, HostError);
  assert.match(error.message, "ip link set dev nope up");
  assert.match(error.stderr, "nope");
  assert.not.match(error.message, /\n/);
  const batch = await ipBatch(["link set dev lo up", "link set dev nope up"], { netns }).catch(
    (e) => e,
  );
  assert.match(batch.message, "link set dev nope up");
  assert.is(await codeFrom(run(["meshd-no-such-program"])), "MESHD_HOST_TOOL_MISSING");
  assert.is(await codeFrom(run(["meshd-no-such-program"], { netns })), "MESHD_HOST_TOOL_MISSING");
});

test.run();
