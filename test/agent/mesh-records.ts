// Records of a small healthy mesh, for tests to spoil one at a time.
import {
  defaultConfig,
  type LeaseRecord,
  type MemberRecord,
  type MeshSnapshot,
  type NodeRecord,
  type PeerRecord,
} from "../../control/index.js";
import type { LocalFacts } from "../../src/agent/plan/types.js";

/** nodeIds that sort by number. */
export function nodeIdOf(index: number): string {
  return `U${String(index).padStart(55, "A")}`;
}

export function member(index: number, changes: Partial<MemberRecord> = {}): MemberRecord {
  return {
    nodeId: nodeIdOf(index),
    name: `n${index}`,
    key: nodeIdOf(index),
    state: "active",
    role: "node",
    podCIDRs: [`10.244.${index}.0/24`, `fd00:244:0:${index.toString(16)}::/64`],
    epoch: 1,
    grantedPrefixes: [],
    joined: "2026-01-01T00:00:00Z",
    signature: "",
    ...changes,
  };
}

export function node(index: number, changes: Partial<NodeRecord> = {}): NodeRecord {
  return {
    nodeId: nodeIdOf(index),
    underlay: {
      addresses: [`192.168.77.${index}`, `fd77::${index.toString(16)}`],
      interfaceAddresses: [`192.168.77.${index}/24`, `fe80::${index.toString(16)}/64`],
      port: 8472,
    },
    vtepMac: `0e:00:00:00:00:${index.toString(16).padStart(2, "0")}`,
    protocols: ["vxlan"],
    mtu: 1450,
    version: "0.1.0",
    bootId: "boot",
    epoch: 1,
    capabilities: [],
    ...changes,
  };
}

export function lease(
  cidr: string,
  index: number,
  changes: Partial<LeaseRecord> = {},
): LeaseRecord {
  return {
    cidr,
    nodeId: nodeIdOf(index),
    epoch: 1,
    state: "held",
    since: "2026-01-01T00:00:00Z",
    until: null,
    signature: "",
    ...changes,
  };
}

export function staticPeer(name: string, changes: Partial<PeerRecord> = {}): PeerRecord {
  return {
    name,
    endpoint: "192.168.77.200",
    port: 8472,
    podCIDRs: ["10.250.0.0/24"],
    vtepMac: "0e:00:00:00:ff:01",
    protocol: "vxlan",
    vni: 7,
    ...changes,
  };
}

/** Members 1..count with leases and node records; the caller may change the maps. */
export function mesh(count: number): MeshSnapshot {
  const snapshot: MeshSnapshot = {
    meshId: "00000000-0000-4000-8000-000000000000",
    revision: 100,
    config: { ...defaultConfig, clusterPoolIPv6PodCIDR: "fd00:244::/48" },
    members: new Map(),
    nodes: new Map(),
    leases: new Map(),
    peers: new Map(),
    endpoints: new Map(),
    claims: new Map(),
    refused: [],
  };
  for (let index = 1; index <= count; index++) {
    const record = member(index);
    snapshot.members.set(record.nodeId, record);
    snapshot.nodes.set(record.nodeId, node(index));
    for (const cidr of record.podCIDRs) {
      snapshot.leases.set(cidr, lease(cidr, index));
    }
  }
  return snapshot;
}

/** What node `index` knows of its own host. */
export function facts(index: number, changes: Partial<LocalFacts> = {}): LocalFacts {
  return {
    nodeId: nodeIdOf(index),
    deviceName: "mesh0",
    vtepMac: `0e:00:00:00:00:${index.toString(16).padStart(2, "0")}`,
    underlay: {
      ...{ family: 4, address: `192.168.77.${index}`, interface: "eth0", mtu: 1500 },
      interfaceAddresses: [`192.168.77.${index}/24`, `fe80::${index.toString(16)}/64`],
    },
    tunnelPort: null,
    mtu: null,
    ...changes,
  };
}
