// What goes into plan and what comes out: plain values, nothing that touches the host.
import type { MeshSnapshot } from "../../control/index.js";
import type { ListeningPort, TableContents } from "../datapath/index.js";

/** What plan must know of this host; measured by the agent before each plan. */
export interface LocalFacts {
  nodeId: string;
  deviceName: string;
  vtepMac: string;
  underlay: {
    family: 4 | 6;
    /** Advertised address: outer source of everything we send. */
    address: string;
    interface: string;
    /** MTU of that interface, bytes. */
    mtu: number;
  };
  /** This node's own settings, which win over the mesh's. */
  tunnelPort: number | null;
  mtu: number | null;
}

export interface PlanInput {
  snapshot: MeshSnapshot;
  local: LocalFacts;
}

/** A peer in the tables; same index as in `tables.peers`. */
export interface PlannedPeer {
  name: string;
  /** "" for a static peer. */
  nodeId: string;
  kind: "member" | "static";
  address: string;
  port: number;
  /** All prefixes routed to it. */
  prefixes: string[];
  /** PodCIDRs alone (without granted prefixes). */
  podCIDRs: string[];
  /** Overlay addresses to probe, first one first; never empty for members. */
  probeAddresses: string[];
}

export interface WantedRoute {
  destination: string;
  kind: "peer" | "unreachable";
  /** Preferred source address; null leaves it to the kernel. */
  source: string | null;
  /** What it is for: a peer's name or "pool". */
  via: string;
}

export interface WantedMasquerade {
  sources: string[];
  /** Destinations that keep the pod's address: the pools and own PodCIDRs. */
  except: string[];
}

/** One line for status. `key` names the record it comes from. */
export interface Problem {
  code: string;
  key: string;
  message: string;
}

/** What the node should be. */
export interface Plan {
  /** Own record as every other node reads it; null: this node may not forward (see problems). */
  member: { name: string; state: string; role: string; podCIDRs: string[]; epoch: number } | null;
  /** True: the snapshot says nothing about us (lost or older store): keep the last good plan. */
  hold: boolean;
  tables: TableContents | null;
  peers: PlannedPeer[];
  /** Node addresses with full length: "10.244.1.0/32", "fd00:244:1::/128". */
  addresses: string[];
  routes: WantedRoute[];
  masquerade: WantedMasquerade | null;
  routingMode: string;
  tunnelProtocol: string;
  port: number;
  /** Ports beside it, for static peers of other encapsulations. */
  otherPorts: ListeningPort[];
  /** Packets carry sequence numbers, which one worker must have all of. */
  ordered: boolean;
  mtu: number;
  problems: Problem[];
}
