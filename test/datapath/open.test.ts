// Opening, refusing, rebinding and closing a datapath, in namespaces of their own.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  Datapath,
  DatapathError,
  type GrantedOffloads,
  type WorkerStatus,
} from "../../src/datapath/index.js";
import type { HostConfig } from "../support/datapath-host.js";
import { DatapathNode, RefusedError } from "../support/datapath-node.js";
import { pings, runSync, trySync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { configOf, type HostPair, makeHostPair } from "../support/two-hosts.js";

const HOST = fileURLToPath(new URL("../support/datapath-host.js", import.meta.url));

async function refusalOf(namespace: string, config: HostConfig): Promise<RefusedError> {
  try {
    const node = await DatapathNode.start(namespace, config);
    await node.stop();
  } catch (error) {
    if (error instanceof RefusedError) return error;
    throw error;
  }
  throw new Error("was not refused");
}

const hasDevice = (namespace: string, name = "mesh0") =>
  trySync(namespace, ["ip", "link", "show", "dev", name]).code === 0;

const onePair = (): HostPair & { config: HostConfig } => {
  const pair = makeHostPair();
  return { ...pair, config: configOf(pair.a, pair.b) };
};

test("options that no device or crew can have are refused before anything is opened", async () => {
  const underlay = { family: 4, address: "192.0.2.1", port: 8472 } as const;
  for (const options of [
    { deviceName: "a-name-of-16-byte", workers: 1, underlay },
    { deviceName: "a/b", workers: 1, underlay },
    { deviceName: "mesh0", workers: 0, underlay },
    { deviceName: "mesh0", workers: 33, underlay },
  ]) {
    try {
      await Datapath.open(options);
      assert.unreachable();
    } catch (error) {
      assert.ok(error instanceof DatapathError);
      assert.is(error.code, "MESHD_BAD_OPTION");
    }
  }
});

rootTest(test, "a port that another program has is refused, with SO_REUSEPORT too", async () => {
  const { a, config } = onePair();
  const first = await DatapathNode.start(a.namespace, config);
  try {
    const workers = { ...config.datapath, workers: 2, deviceName: "mesh1" };
    const refused = await refusalOf(a.namespace, { ...config, datapath: workers });
    assert.is(refused.code, "MESHD_PORT_IN_USE");
    assert.match(refused.message, /UDP port 8472 on 192\.0\.2\.1 is in use/);
    assert.not.ok(hasDevice(a.namespace, "mesh1"));
  } finally {
    await first.stop();
  }
});

rootTest(test, "a kernel's own vxlan device on the port is found too", async () => {
  const { a, config } = onePair();
  const tunnel = ["type", "vxlan", "id", "9", "dstport", "8472", "local", a.underlay[4]];
  runSync(a.namespace, ["ip", "link", "add", "other", ...tunnel]);
  runSync(a.namespace, ["ip", "link", "set", "other", "up"]);
  assert.is((await refusalOf(a.namespace, config)).code, "MESHD_PORT_IN_USE");
});

rootTest(test, "an address that this host does not have is refused", async () => {
  const { a, config } = onePair();
  const underlay = { family: 4, address: "192.0.2.99", port: 8472 } as const;
  const datapath = { ...config.datapath, underlay };
  const refused = await refusalOf(a.namespace, { ...config, datapath });
  assert.is(refused.code, "MESHD_ADDRESS_GONE");
  assert.not.ok(hasDevice(a.namespace));
});

rootTest(test, "a device of somebody else keeps its name, whatever kind it is", async () => {
  const { a, config } = onePair();
  for (const kind of [
    ["link", "add", "mesh0", "type", "veth", "peer", "name", "other0"],
    ["tuntap", "add", "mesh0", "mode", "tap"],
    ["tuntap", "add", "mesh0", "mode", "tun"],
  ]) {
    runSync(a.namespace, ["ip", ...kind]);
    const refused = await refusalOf(a.namespace, config);
    assert.is(refused.code, "MESHD_DEVICE_BUSY", kind.join(" "));
    assert.match(refused.message, /^device mesh0 exists and /);
    assert.ok(hasDevice(a.namespace));
    runSync(a.namespace, ["ip", "link", "delete", "mesh0"]);
  }
});

rootTest(
  test,
  "a device that another datapath has open is refused, with several queues too",
  async () => {
    const { a, config } = onePair();
    for (const workers of [1, 2]) {
      const datapath = { ...config.datapath, workers };
      const first = await DatapathNode.start(a.namespace, { ...config, datapath });
      const underlay = { ...datapath.underlay, port: 8473 };
      const second = { ...config, datapath: { ...datapath, underlay } };
      const refused = await refusalOf(a.namespace, second);
      await first.stop();
      assert.is(refused.code, "MESHD_DEVICE_BUSY");
    }
  },
);

rootTest(test, "without /dev/net/tun the refusal says what to do", () => {
  const { config } = onePair();
  const local = { ...config.datapath, underlay: { family: 4, address: "127.0.0.1", port: 8472 } };
  const hide = `ip link set lo up && mount -t tmpfs none /dev/net && exec "$0" "$@"`;
  const argv = ["--mount", "--net", "sh", "-c", hide, process.execPath, HOST];
  const input = `${JSON.stringify({ ...config, datapath: local })}\n`;
  const said = spawnSync("unshare", argv, { input, encoding: "utf8" });
  const { refused } = JSON.parse(said.stdout) as { refused: { code: string; message: string } };
  assert.is(refused.code, "MESHD_NO_TUN");
  assert.match(refused.message, /modprobe tun/);
});

rootTest(test, "a persistent device outlives a killed process and is taken up again", async () => {
  const { a, config } = onePair();
  const datapath = { ...config.datapath, persist: true };
  const linkNumber = () =>
    runSync(a.namespace, ["ip", "-o", "link", "show", "mesh0"]).split(":")[0];
  const first = await DatapathNode.start(a.namespace, { ...config, datapath });
  const number = linkNumber();
  await first.kill();
  assert.ok(hasDevice(a.namespace), "the device is still there");
  const second = await DatapathNode.start(a.namespace, { ...config, datapath });
  assert.is(linkNumber(), number);
  await second.kill();
  const third = { ...config, datapath: { ...datapath, workers: 2, persist: false } };
  const last = await DatapathNode.start(a.namespace, third);
  await last.stop();
  assert.not.ok(hasDevice(a.namespace), "without persistence it goes at the stop");
});

rootTest(
  test,
  "another address and port are taken up live, without a lost device or thread",
  async () => {
    const { a, b, config } = onePair();
    const other = { family: 4, address: "192.0.2.11", port: 9999 } as const;
    runSync(a.namespace, ["ip", "address", "add", "192.0.2.11/24", "dev", a.veth]);
    const node = await DatapathNode.start(a.namespace, config);
    const moved = configOf(b, { ...a, underlay: { ...a.underlay, 4: other.address } });
    for (const peer of moved.contents.peers) peer.port = other.port;
    const kept = configOf(b, a);
    const peer = await DatapathNode.start(b.namespace, kept);
    try {
      assert.ok(pings(a.namespace, b.overlay[4]));
      await node.ask({ do: "rebind", underlay: other });
      await peer.ask({ do: "publish", contents: moved.contents });
      assert.ok(pings(a.namespace, b.overlay[4]) && pings(b.namespace, a.overlay[6]));
      const sockets = runSync(a.namespace, ["ss", "-ulnH"]);
      assert.not.match(sockets, /192\.0\.2\.1:/);
      assert.match(sockets, /192\.0\.2\.11:9999/);
      const [worker] = await node.ask<{ restarts: number }[]>({ do: "workers" });
      assert.is(worker?.restarts, 0);
    } finally {
      await Promise.all([node.stop(), peer.stop()]);
    }
  },
);

rootTest(test, "a rebind that is refused leaves the old address in use", async () => {
  const { a, b, config } = onePair();
  const node = await DatapathNode.start(a.namespace, config);
  const peer = await DatapathNode.start(b.namespace, configOf(b, a));
  try {
    const gone = { family: 4, address: "192.0.2.99", port: 8472 } as const;
    const refused = node.ask({ do: "rebind", underlay: gone }).then(
      () => "not refused",
      (error: RefusedError) => error.code,
    );
    assert.is(await refused, "MESHD_ADDRESS_GONE");
    assert.ok(pings(a.namespace, b.overlay[4]));
  } finally {
    await Promise.all([node.stop(), peer.stop()]);
  }
});

rootTest(test, "a port changes from VXLAN to Geneve on the sockets that it has", async () => {
  const { a, b, config } = onePair();
  const { underlay } = config.datapath;
  const nodes = [
    { config, node: await DatapathNode.start(a.namespace, config) },
    { config: configOf(b, a), node: await DatapathNode.start(b.namespace, configOf(b, a)) },
  ];
  const port = { protocol: "vxlan", port: underlay.port } as const;
  const sockets = () => runSync(a.namespace, ["ss", "-ulnHe", `sport = :${port.port}`]);
  const inodes = () => sockets().match(/ino:\d+/g);
  const before = inodes();
  try {
    for (const { config, node } of nodes) {
      const { self, peers } = config.contents;
      const both = peers.map((peer) => ({ ...peer, receives: ["vxlan", "geneve"] as const }));
      await node.ask({ do: "publish", contents: { self, peers: both } });
      const place = { ...config.datapath.underlay, protocol: "geneve" as const, others: [port] };
      await node.ask({ do: "rebind", underlay: place });
      // First both send VXLAN, then this one alone.
      assert.ok(pings(a.namespace, b.overlay[4]));
      const next = both.map((peer) => ({ ...peer, protocol: "geneve" as const }));
      await node.ask({ do: "publish", contents: { self, peers: next } });
    }
    for (const { config, node } of nodes) {
      const place = { ...config.datapath.underlay, protocol: "geneve" as const };
      await node.ask({ do: "rebind", underlay: place });
    }
    assert.ok(pings(a.namespace, b.overlay[6]) && pings(b.namespace, a.overlay[4]));
    assert.ok(before !== null && before.length > 0);
    assert.equal(inodes(), before);
  } finally {
    await Promise.all(nodes.map(({ node }) => node.stop()));
  }
});

rootTest(
  test,
  "an idle datapath stands still: no round, no timer that wakes a worker",
  async () => {
    const { a, config } = onePair();
    // IPv6 would send router solicitations into the device now and then.
    const key = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    runSync(a.namespace, ["tee", key], { input: "1" });
    const [address, route] = [config.addresses[0] ?? "", config.routes[0] ?? ""];
    const node = await DatapathNode.start(a.namespace, {
      ...config,
      addresses: [address],
      routes: [route],
    });
    try {
      const status = () => node.ask<WorkerStatus[]>({ do: "workers" });
      await until("the worker is parked", async () => (await status())[0]?.state === "parked");
      const [before] = await status();
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.equal(await status(), [before]);
    } finally {
      await node.stop();
    }
  },
);

rootTest(test, "asked for it, a worker says once that something woke it", async () => {
  const { a, b, config } = onePair();
  const node = await DatapathNode.start(a.namespace, config);
  try {
    const rounds = () => node.events.filter(({ event }) => event === "round").length;
    const traffic = () => node.ask<number>({ do: "traffic" });
    // The kernel's own chatter on a device that has just come up is traffic as well.
    let before = await traffic();
    await until("the device is silent", async () => {
      const last = before;
      await new Promise((resolve) => setTimeout(resolve, 100));
      before = await traffic();
      return before === last;
    });
    // Neither version 4 nor 6: dropped, and not a packet of the host.
    const inject = () => node.ask({ do: "inject", packet: "00".repeat(20) });
    await inject();
    await node.ask({ do: "heaps" });
    assert.is(rounds(), 0, "nobody asked");
    await node.ask({ do: "listen" });
    await inject();
    await node.event("round");
    await inject();
    await node.ask({ do: "heaps" });
    assert.is(rounds(), 1, "once");
    assert.is(await traffic(), before, "what the node says itself is no traffic");
    await node.ask({ do: "listen" });
    const heaps = await node.ask<unknown[]>({ do: "heaps" });
    assert.ok(heaps[0], "its heap can be asked for all the same");
    pings(a.namespace, b.overlay[4]);
    assert.ok((await traffic()) > before);
  } finally {
    await node.stop();
  }
});

rootTest(
  test,
  "a process that exits without closing is not held by its blocked workers",
  async () => {
    const { a, config } = onePair();
    const datapath = { ...config.datapath, workers: 2 };
    const node = await DatapathNode.start(a.namespace, { ...config, datapath });
    assert.is(await node.exit(), 0);
  },
);

rootTest(test, "offloads say what the kernel granted", async () => {
  const { a, config } = onePair();
  const node = await DatapathNode.start(a.namespace, config);
  try {
    const granted = await node.ask<GrantedOffloads>({ do: "offloads" });
    assert.is(granted.device.checksum, true);
    assert.is(granted.device.tso4, true);
    assert.is(granted.socket.segmentation, true);
    assert.ok(granted.socket.sendBuffer >= 8 * 1024 * 1024);
  } finally {
    await node.stop();
  }
});

test.run();
