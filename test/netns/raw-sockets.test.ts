// Raw sockets of a datapath in its namespace: open only while somebody needs them, each packet to
// exactly one worker, and no error to the sender, whatever the filters drop.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { allowedCpus } from "node-tun";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { TableContents, WorkerCounters } from "../../src/datapath/index.js";
import { Capture } from "../support/capture.js";
import { DatapathNode } from "../support/datapath-node.js";
import { hashedStreams } from "../support/hashed-stream.js";
import { pings, runIn, runSync, spawnIn, until } from "../support/netns.js";
import { address4, buildPacket, concat, UDP } from "../support/packets.js";
import { rootTest } from "../support/root.js";
import {
  configOf,
  type Host,
  makeHostPair,
  type PairOptions,
  peerOf,
} from "../support/two-hosts.js";
import type { Sequence } from "../support/udp-sequence.js";

const SEQUENCE = fileURLToPath(new URL("../support/udp-sequence.js", import.meta.url));
const SEND = fileURLToPath(new URL("../support/raw-send.js", import.meta.url));
const PORT = 9000;
const PACKETS = 2000;
const PODS = 200;
/** Packets that strangers send: for more than a second. */
const FLOOD = 20_000;
const IPIP = 4;
const DESTINATION_OPTIONS = 60;
const STREAM_BYTES = 20 << 20;
/** Errors that a host without our sockets would send: port and protocol unreachable. */
const ERRORS = "icmp[0] = 3 or (icmp6 and ip6[40] = 1)";

/** Inner packet `number` from one of the pods of side 1 to node 2. */
function numbered(number: number): Uint8Array {
  const payload = new Uint8Array(64);
  new DataView(payload.buffer).setUint32(0, number, true);
  return buildPacket({
    ...{ version: 4, protocol: UDP, payload, sourcePort: 1000, destinationPort: PORT },
    source: address4(10, 244, 1, 2 + (number % PODS)),
    destination: address4(10, 244, 2, 1),
  });
}

const all = (count: number) => Array.from({ length: count }, (_, number) => numbered(number));

/** Sends from a host that runs no datapath of ours. */
function send(from: Host, to: Host, packets: Uint8Array[], options: SendOptions = {}): void {
  const { family = 4, protocol = IPIP } = options;
  // Neighbours are found first: few packets wait for that.
  assert.ok(pings(from.namespace, to.underlay[family]));
  const source = options.source ?? from.underlay[family];
  const argv = [process.execPath, SEND, `${family}`, `${protocol}`, source, to.underlay[family]];
  const input = packets.map((bytes) => Buffer.from(bytes).toString("hex")).join("\n");
  runSync(from.namespace, argv, { input });
}

/** As send over IPv4, while other things go on. */
async function sendAside(
  from: Host,
  to: Host,
  packets: Uint8Array[],
  source: string,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "meshd-raw-"));
  const file = join(directory, "packets");
  writeFileSync(file, packets.map((bytes) => Buffer.from(bytes).toString("hex")).join("\n"));
  const argv = [process.execPath, SEND, "4", `${IPIP}`, source, to.underlay[4], file];
  const { code, stderr } = await runIn(from.namespace, argv);
  rmSync(directory, { recursive: true });
  assert.is(code, 0, stderr);
}

interface SendOptions {
  family?: 4 | 6;
  protocol?: number;
  source?: string;
}

/** What a receiver inside `host` sees while `body` runs. */
async function received(host: Host, body: () => Promise<void>): Promise<Sequence> {
  const argv = [process.execPath, SEQUENCE, "receive", host.overlay[4], `${PORT}`];
  const child = spawnIn(host.namespace, argv);
  if (child.stdout === null) throw new Error("the receiver has no output");
  let last = "";
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    last = line;
  });
  try {
    await until("the receiver listens", () => last === "ready");
    await body();
    return JSON.parse(last) as Sequence;
  } finally {
    child.kill();
  }
}

const sum = (workers: WorkerCounters[], read: (worker: WorkerCounters) => number): number =>
  workers.reduce((total, worker) => total + read(worker), 0);

/** Raw sockets of a namespace: /proc/net/raw and raw6 have a line each, and a heading. */
function rawSockets(host: Host): number {
  const argv = ["cat", "/proc/net/raw", "/proc/net/raw6"];
  const lines = runSync(host.namespace, argv).split("\n");
  return lines.filter((line) => /^\s*\d+:/.test(line)).length;
}

/** Node 2 alone, with `from` as its peer that speaks ipip; the other side only sends. */
async function withNode(
  options: PairOptions,
  body: (a: Host, b: Host, node: DatapathNode) => Promise<void>,
): Promise<void> {
  const { a, b } = makeHostPair();
  const node = await DatapathNode.start(b.namespace, configOf(b, a, options));
  try {
    await body(a, b, node);
  } finally {
    await node.stop();
  }
}

