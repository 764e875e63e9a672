// Pods on the real kernel: made, reached, restarted, mended, removed. See node.ts for the drawing.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  applyMasquerade,
  findLink,
  findPoolConflicts,
  gatherFacts,
  setLink,
  writeSysctl,
} from "../../src/host/index.js";
import type { Pod } from "../../src/pods/index.js";
import {
  createNamespace,
  deleteNamespace,
  joinByVeth,
  pings,
  runIn,
  runSync,
  spawnIn,
  trySync,
  uniqueName,
  until,
} from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { TestNode } from "./node.js";

const NODE_ADDRESSES = ["10.244.1.0", "fd00:244:0:1::"];
/** Payload of the largest ping in 1450 bytes: less 20 or 40 bytes of IP and 8 of ICMP. */
const FULL: Readonly<Record<string, number>> = { 4: 1422, 6: 1402 };

function assertPings(from: string, to: string): void {
  const full = FULL[to.includes(":") ? 6 : 4] ?? 0;
  assert.ok(pings(from, to), `${from} -> ${to}`);
  assert.ok(pings(from, to, full), `${from} -> ${to}, full size`);
  assert.not.ok(pings(from, to, full + 1, 0.2), `${from} -> ${to}, larger than the MTU`);
}

rootTest(
  test,
  "two pods and their node reach each other in IPv4 and IPv6, full size too",
  async () => {
    const node = await TestNode.start();
    const a = await node.add({ name: "a", labels: { app: "web" } });
    const b = await node.add({ name: "b" });
    assert.equal(a.addresses, ["10.244.1.1", "fd00:244:0:1::1"]);
    assert.equal(b.addresses, ["10.244.1.2", "fd00:244:0:1::2"]);
    for (const address of b.addresses) assertPings(a.netns, address);
    for (const address of a.addresses) assertPings(b.netns, address);
    for (const address of NODE_ADDRESSES) assertPings(a.netns, address);
    for (const address of [...a.addresses, ...b.addresses]) assertPings(node.netns, address);
    assert.equal(await node.list(), [a, b]);
    assert.equal(a.labels, { app: "web" });
  },
);

rootTest(test, "a node without a default route answers for the gateway, and at once", async () => {
  const node = await TestNode.start();
  const { netns } = await node.add({ name: "a" });
  assert.is(runSync(node.netns, ["ip", "route", "show", "default"]), "");
  assert.match(runSync(netns, ["ip", "route"]), "default via 169.254.1.1 dev eth0");
  assert.match(runSync(netns, ["ip", "-6", "route"]), "default via fe80::1 dev eth0");
  assert.ok(pings(netns, "10.244.1.0"));
  assert.match(runSync(netns, ["ip", "neigh", "show", "169.254.1.1"]), "lladdr");
  const delay = "/proc/sys/net/ipv4/neigh/mesh0/proxy_delay".replace("mesh0", await device(node));
  assert.is(runSync(node.netns, ["cat", delay]).trim(), "0");
});

async function device(node: TestNode): Promise<string> {
  return ((await node.call("devices")) as string[])[0] ?? "";
}

rootTest(test, "TCP flows between two pods, byte for byte", async () => {
  const node = await TestNode.start();
  const a = await node.add({ name: "a" });
  const b = await node.add({ name: "b" });
  for (const address of b.addresses) {
    const serve = `require("net").createServer(s=>{let n=0;s.on("data",d=>n+=d.length);
      s.on("end",()=>s.end(String(n)))}).listen(7777,"${address}",()=>console.log("up"))`;
    const server = spawnIn(b.netns, [
      process.execPath,
      "-e",
      serve.replace(".createServer(", ".createServer({allowHalfOpen:true},"),
    ]);
    await new Promise((resolve) => server.stdout?.once("data", resolve));
    const send = `const s=require("net").connect(7777,"${address}",
      ()=>s.end(Buffer.alloc(5000000)));s.on("data",d=>process.stdout.write(d))`;
    const sent = await runIn(a.netns, [process.execPath, "-e", send]);
    assert.is(sent.stdout, "5000000", sent.stderr);
    server.kill("SIGKILL");
  }
});

rootTest(test, "restoring what is whole changes nothing, also in a new process", async () => {
  const node = await TestNode.start();
  const a = await node.add({ name: "a" });
  await node.add({ name: "b" });
  assert.equal(await node.restore(), { changes: 0, failed: [] });
  await node.open();
  assert.equal(await node.restore(), { changes: 0, failed: [] });
  assert.equal((await node.list())[0], a);
  const next = await node.add({ name: "c" });
  assert.is(next.addresses[0], "10.244.1.3");
});

