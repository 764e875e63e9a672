// What goes into plan and what comes out: plain values, nothing that touches the host.
import type { MeshSnapshot } from "../../../control/index.js";
import type { CallFact } from "../../calls/index.js";
import type { ListeningPort, TableContents, UdpChecksums } from "../../datapath/index.js";
import type { ChangeFacts, Form } from "./forms.js";

/**
 * tunnel: through the hot path. direct: a kernel route by the peer's own address. underlay: no
 * route of ours, the underlay's routing knows. none: neither, and `problems` says so.
 */
export type Way = "tunnel" | "direct" | "underlay" | "none";

/** What plan must know of calls; src/calls has it. */
export interface CallsInput {
  /** Calls may come or go: users are served, a foreign server is dialled, or a call is ending. */
  open: boolean;
  up: readonly CallFact[];
}

/** An entry of the tables behind the peers: a user's, or a foreign server's. */
export interface PlannedCall {
  name: string;
  kind: "dial-in" | "dial-out";
  slot: number;
  /** Underlay address of the other end. */
  address: string;
  mtu: number;
  encrypted: boolean;
  acfc: boolean;
  pfc: boolean;
  /** What is routed to it. */
  prefixes: string[];
  /** dial-out: our address there; else null. */
  local: string | null;
}

/** A member with which this node is to have a call. */
export interface PlannedPair {
  nodeId: string;
  name: string;
  address: string;
  /** IPv4 node addresses of both; null: one has none. */
  local: string | null;
  remote: string | null;
  /** Both have IPv6. */
  ipv6: boolean;
}

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
    /** Addresses of that interface with their lengths, the advertised one first. */
    interfaceAddresses: string[];
  };
  /** This node's own settings, which win over the mesh's. */
  tunnelPort: number | null;
  mtu: number | null;
}

export interface PlanInput {
  snapshot: MeshSnapshot;
  local: LocalFacts;
  /** Left out: nothing is known of another encapsulation or port than the mesh's. */
  change?: ChangeFacts;
  /** Left out: no calls. */
  calls?: CallsInput;
  /** Another host has this node's key and was there first; what is to be said of it. */
  duplicate?: string;
}

/** A member to which packets do not go in the mesh's form yet. */
export interface PlannedChange {
  name: string;
  nodeId: string;
  from: Form;
  /** null: it does not receive the mesh's encapsulation yet. */
  to: Form | null;
  /** Index of the entry in the tables that leads there in the next form; null: none yet. */
  shadow: number | null;
  /** Overlay addresses to ask. */
  probeAddresses: string[];
}

/** A peer in the tables; same index as in `tables.peers`. */
export interface PlannedPeer {
  name: string;
  /** "" for a static peer. */
  nodeId: string;
  kind: "member" | "static";
  address: string;
  /** What is sent to it. */
  form: Form;
  /** Security identity of its pods (ADR 0031); null where packets carry none. */
  identity: number | null;
  /** All prefixes that are its own, and the way of each. */
  prefixes: string[];
  prefixWays: Way[];
  /** PodCIDRs alone (without granted prefixes). */
  podCIDRs: string[];
  /** Overlay addresses to probe, first one first; never empty for members. */
  probeAddresses: string[];
  /** The way of its PodCIDR in each family; null where it has none. */
  ways: { ipv4: Way | null; ipv6: Way | null };
}

/** peer: by the overlay device. direct: by a neighbour on the underlay. */
export interface WantedRoute {
  destination: string;
  kind: "peer" | "direct" | "unreachable";
  /** Preferred source address; null leaves it to the kernel. */
  source: string | null;
  /** direct alone: the neighbour's address, and the interface it is on. */
  gateway?: string;
  device?: string;
  /** What it is for: a peer's name or "pool". */
  via: string;
}

export interface WantedMasquerade {
  sources: string[];
  /** Destinations that keep the pod's address: the pools and own PodCIDRs. */
  except: string[];
}

/** What may come and go on the underlay's interface without an outer header. */
export interface WantedAdmission {
  device: string;
  /** Our prefixes: sources that may go out. */
  own: string[];
  /** Peers' prefixes with a way beside the tunnel: sources that may come in. */
  peers: string[];
  /** Sources in these that are neither are dropped. */
  pools: string[];
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
  /** null: everything is encapsulated. */
  admission: WantedAdmission | null;
  routingMode: string;
  encapMode: string;
  /** Prefixes that the underlay routes by itself. */
  leftToUnderlay: string[];
  tunnelProtocol: string;
  port: number;
  /** Ports beside it: of the mesh before a change, and for static peers. */
  otherPorts: ListeningPort[];
  /** What members may send to us: the mesh's own form first. */
  receives: Form[];
  changes: PlannedChange[];
  /** Users and foreign servers with entries in the tables, behind those of the peers. */
  calls: PlannedCall[];
  /** Members to have calls with; null: none is taken. */
  pairs: PlannedPair[] | null;
  /** Foreign networks, and the address of ours in each: what pods send there has it. */
  callNat: { sources: string[]; calls: { address: string; prefixes: string[] }[] };
  /** Security identity of our pods; null where packets carry none. */
  identity: number | null;
  /** Of outer UDP headers. */
  checksums: UdpChecksums;
  /** Packets carry sequence numbers, which one worker must have all of. */
  ordered: boolean;
  /** Of the device and of pods. */
  mtu: number;
  /** Bytes of inner packet that a path as wide as our interface carries. */
  pathMtu: number;
  problems: Problem[];
}
