// Between plan and tables: what each peer's path can be at most goes to the probes, and what they
// found goes into the tables.
import type { TablePeer } from "../../datapath/index.js";
import { MTU_MIN_IPV6 } from "../mtu.js";
import type { Plan, PlannedPeer } from "../plan/types.js";
import { isTunnelled } from "../plan/ways.js";
import { overheadOf } from "../protocols.js";
import type { PathPeer } from "./prober.js";
import type { PathLimits } from "./search.js";

/** What every host takes in pieces (RFC 791 section 3.1); each router carries it in practice. */
const LEAST_IPV4 = 576;
/** Every IPv6 link carries it, and nearly every IPv4 path. */
const BASE = 1280;

/** Sizes to search in for a peer whose inner packets may be at most `peer.mtu`. */
export function limitsOf({ protocol, gre, address, mtu }: TablePeer): PathLimits {
  const family = address.includes(":") ? 6 : 4;
  const overhead = overheadOf(protocol, family, gre);
  const inside = (outer: number) => Math.min(outer - overhead, mtu);
  return { least: inside(family === 4 ? LEAST_IPV4 : BASE), base: inside(BASE), most: mtu };
}

/** Peers of a plan as the path probes want them, in the tables' order. */
export function pathPeers({ peers, tables }: Plan): PathPeer[] {
  return peers.flatMap((peer, index) => {
    const entry = tables?.peers[index];
    // Without a call no question would leave.
    const isAsked = isTunnelled(peer) && entry?.pptp?.slot !== null;
    return entry === undefined ? [] : [{ peer, limits: isAsked ? limitsOf(entry) : null }];
  });
}

/** The plan with the sizes in its tables that paths are known to carry. */
export function withPathMtus(made: Plan, mtuOf: (peer: PlannedPeer) => number | undefined): Plan {
  const { peers, tables } = made;
  if (tables === null) {
    return made;
  }
  const fitted = tables.peers.map((entry, index) => {
    const peer = peers[index];
    const found = peer === undefined ? undefined : mtuOf(peer);
    const mtu = Math.min(entry.mtu, found ?? entry.mtu);
    const isPieced = mtu < MTU_MIN_IPV6 && entry.prefixes.some((prefix) => prefix.includes(":"));
    if (mtu === entry.mtu && !isPieced) return entry;
    return { ...entry, mtu, ...(isPieced ? { fragments: true } : {}) };
  });
  return { ...made, tables: { ...tables, peers: fitted } };
}