rootTest(test, "what was taken away between two runs is mended, and only that", async () => {
  const node = await TestNode.start();
  const a = await node.add({ name: "a" });
  const b = await node.add({ name: "b" });
  const spoil: [string, string[]][] = [
    [node.netns, ["ip", "link", "delete", a.hostDevice]],
    [node.netns, ["ip", "netns", "delete", a.netns]],
    [node.netns, ["ip", "link", "set", a.hostDevice, "down"]],
    [node.netns, ["ip", "route", "delete", a.addresses[0] ?? ""]],
    [node.netns, ["ip", "-6", "route", "delete", a.addresses[1] ?? ""]],
    [node.netns, ["ip", "route", "delete", "169.254.1.1"]],
    [node.netns, ["ip", "address", "flush", "dev", a.hostDevice]],
    [node.netns, ["tee", `/proc/sys/net/ipv4/conf/${a.hostDevice}/proxy_arp`]],
    [a.netns, ["ip", "route", "flush", "table", "main"]],
    [a.netns, ["ip", "address", "flush", "dev", "eth0", "scope", "global"]],
    [a.netns, ["ip", "link", "set", "eth0", "mtu", "1300"]],
    [a.netns, ["ip", "link", "set", "eth0", "down"]],
  ];
  for (const [netns, argv] of spoil) {
    runSync(netns, argv, argv[0] === "tee" ? { input: "0" } : {});
    await node.open();
    const { changes, failed } = await node.restore();
    assert.ok(changes > 0, argv.join(" "));
    assert.equal(failed, [], argv.join(" "));
    for (const address of b.addresses) assert.ok(pings(a.netns, address), argv.join(" "));
    assert.is((await node.restore()).changes, 0, argv.join(" "));
  }
});

rootTest(
  test,
  "a pod that was half made when its agent was killed is whole after the restart",
  async () => {
    const node = await TestNode.start();
    const netns = uniqueName("half");
    const cut = node.add({ name: "a", netns }).catch(() => {});
    await until("the namespace is there", () => existsSync(`/run/netns/${netns}`));
    await node.open();
    await cut;
    assert.equal((await node.restore()).failed, []);
    assert.equal(
      (await node.list()).map((pod) => [pod.name, pod.ownsNetns]),
      [["a", true]],
    );
    for (const address of NODE_ADDRESSES) assert.ok(pings(netns, address));
  },
);

rootTest(test, "a pod in somebody else's namespace leaves that namespace as it was", async () => {
  const node = await TestNode.start();
  const theirs = createNamespace("theirs");
  const before = runSync(theirs, ["ip", "-br", "address"]);
  const byPath = await node.add({ name: "a", netns: `/run/netns/${theirs}` });
  assert.is(byPath.ownsNetns, false);
  assert.ok(pings(theirs, "10.244.1.0"));
  const twice = await node.codeFrom("add", { name: "b", netns: theirs });
  assert.is(twice, "MESHD_POD_NETNS");
  await node.call("remove", "a");
  assert.is(runSync(theirs, ["ip", "-br", "address"]), before);
  const byName = await node.add({ name: "a", netns: theirs });
  assert.is(byName.ownsNetns, false);
  deleteNamespace(theirs);
  assert.equal((await node.restore()).failed, [["a", "MESHD_POD_NETNS"]]);
  await node.call("remove", "a");
  assert.equal(await node.list(), []);
});

rootTest(
  test,
  "a namespace that we made goes with its pod, and its address is free again",
  async () => {
    const node = await TestNode.start({ podCidrs: ["10.244.1.0/30"] });
    const a = await node.add({ name: "a" });
    const b = await node.add({ name: "b" });
    assert.equal([a.addresses, b.addresses], [["10.244.1.1"], ["10.244.1.2"]]);
    assert.is(await node.codeFrom("add", { name: "c" }), "MESHD_POD_ADDRESSES_EXHAUSTED");
    await node.call("remove", "a");
    assert.not.ok(existsSync(`/run/netns/${a.netns}`));
    assert.is(await findLink(a.hostDevice, { netns: node.netns }), undefined);
    assert.is(runSync(node.netns, ["ip", "route", "show", "10.244.1.1"]), "");
    assert.equal((await node.add({ name: "c" })).addresses, ["10.244.1.1"]);
  },
);