for (const family of [4, 6] as const) {
  const name = `IPv${family}: each packet comes to one of four workers, and no error goes back`;
  rootTest(test, name, async () => {
    await withNode({ protocol: "ipip", family, workers: 4 }, async (a, b, node) => {
      assert.is(rawSockets(b), 8, "two protocols, four workers");
      const errors = new Capture(a.namespace, a.veth, ERRORS);
      try {
        await errors.started();
        const arrived = async () => {
          const workers = await node.settledCounters();
          return sum(workers, ({ ingress }) => ingress.received) >= PACKETS;
        };
        const got = await received(b, async () => {
          send(a, b, all(PACKETS), { family });
          await until("all packets have arrived", arrived);
          await new Promise((resolve) => setTimeout(resolve, 100));
        });
        assert.equal({ packets: got.packets, twice: got.twice }, { packets: PACKETS, twice: 0 });
        const workers = await node.settledCounters();
        assert.is(
          sum(workers, ({ ingress }) => ingress.forwarded),
          PACKETS,
        );
        for (const { ingress } of workers) assert.ok(ingress.received > PACKETS / 16);
        await errors.stop();
        assert.equal(errors.frames(""), []);
      } finally {
        errors.remove();
      }
    });
  });
}

rootTest(test, "a packet from a stranger is counted once, by one of the workers", async () => {
  await withNode({ protocol: "ipip", workers: 4 }, async (a, b, node) => {
    runSync(a.namespace, ["ip", "address", "add", "192.0.2.77/24", "dev", a.veth]);
    const errors = new Capture(a.namespace, a.veth, ERRORS);
    try {
      await errors.started();
      send(a, b, all(300), { source: "192.0.2.77" });
      const unknown = async () => {
        const workers = await node.settledCounters();
        return sum(workers, ({ ingress }) => ingress.drops.UNKNOWN_PEER?.packets ?? 0);
      };
      await until("all are dropped", async () => (await unknown()) >= 300);
      assert.is(await unknown(), 300);
      await errors.stop();
      assert.equal(errors.frames(""), []);
    } finally {
      errors.remove();
    }
  });
});

