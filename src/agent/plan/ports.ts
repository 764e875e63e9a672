// Which ports this node listens on beside the tunnel's own: static peers may speak an encapsulation
// that is not the mesh's, each on the port that it sends to.
import type { ListeningPort } from "../../datapath/index.js";
import { isUdp } from "../protocols.js";
import type { Candidate, Report } from "./peers.js";

/** A worker's list of listening sockets has an end. */
const PORTS_MAX = 7;

interface Hearable {
  candidate: Candidate;
}

export interface PortPlan<T extends Hearable> {
  /** Those that can be heard. */
  heard: T[];
  /** Ports to open beside the tunnel's own, in order; port 0: the encapsulation has none. */
  others: ListeningPort[];
}

/** Each once, in one order. */
function distinct(ports: readonly ListeningPort[]): ListeningPort[] {
  const all = new Map(
    ports.map(({ protocol, port }) => [`${protocol} ${port}`, { protocol, port }]),
  );
  const order = (a: ListeningPort, b: ListeningPort) =>
    a.port - b.port || (a.protocol < b.protocol ? -1 : 1);
  return [...all.values()].sort(order);
}

/**
 * Decides the ports: beside the tunnel's own those in `kept`, which may be of other encapsulations
 * on the same port, `more` that have none, then static peers'. A peer whose port is taken by
 * another encapsulation is left out, and said.
 */
export function planPorts<T extends Hearable>(
  present: readonly T[],
  own: ListeningPort,
  kept: readonly ListeningPort[],
  more: readonly ListeningPort[],
  report: Report,
): PortPlan<T> {
  const inUse = [...kept, own].filter(({ protocol }) => isUdp(protocol));
  const taken = new Map(inUse.map(({ protocol, port }) => [port, protocol]));
  const others: ListeningPort[] = [...kept, ...more];
  const heard = present.filter(({ candidate: { name, kind, form } }) => {
    const { protocol, port } = form;
    if (protocol === own.protocol) return true;
    // Raw sockets are needed to send, too.
    if (!isUdp(protocol)) {
      others.push({ protocol, port: 0 });
      return true;
    }
    if (kind === "member") return true;
    const holder = taken.get(port);
    const isFull = holder === undefined && taken.size > PORTS_MAX;
    if (holder === protocol) return true;
    if (holder === undefined && !isFull) {
      taken.set(port, protocol);
      others.push({ protocol, port });
      return true;
    }
    const why = isFull ? `${PORTS_MAX} other ports are in use` : `port ${port} is for ${holder}`;
    const text = `static peer ${name}: ${protocol} cannot be received, ${why}: not routed`;
    report("MESHD_PORT_SHARED", `peers.${name}`, text);
    return false;
  });
  const beside = others.filter(({ protocol, port }) => {
    return protocol !== own.protocol || port !== own.port;
  });
  return { heard, others: distinct(beside) };
}