rootTest(test, "every wrong request has its code and leaves nothing behind", async () => {
  const node = await TestNode.start();
  const a = await node.add({ name: "a" });
  const links = runSync(node.netns, ["ip", "-br", "link"]);
  const fresh = uniqueName("never");
  const wrong: [Record<string, unknown>, string][] = [
    [{ name: "a", netns: fresh }, "MESHD_POD_EXISTS"],
    [{ name: "A_b", netns: fresh }, "MESHD_POD_BAD_NAME"],
    [{ name: "b", netns: fresh, labels: { "x y": "" } }, "MESHD_POD_BAD_LABEL"],
    [{ name: "b", netns: "/run/netns/no-such-namespace" }, "MESHD_POD_NETNS"],
    [{ name: "b", netns: "/etc/passwd" }, "MESHD_POD_NETNS"],
    [{ name: "b", netns: "bad name" }, "MESHD_POD_NETNS"],
    [{ name: "b", netns: a.netns }, "MESHD_POD_NETNS"],
    [{ name: "b", netns: `/run/netns/${node.netns}` }, "MESHD_POD_NETNS"],
    [{ name: "b", netns: "/proc/self/ns/net" }, "MESHD_POD_NETNS"],
  ];
  for (const [request, code] of wrong) {
    assert.is(await node.codeFrom("add", request), code, JSON.stringify(request));
  }
  assert.is(await node.codeFrom("remove", "b"), "MESHD_POD_NOT_FOUND");
  assert.is(runSync(node.netns, ["ip", "-br", "link"]), links);
  assert.not.ok(existsSync(`/run/netns/${fresh}`));
  assert.equal(await node.list(), [a]);
});

rootTest(
  test,
  "a pod whose wiring fails is undone: no record, no device, no namespace",
  async () => {
    const node = await TestNode.start();
    // A route in the place of the pod's own, with our metric, cannot be replaced: it is not ours.
    runSync(node.netns, ["ip", "route", "add", "10.244.1.1", "dev", "mesh0", "metric", "157"]);
    const netns = uniqueName("undone");
    assert.is(await node.codeFrom("add", { name: "a", netns }), "MESHD_POD_SETUP");
    assert.equal(await node.list(), []);
    assert.not.ok(existsSync(`/run/netns/${netns}`));
    assert.match(runSync(node.netns, ["ip", "route", "show", "10.244.1.1"]), "dev mesh0");
  },
);

rootTest(test, "a new MTU reaches both ends of every pod, and again changes nothing", async () => {
  const node = await TestNode.start();
  const a = await node.add({ name: "a" });
  await node.add({ name: "b" });
  assert.is(await node.call("setMtu", 1400), 4);
  assert.is(await node.call("setMtu", 1400), 0);
  assert.is((await findLink("eth0", { netns: a.netns }))?.mtu, 1400);
  const c = await node.add({ name: "c" });
  assert.is((await findLink(c.hostDevice, { netns: node.netns }))?.mtu, 1400);
});

rootTest(test, "a pod's super-packets are no larger than the overlay device takes", async () => {
  const node = await TestNode.start();
  const a = await node.add({ name: "a" });
  await setLink("mesh0", { gsoMaxSize: 61_000 }, { netns: node.netns });
  assert.is((await node.restore()).changes, 1);
  assert.is((await findLink("eth0", { netns: a.netns }))?.gsoMaxSize, 61_000);
  assert.is((await node.restore()).changes, 0);
});

rootTest(test, "on a host without IPv6 a pod has IPv4 only", async () => {
  const node = await TestNode.start();
  await writeSysctl("ipv6/conf/all/disable_ipv6", 1, { netns: node.netns });
  const a = await node.add({ name: "a" });
  assert.equal(a.addresses, ["10.244.1.1"]);
  assert.ok(pings(a.netns, "10.244.1.0"));
  assert.equal(await node.restore(), { changes: 0, failed: [] });
});

rootTest(test, "ten pods asked for at once get ten addresses", async () => {
  const node = await TestNode.start();
  const names = Array.from({ length: 10 }, (_, i) => `p${i}`);
  const pods = await Promise.all(names.map((name) => node.add({ name })));
  assert.is(new Set(pods.flatMap((pod) => pod.addresses)).size, 20);
  assert.is(new Set(pods.map((pod) => pod.hostDevice)).size, 10);
  assert.is(await node.call("removeAll"), 10);
  assert.is(runSync(node.netns, ["ip", "route", "show", "proto", "158"]), "");
  assert.equal(await node.list(), []);
});

rootTest(test, "our pods' devices and routes are no conflict with the pools", async () => {
  const node = await TestNode.start();
  await node.add({ name: "a" });
  const devices = ["mesh0", ...((await node.call("devices")) as string[])];
  const own = { devices, pools: ["10.244.0.0/16", "fd00:244::/48"] };
  const facts = await gatherFacts({ netns: node.netns });
  assert.equal(findPoolConflicts(facts, own), []);
});