rootTest(test, "in a flood from strangers filters drop them, and never a peer", async () => {
  const options = { protocol: "ipip", workers: 4 } as const;
  await withNode(options, async (a, b, node) => {
    const { contents } = configOf(b, a, options);
    runSync(a.namespace, ["ip", "address", "add", "192.0.2.77/24", "dev", a.veth]);
    const look = () => node.ask<{ active: boolean }>({ do: "look" });
    const unknown = async () =>
      sum(await node.settledCounters(), ({ ingress }) => ingress.drops.UNKNOWN_PEER?.packets ?? 0);
    await look();
    const first = sendAside(a, b, all(FLOOD), "192.0.2.77");
    await until("a flood", async () => (await look()).active);
    await first;
    const before = await unknown();
    let isOver = false;
    const replacing = (async () => {
      for (let turn = 0; !isOver; turn += 1) {
        // Each is one more that may send: what was there before stays until the next look.
        const address = `198.51.${(turn >>> 8) & 255}.${turn & 255}`;
        const other = { ...peerOf(a, options), address, prefixes: ["10.99.0.0/24"] };
        const peers = [...contents.peers, other];
        await node.ask({ do: "publish", contents: { ...contents, peers } });
      }
    })();
    const got = await received(b, async () => {
      await Promise.all([
        sendAside(a, b, all(PACKETS), a.underlay[4]),
        sendAside(a, b, all(FLOOD), "192.0.2.77"),
      ]);
      isOver = true;
      await replacing;
      await until("the peer's packets have arrived", async () => {
        const workers = await node.settledCounters();
        return sum(workers, ({ ingress }) => ingress.forwarded) >= PACKETS;
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
    });
    assert.equal({ packets: got.packets, twice: got.twice }, { packets: PACKETS, twice: 0 });
    const counted = (await unknown()) - before;
    assert.ok(counted < FLOOD / 64, `${counted} of ${FLOOD} strangers were read`);
  });
});

rootTest(test, "the outer header: TTL 64, don't-fragment, and the inner TOS", async () => {
  await withNode({ protocol: "ipip" }, async (a, b, node) => {
    const wire = new Capture(a.namespace, a.veth, "ip proto 4");
    const other = await DatapathNode.start(a.namespace, configOf(a, b, { protocol: "ipip" }));
    try {
      await wire.started();
      const ping = ["ping", "-n", "-c", "3", "-i", "0.05", "-t", "9", "-Q", "184", b.overlay[4]];
      runSync(a.namespace, ping);
      await until("all are seen", () => wire.size() > 6 * 130);
      await wire.stop();
      // Bytes, for a frame has two IP headers: TTL, don't-fragment alone, TOS.
      const header = "frame[22] == 40 && frame[20] == 40 && frame[15] == b8";
      for (const type of [8, 0]) {
        assert.is(wire.frames(`${header} && icmp.type == ${type}`).length, 3, `ICMP ${type}`);
      }
      assert.is((await node.settledCounters())[0]?.ingress.received, 3);
    } finally {
      await other.stop();
      wire.remove();
    }
  });
});

rootTest(test, "the tunnel encapsulation limit of Linux' ip6tnl is taken off", async () => {
  await withNode({ protocol: "ipip", family: 6 }, async (a, b, node) => {
    // RFC 2473 section 4.1.1: next header IPv4, option 4 with the limit 4, padding.
    const limit = Uint8Array.of(IPIP, 0, 4, 1, 4, 1, 1, 0);
    const packets = all(20).map((packet) => concat(limit, packet));
    const got = await received(b, async () => {
      send(a, b, packets, { family: 6, protocol: DESTINATION_OPTIONS });
      await until("all packets have arrived", async () => {
        const [worker] = await node.settledCounters();
        return (worker?.ingress.forwarded ?? 0) >= packets.length;
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
    });
    assert.is(got.packets, packets.length);
  });
});

const SUMMED = { key: null, checksum: true, sequence: false };
for (const options of [
  { protocol: "ipip", family: 4 },
  { protocol: "ipip", family: 6 },
  { protocol: "gre", family: 4, gre: SUMMED },
] as const) {
  const { protocol, family } = options;
  const name = `${protocol}, IPv${family}: TCP that the kernel joined (GRO) is the same`;
  rootTest(test, name, async () => {
    await withNode(options, async (a, b, node) => {
      for (const { namespace, veth } of [a, b]) {
        // As a network card comes: GRO on, and nothing larger than a packet on the wire.
        runSync(namespace, ["ethtool", "-K", veth, "gro", "on", "gso", "off", "tso", "off"]);
        // A veth is polled for each packet: without a while to wait there is nothing to join.
        const file = `/sys/class/net/${veth}/gro_flush_timeout`;
        const argv = ["netns", "exec", namespace, "tee", file];
        execFileSync("ip", argv, { input: "100000", stdio: ["pipe", "ignore", "inherit"] });
      }
      const other = await DatapathNode.start(a.namespace, configOf(a, b, options));
      try {
        for (const inner of [4, 6] as const) {
          const path = { from: a.namespace, to: b.namespace, address: b.overlay[inner] };
          const { sent, received: got } = await hashedStreams(path, 1, STREAM_BYTES);
          assert.equal(got, sent, `IPv${inner} inside`);
        }
        const [worker] = await node.settledCounters();
        const { received: packets = 0, receivedBytes = 0 } = worker?.ingress ?? {};
        assert.ok(receivedBytes > 1.5 * 1480 * packets, `${receivedBytes} bytes in ${packets}`);
        const drops = Object.keys(worker?.ingress.drops ?? {});
        assert.equal(
          drops.filter((reason) => reason !== "MULTICAST"),
          [],
        );
      } finally {
        await other.stop();
      }
    });
  });
}

rootTest(test, "raw sockets are open only while a peer needs them, none steered", async () => {
  const cpus = allowedCpus();
  const steering = cpus.length > 1 ? "on" : "off";
  await withNode({ steering }, async (a, b, node) => {
    const { datapath, contents } = configOf(b, a, { steering });
    assert.is(rawSockets(b), 0);
    const others = [{ protocol: "ipip", port: 0 } as const];
    await node.ask({ do: "rebind", underlay: { ...datapath.underlay, others } });
    const workers = (await node.counters()).length;
    assert.is(rawSockets(b), 2 * workers);
    const peers = [peerOf(a, { protocol: "ipip" })];
    await node.ask({ do: "publish", contents: { ...contents, peers } satisfies TableContents });
    send(a, b, all(400));
    await until("all packets have arrived", async () => {
      const counters = await node.settledCounters();
      return sum(counters, ({ ingress }) => ingress.received) >= 400;
    });
    const counters = await node.settledCounters();
    const busy = counters.length - 1;
    assert.is(counters[busy]?.ingress.received, 400, "the one worker that is not pinned");
    await node.ask({ do: "rebind", underlay: datapath.underlay });
    assert.is(rawSockets(b), 0);
  });
});

test.run();
