// A call that somebody has, or tries to have: what facts, lists and logs say of it.
import type { LinkStatus } from "../ppp/index.js";
import type { Call } from "./call.js";
import type { CallFact, CallKind, CallPort, SessionView } from "./types.js";

/** Two octets of count and two of protocol stand before the packet in what MPPE encrypts. */
const MPPE_BYTES = 4;

export interface Session {
  kind: CallKind;
  /** A user, a server's name, a member's name; what was said of it before it is proven. */
  name: string;
  nodeId: string | null;
  underlay: string;
  since: Date;
  call: Call | null;
  routes: readonly string[];
  /** Largest inner packet that our underlay carries in a call. */
  mtuMax: number;
  problem: string | null;
}

/** null while no packets pass. */
export function factOf(session: Session): CallFact | null {
  const { call, kind, nodeId, name, underlay: address, routes, mtuMax } = session;
  const net = call?.net ?? null;
  if (call === null || net === null) return null;
  const encrypted = net.mppe !== null;
  // Foreign ends count what MPPE adds as part of their MRU; members know of each other's room.
  const added = encrypted && kind !== "pair" ? MPPE_BYTES : 0;
  return {
    ...{ slot: call.slot, kind, nodeId, name, address, routes, encrypted },
    ...{ local: net.local, remote: net.remote, acfc: net.acfc, pfc: net.pfc },
    mtu: Math.min(net.mru - added, mtuMax),
  };
}

/** "MPPE 128-bit stateless (insecure)", "none": never as if it were secrecy. */
function encryptionOf(session: Session): string {
  const net = session.call?.net ?? null;
  if (net === null) return "-";
  if (net.mppe === null) return "none";
  return `MPPE ${net.mppe.bits}-bit ${net.mppe.stateful ? "stateful" : "stateless"} (insecure)`;
}

function stateOf({ call }: Session): SessionView["state"] {
  if (call === null) return "waiting";
  return call.net === null ? "link" : "up";
}

const NOTHING = {
  ...{ sentPackets: 0, sentBytes: 0, receivedPackets: 0, receivedBytes: 0 },
  ...{ lost: 0, late: 0, duplicates: 0, reordered: 0, windowDrops: 0, timeouts: 0 },
  ...{ acksSent: 0, acksReceived: 0, badFrames: 0, rtt_us: null },
};

export function viewOf(session: Session, port: CallPort): SessionView {
  const { call, kind, name, nodeId, underlay, since, problem } = session;
  const link: LinkStatus | null = call?.status() ?? null;
  const net = call?.net ?? null;
  return {
    ...{ slot: call?.slot ?? null, kind, name, nodeId, underlay, state: stateOf(session) },
    address: kind === "dial-in" ? (net?.remote ?? null) : (net?.local ?? null),
    encryption: encryptionOf(session),
    method: link?.method ?? null,
    since: since.toISOString(),
    statistics: call === null ? NOTHING : port.statistics(call.slot),
    problem,
  };
}
