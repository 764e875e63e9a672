// Which ports this node listens on beside the tunnel's own: static peers may speak an encapsulation
// that is not the mesh's, each on the port that it sends to.
import type { ListeningPort } from "../datapath/index.js";
import type { Candidate, Report } from "./plan-peers.js";
import { isUdp } from "./protocols.js";

/** A worker's list of listening sockets has an end. */
const PORTS_MAX = 7;

export interface PortPlan {
  /** The candidates that can be heard. */
  candidates: Candidate[];
  /** Ports to open beside the tunnel's own, in order; port 0: the encapsulation has none. */
  others: ListeningPort[];
}

/**
 * Decides the ports: beside the tunnel's own those in `kept`, then static peers'. A peer whose port
 * is taken by another encapsulation is left out, and said.
 */
export function planPorts(
  candidates: readonly Candidate[],
  own: ListeningPort,
  kept: readonly ListeningPort[],
  report: Report,
): PortPlan {
  const inUse = [own, ...kept].filter(({ protocol }) => isUdp(protocol));
  const taken = new Map(inUse.map(({ protocol, port }) => [port, protocol]));
  const portlessKept = kept.filter(({ protocol }) => !isUdp(protocol));
  const raw = new Set(portlessKept.map(({ protocol }) => protocol));
  raw.delete(own.protocol);
  const heard = candidates.filter((candidate) => {
    const { name } = candidate;
    const { protocol, port } = candidate.form;
    if (protocol === own.protocol) return true;
    // Raw sockets are needed to send, too.
    if (!isUdp(protocol)) {
      raw.add(protocol);
      return true;
    }
    if (candidate.kind === "member") return true;
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
  const ports = [...taken].flatMap(([port, protocol]) =>
    port === own.port ? [] : [{ protocol, port }],
  );
  const portless = [...raw].sort().map((protocol) => ({ protocol, port: 0 }));
  return { candidates: heard, others: [...portless, ...ports.sort((a, b) => a.port - b.port)] };
}
