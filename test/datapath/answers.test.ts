// What a node answers and counts when a packet cannot go on, seen from real namespaces. Topology:
// test/support/two-hosts.ts.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  PROBE_KIND_AT,
  PROBE_MAGIC,
  PROBE_MTU_AT,
  PROBE_OPAQUE_AT,
  PROBE_PORT,
  PROBE_REQUEST,
  PROBE_SIZE,
  PUNT_PROBE,
} from "../../assembly/shared/layout.js";
import type { DropName, TableContents } from "../../src/datapath/index.js";
import { DatapathNode } from "../support/datapath-node.js";
import { pings, runSync, trySync, until } from "../support/netns.js";
import { buildPacket, UDP } from "../support/packets.js";
import { rootTest } from "../support/root.js";
import { configOf, type HostPair, makeHostPair } from "../support/two-hosts.js";

interface Scene extends HostPair {
  left: DatapathNode;
  right: DatapathNode;
  contents: TableContents;
}

async function withMesh(body: (scene: Scene) => Promise<void>): Promise<void> {
  const { a, b } = makeHostPair();
  const config = configOf(a, b);
  const left = await DatapathNode.start(a.namespace, config);
  const right = await DatapathNode.start(b.namespace, configOf(b, a));
  try {
    await body({ a, b, left, right, contents: config.contents });
  } finally {
    await Promise.all([left.stop(), right.stop()]);
  }
}

async function dropped(
  node: DatapathNode,
  side: "egress" | "ingress",
  name: DropName,
): Promise<number> {
  const workers = await node.settledCounters();
  return workers.reduce((sum, worker) => sum + (worker[side].drops[name]?.packets ?? 0), 0);
}

/** Output of one ping that is not expected to be answered. */
function complaint(namespace: string, address: string, ...more: string[]): string {
  const argv = ["ping", "-n", "-c", "1", "-W", "2", ...more, address];
  const { stdout, stderr } = trySync(namespace, argv);
  return stdout + stderr;
}

rootTest(
  test,
  "a destination that no peer has is answered as unreachable, in both families",
  async () => {
    await withMesh(async ({ a, left }) => {
      for (const [prefix, address] of [
        ["10.244.77.0/24", "10.244.77.1"],
        ["fd00:244:77::/64", "fd00:244:77::1"],
      ] as const) {
        runSync(a.namespace, ["ip", "route", "add", prefix, "dev", "mesh0"]);
        assert.match(complaint(a.namespace, address), /nreachable/);
      }
      assert.is(await dropped(left, "egress", "NO_ROUTE"), 2);
    });
  },
);

rootTest(
  test,
  "a packet too big for one peer's path is answered with the size that fits",
  async () => {
    await withMesh(async ({ a, b, left, contents }) => {
      const peers = contents.peers.map((peer) => ({ ...peer, mtu: 1300 }));
      await left.ask({ do: "publish", contents: { ...contents, peers } });
      const big = ["-s", "1400", "-M", "do"];
      assert.match(complaint(a.namespace, b.overlay[4], ...big), /mtu ?= ?1300/);
      assert.match(complaint(a.namespace, b.overlay[6], ...big), /mtu ?= ?1300/);
      assert.is(await dropped(left, "egress", "TOO_BIG"), 2);
      assert.ok(pings(a.namespace, b.overlay[4], 1300 - 28));
      assert.ok(pings(a.namespace, b.overlay[6], 1300 - 48));
    });
  },
);

rootTest(test, "a peer whose host cannot be reached is counted and fails nobody else", async () => {
  await withMesh(async ({ a, b, left, contents }) => {
    const [peer] = contents.peers;
    assert.ok(peer);
    const lost = { ...peer, address: "198.51.100.9", mac: "02:00:00:00:00:09" };
    const peers = [...contents.peers, { ...lost, prefixes: ["10.244.9.0/24"] }];
    await left.ask({ do: "publish", contents: { ...contents, peers } });
    runSync(a.namespace, ["ip", "route", "add", "10.244.9.0/24", "dev", "mesh0"]);
    complaint(a.namespace, "10.244.9.1", "-W", "1");
    assert.is(await dropped(left, "egress", "SEND_FAILED"), 1);
    assert.ok(pings(a.namespace, b.overlay[4]));
  });
});

rootTest(
  test,
  "a device that is down refuses packets, which are counted, and works again when up",
  async () => {
    await withMesh(async ({ a, b, right }) => {
      runSync(b.namespace, ["ip", "link", "set", "mesh0", "down"]);
      complaint(a.namespace, b.overlay[4], "-W", "1");
      assert.is(await dropped(right, "ingress", "TUN_WRITE_FAILED"), 1);
      runSync(b.namespace, ["ip", "link", "set", "mesh0", "up"]);
      runSync(b.namespace, ["ip", "route", "replace", a.prefixes[0] ?? "", "dev", "mesh0"]);
      assert.ok(pings(a.namespace, b.overlay[4]));
    });
  },
);

rootTest(
  test,
  "a probe that a control thread injects is answered by the peer and punted back",
  async () => {
    await withMesh(async ({ a, b, left, right, contents }) => {
      const payload = Uint8Array.from({ length: 64 }, (_, index) => index);
      new DataView(payload.buffer).setUint32(0, PROBE_MAGIC);
      payload[PROBE_KIND_AT] = PROBE_REQUEST;
      const bytes4 = (address: string) => Uint8Array.from(address.split(".").map(Number));
      const probe = buildPacket({
        version: 4,
        protocol: UDP,
        payload,
        source: bytes4(a.overlay[4]),
        destination: bytes4(b.overlay[4]),
        sourcePort: PROBE_PORT,
        destinationPort: PROBE_PORT,
      });
      const packet = Buffer.from(probe).toString("hex");
      assert.is(await left.ask({ do: "inject", packet }), true);
      const punted = await left.event("punt");
      assert.is(punted.kind, PUNT_PROBE);
      assert.is(punted.peer, 0);
      // The reply is short, says what the peer sends to us at most, and keeps the asker's bytes.
      const marker = Buffer.from(payload.subarray(PROBE_OPAQUE_AT, PROBE_SIZE)).toString("hex");
      const reply = Buffer.from(String(punted.packet), "hex");
      assert.ok(reply.toString("hex").endsWith(marker));
      assert.is(reply.length, 28 + PROBE_SIZE);
      assert.is(reply.readUInt16BE(28 + PROBE_MTU_AT), contents.self.mtu);
      const [sender] = await left.settledCounters();
      const [answering] = await right.settledCounters();
      assert.ok((sender?.egress.generated ?? 0) >= 1);
      assert.is(sender?.ingress.consumed, 1);
      assert.is(answering?.ingress.consumed, 1);
      assert.is(answering?.ingress.generated, 1);
    });
  },
);

rootTest(
  test,
  "datagrams of a stranger are counted under their own name and change nothing",
  async () => {
    await withMesh(async ({ a, b, right }) => {
      runSync(a.namespace, ["ip", "address", "add", "192.0.2.50/24", "dev", a.veth]);
      const program = `const socket = require("node:dgram").createSocket("udp4");
      socket.bind(0, "192.0.2.50", () => {
        socket.send(Buffer.alloc(90, 8), 8472, "${b.underlay[4]}", () => socket.close());
      });`;
      runSync(a.namespace, [process.execPath, "-e", program]);
      await until("the stranger is counted", async () => {
        return (await dropped(right, "ingress", "UNKNOWN_PEER")) === 1;
      });
      assert.ok(pings(b.namespace, a.overlay[4]));
    });
  },
);

test.run();