/** Sources of echo requests that `netns` sees while `work` runs. */
async function sourcesSeen(netns: string, work: () => void): Promise<string> {
  const filter = "icmp[0] == 8 or (icmp6 and ip6[40] == 128)";
  const dump = spawnIn(netns, ["tcpdump", "-n", "-l", "-i", "u1", filter]);
  let seen = "";
  let ready = false;
  dump.stderr?.on("data", (text: Buffer) => {
    ready ||= `${text}`.includes("listening");
  });
  dump.stdout?.on("data", (text: Buffer) => {
    seen += text;
  });
  await until("tcpdump listens", () => ready);
  work();
  await until("a request is seen", () => seen !== "");
  dump.kill("SIGINT");
  return seen;
}

rootTest(
  test,
  "pods go out under the host's address when masqueraded, and inside never",
  async () => {
    const node = await TestNode.start();
    const outside = createNamespace("out");
    joinByVeth(
      { namespace: node.netns, device: "u0", addresses: ["192.168.9.1/24", "fd09::1/64"] },
      { namespace: outside, device: "u1", addresses: ["192.168.9.2/24", "fd09::2/64"] },
    );
    const a = await node.add({ name: "a" });
    assert.not.ok(pings(a.netns, "192.168.9.2", 56, 0.2));
    const sources = ["10.244.1.0/24", "fd00:244:0:1::/64"];
    const pools = ["10.244.0.0/16", "fd00:244::/48"];
    await applyMasquerade({ device: "mesh0", sources, pools }, { netns: node.netns });
    for (const [target, source] of [
      ["192.168.9.2", "192.168.9.1"],
      ["fd09::2", "fd09::1"],
    ] as const) {
      const seen = await sourcesSeen(outside, () => assert.ok(pings(a.netns, target)));
      assert.match(seen, `${source} > ${target}`);
    }
    // The far end as one more part of the pool: its packets must keep the pod's own address.
    runSync(outside, ["ip", "address", "add", "10.244.9.9/32", "dev", "u1"]);
    runSync(outside, ["ip", "route", "add", "10.244.1.0/24", "via", "192.168.9.1"]);
    runSync(node.netns, ["ip", "route", "add", "10.244.9.0/24", "via", "192.168.9.2"]);
    const inside = await sourcesSeen(outside, () => assert.ok(pings(a.netns, "10.244.9.9")));
    assert.match(inside, `${a.addresses[0]} > 10.244.9.9`);
  },
);

rootTest(test, "two agents in one namespace keep their pods and routes apart", async () => {
  const node = await TestNode.start();
  runSync(node.netns, ["ip", "tuntap", "add", "mode", "tun", "mesh1"]);
  runSync(node.netns, ["ip", "link", "set", "mesh1", "up"]);
  const first: Pod = await node.add({ name: "a" });
  const other = { device: "mesh1", podCidrs: ["10.245.1.0/24"], stateDir: `${node.stateDir}/two` };
  await node.open(other);
  const second = await node.add({ name: "a" });
  assert.is.not(first.hostDevice, second.hostDevice);
  assert.ok(pings(second.netns, first.addresses[0] ?? ""));
  assert.is(await node.call("removeAll"), 1);
  await node.open();
  assert.equal(await node.restore(), { changes: 0, failed: [] });
  assert.is(trySync(first.netns, ["ping", "-c1", "-W2", "10.244.1.0"]).code, 0);
});

rootTest(test, "a pod that cannot be recorded is neither made nor forgotten", async () => {
  const node = await TestNode.start();
  const a = await node.add({ name: "a" });
  // Whatever the user may: a folder of the file's name is in the way of every new record.
  const path = join(node.stateDir, "pods.json");
  const saved = readFileSync(path);
  rmSync(path);
  mkdirSync(join(path, "in-the-way"), { recursive: true });
  const netns = uniqueName("unrecorded");
  assert.is(await node.codeFrom("add", { name: "b", netns }), "MESHD_POD_STATE");
  assert.equal(await node.list(), [a]);
  assert.is((await node.restore()).changes, 0);
  assert.not.ok(existsSync(`/run/netns/${netns}`));
  assert.is(await node.codeFrom("remove", "a"), "MESHD_POD_STATE");
  assert.equal(await node.list(), [a], "it would come back with a restart");
  rmSync(path, { recursive: true });
  writeFileSync(path, saved);
  await node.call("remove", "a");
  assert.equal(await node.list(), []);
  await node.open();
  assert.equal(await node.list(), []);
});

test.run();
