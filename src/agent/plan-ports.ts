// Which ports this node listens on beside the tunnel's own: static peers may speak an encapsulation
// that is not the mesh's, each on the port that it sends to.
import type { ListeningPort } from "../datapath/index.js";
import type { Candidate, Report } from "./plan-peers.js";

/** A worker's list of listening sockets has an end. */
const PORTS_MAX = 7;

export interface PortPlan {
  /** The candidates that can be heard. */
  candidates: Candidate[];
  /** Ports to open beside the tunnel's own, in order. */
  others: ListeningPort[];
}

/** Decides the ports. A peer whose port is taken by another encapsulation is left out, and said. */
export function planPorts(
  candidates: readonly Candidate[],
  own: ListeningPort,
  report: Report,
): PortPlan {
  const taken = new Map([[own.port, own.protocol]]);
  const heard = candidates.filter((candidate) => {
    const { protocol, port, name } = candidate;
    if (protocol === null || protocol === own.protocol) return true;
    const holder = taken.get(port);
    const isFull = holder === undefined && taken.size > PORTS_MAX;
    if (holder === protocol) return true;
    if (holder === undefined && !isFull) {
      taken.set(port, protocol);
      return true;
    }
    const why = isFull ? `${PORTS_MAX} other ports are in use` : `port ${port} is for ${holder}`;
    const text = `static peer ${name}: ${protocol} cannot be received, ${why}: not routed`;
    report("MESHD_PORT_SHARED", `peers.${name}`, text);
    return false;
  });
  const others = [...taken].flatMap(([port, protocol]) =>
    port === own.port ? [] : [{ protocol, port }],
  );
  return { candidates: heard, others: others.sort((a, b) => a.port - b.port) };
}
