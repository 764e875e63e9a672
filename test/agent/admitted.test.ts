// Whose packets are taken, from the records to the hot path: node 1 plans from records, its tables
// are published to the real module, and a sender that obeys no rule sends it real packets. In every
// encapsulation, both families outside and inside.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_IPIP4,
  SOCKET_IPIP6,
  SOCKET_UDP,
  SOCKET_VXLAN,
} from "../../assembly/shared/layout.js";
import type { MeshSnapshot } from "../../control/index.js";
import { plan } from "../../src/agent/plan/plan.js";
import { droppedPackets } from "../../src/datapath/counters.js";
import type { TableContents } from "../../src/datapath/types.js";
import { loadModule, type TestModule, type WireInput } from "../support/module.js";
import { outerIpv4 } from "../support/nodes.js";
import { buildPacket, UDP } from "../support/packets.js";
import { assertExact } from "../support/scene.js";
import { facts, lease, member, mesh, node, nodeIdOf } from "./mesh-records.js";

type Family = 4 | 6;
const TUNNELS = ["vxlan", "geneve", "udp", "ipip", "gre"] as const;
type Tunnel = (typeof TUNNELS)[number];

const addressOf = (family: Family, index: number) =>
  family === 4 ? `192.168.77.${index}` : `fd77::${index}`;

function localOf(family: Family, index: number) {
  const { underlay } = facts(index);
  return facts(index, { underlay: { ...underlay, family, address: addressOf(family, index) } });
}

function records(tunnel: Tunnel): MeshSnapshot {
  const snapshot = mesh(3);
  snapshot.config.tunnelProtocol = tunnel;
  for (const index of [1, 2, 3]) {
    snapshot.nodes.set(nodeIdOf(index), node(index, { protocols: ["vxlan", tunnel] }));
  }
  return snapshot;
}

function tablesOf(snapshot: MeshSnapshot, family: Family, index: number): TableContents {
  const { tables } = plan({ snapshot, local: localOf(family, index) });
  assert.ok(tables, "there are tables");
  return tables as TableContents;
}

/** A host of a node's PodCIDR, or of another network. */
function podOf(version: Family, network: Sent["source"], host = 5): Uint8Array {
  const four = { granted: [10, 99, 0, host], outside: [203, 0, 113, host] };
  if (version === 4) {
    const bytes = typeof network === "number" ? [10, 244, network, host] : four[network];
    return Uint8Array.from(bytes);
  }
  const bytes = new Uint8Array(16);
  if (typeof network === "number") bytes.set([0xfd, 0, 0x02, 0x44, 0, 0, 0, network]);
  else bytes.set(network === "granted" ? [0xfd, 0, 0, 0x99] : [0x20, 0x01, 0x0d, 0xb8]);
  bytes[15] = host;
  return bytes;
}

interface Sent {
  tunnel: Tunnel;
  family: Family;
  version: Family;
  source: number | "granted" | "outside";
}

/** What node 2 puts on the wire when nothing holds it back. */
async function evil({ tunnel, family, version, source }: Sent): Promise<Uint8Array> {
  const { self, peers } = tablesOf(records(tunnel), family, 2);
  const victim = peers.filter(({ address }) => address === addressOf(family, 1));
  const prefixes = ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"];
  const target = ["10.244.1.9/32", "fd00:244:0:1::9/128"];
  const module = await loadModule();
  module.publish({
    self: { ...self, prefixes },
    peers: victim.map((peer) => ({ ...peer, prefixes: target })),
  });
  module.feedTun(
    buildPacket({
      ...{ version, protocol: UDP, payload: new Uint8Array(18).fill(0x5a) },
      ...{ source: podOf(version, source), destination: podOf(version, 1, 9) },
    }),
  );
  const [sent] = module.run().wire;
  assert.ok(sent, `${tunnel} sends it`);
  return (sent?.bytes ?? new Uint8Array(0)).slice();
}

/** As the sockets of node 1 hand it over. */
function cameFrom({ tunnel, family, version }: Sent, index: number): WireInput {
  const from = addressOf(family, index);
  const ipip = version === 4 ? SOCKET_IPIP4 : SOCKET_IPIP6;
  const kinds = { vxlan: SOCKET_VXLAN, geneve: SOCKET_GENEVE, udp: SOCKET_UDP };
  const socket = { ...kinds, ipip, gre: SOCKET_GRE }[tunnel];
  const isRaw = tunnel === "ipip" || tunnel === "gre";
  if (!isRaw || family === 6) return { from, socket };
  const before = outerIpv4(tunnel === "gre" ? 47 : version === 4 ? 4 : 41);
  before.set([192, 168, 77, index, 192, 168, 77, 1], 12);
  return { from, socket, before };
}

/** The drop reason, or "" when it reached TUN. */
async function fateOf(receiver: TestModule, sent: Sent, index = 2): Promise<string> {
  const count = () => droppedPackets(receiver.counters().ingress);
  const reasons = () => ({ ...receiver.counters().ingress.drops });
  const [before, had] = [count(), reasons()];
  receiver.feedWire(await evil(sent), cameFrom(sent, index));
  const { tun } = receiver.run();
  assertExact(receiver);
  const found = Object.entries(reasons()).filter(
    ([name, { packets }]) => packets !== (had[name as keyof typeof had]?.packets ?? 0),
  );
  assert.is(tun.length + count() - before, 1, "it reached TUN or is one counted drop");
  return found[0]?.[0] ?? "";
}

async function receiverOf(snapshot: MeshSnapshot, family: Family): Promise<TestModule> {
  const module = await loadModule();
  module.publish(tablesOf(snapshot, family, 1));
  return module;
}

const prefixOf = (version: Family) => (version === 4 ? "10.99.0.0/16" : "fd00:99::/32");
const cidrOf = (version: Family) => (version === 4 ? "10.244.2.0/24" : "fd00:244:0:2::/64");

/** What takes node 2 out of every table. */
const ABSENT: [string, (snapshot: MeshSnapshot) => void][] = [
  ["removed", (all) => all.members.set(nodeIdOf(2), member(2, { state: "removed" }))],
  ["quarantined", (all) => endLeases(all, { state: "quarantined" })],
  ["of another lease's epoch", (all) => endLeases(all, { epoch: 2 })],
  ["whose leases another holds", (all) => endLeases(all, { nodeId: nodeIdOf(3) })],
  ["of a stale epoch", (all) => setEpoch(all, 0)],
  ["granted a newer epoch", (all) => all.members.set(nodeIdOf(2), member(2, { epoch: 2 }))],
];

/** Of the node's own record; the rest of it stays. */
function setEpoch(all: MeshSnapshot, epoch: number): void {
  const record = all.nodes.get(nodeIdOf(2)) ?? node(2);
  all.nodes.set(nodeIdOf(2), { ...record, epoch });
}

function endLeases(all: MeshSnapshot, change: Parameters<typeof lease>[2]): void {
  for (const version of [4, 6] as const) {
    all.leases.set(cidrOf(version), lease(cidrOf(version), 2, change));
  }
}

for (const tunnel of TUNNELS) {
  for (const family of [4, 6] as const) {
    for (const version of [4, 6] as const) {
      const sent = (source: Sent["source"]): Sent => ({ tunnel, family, version, source });
      const what = `IPv${version} by ${tunnel} over IPv${family}`;

      test(`${what}: a member's own addresses are taken, no others`, async () => {
        const snapshot = records(tunnel);
        const receiver = await receiverOf(snapshot, family);
        assert.is(await fateOf(receiver, sent(2)), "");
        for (const source of [1, 3, 9, "granted", "outside"] as const) {
          assert.is(await fateOf(receiver, sent(source)), "SPOOFED_SOURCE", `from ${source}`);
        }
        assert.is(await fateOf(receiver, sent(2), 9), "UNKNOWN_PEER", "a stranger's address");
        assert.is(await fateOf(receiver, sent(2), 3), "SPOOFED_SOURCE", "another member's address");
        const grantedPrefixes = [prefixOf(version)];
        snapshot.members.set(nodeIdOf(2), member(2, { grantedPrefixes }));
        receiver.publish(tablesOf(snapshot, family, 1));
        assert.is(await fateOf(receiver, sent("granted")), "", "granted");
        snapshot.members.set(nodeIdOf(2), member(2));
        receiver.publish(tablesOf(snapshot, family, 1));
        assert.is(await fateOf(receiver, sent("granted")), "SPOOFED_SOURCE", "granted no more");
      });

      test(`${what}: a node that lost its membership or lease is in no table`, async () => {
        for (const [state, change] of ABSENT) {
          const snapshot = records(tunnel);
          const receiver = await receiverOf(snapshot, family);
          assert.is(await fateOf(receiver, sent(2)), "");
          change(snapshot);
          const tables = tablesOf(snapshot, family, 1);
          assert.not(JSON.stringify(tables).includes(addressOf(family, 2)), state);
          receiver.publish(tables);
          assert.is(await fateOf(receiver, sent(2)), "UNKNOWN_PEER", state);
        }
      });
    }
  }
}

test.run();
