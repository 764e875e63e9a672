// Asks every peer through the data path itself whether it is there: the same FIB, the same encap.
// One turn a second, at most PROBES_PER_SECOND questions in it, however many peers there are; a
// node that moves no packets asks seldom.
import type { NeighbourWay } from "./neighbour-probes.js";
import type { PlannedPeer } from "./plan/types.js";
import { parseAddress } from "./prefix.js";
import { decodeReply, encodeEcho, encodeProbe, type ProbeReply } from "./probe-packets.js";
import { LIVENESS, type Question, Questions } from "./questions.js";
import type { Reachability } from "./types.js";

/** Bound of the whole node, not of one peer. */
export const PROBES_PER_SECOND = 20;
/** A peer is asked this often while packets flow, if there are at most PROBES_PER_SECOND peers. */
const INTERVAL_MS = 1000;
/** And this often when this node has moved none for a while, unless the last answer is missing. */
const IDLE_INTERVAL_MS = 5000;
/** How long after the last packet a node still counts as one with traffic. */
const BUSY_MS = 60_000;
/** Turns come a little early or late; a peer is due in the turn that is nearest to its time. */
const SLACK_MS = 250;
/** Questions without an answer that make a peer unreachable, once the first is so old. */
const MISSES_MAX = 3;
const UNANSWERED_MS = 3500;
/** A peer that has been silent for so many questions is asked as seldom as any other. */
const MISSES_HASTY = 60;

export interface PeerHealth {
  reachable: Reachability;
  rtt_us: number | null;
  /** Milliseconds since the last answer. */
  lastSeen_ms: number | null;
}

interface Target {
  peer: PlannedPeer;
  asked_ms: number;
  answered_ms: number | null;
  rtt_us: number | null;
  /** Questions since the last answer, and when the first of them went out. */
  misses: number;
  unansweredSince_ms: number;
  /** Which of the peer's addresses is asked; moves on after a miss, stays after an answer. */
  turn: number;
}

interface Asked extends Question {
  key: string;
}

export interface ProberOptions {
  /** Puts an inner packet into the data path; false when there is no room. */
  inject: (packet: Uint8Array) => boolean;
  /** A count that moves with every packet of the pods, and by nothing else. */
  traffic: () => number;
  /** Opens the way of questions to peers that are routed directly. */
  neighbours?: (onReply: (reply: ProbeReply) => void) => NeighbourWay;
  /** Monotonic milliseconds with a fraction. */
  now?: () => number;
}

/** A member is the same at another port, when the mesh's encapsulation or port changes. */
export function isSameEnd(a: PlannedPeer, b: PlannedPeer): boolean {
  return a.form.port === b.form.port || (a.kind === "member" && b.kind === "member");
}

/** Names a peer over plan changes. */
export function peerKey(peer: { nodeId: string; name: string }): string {
  return peer.nodeId === "" ? `peer:${peer.name}` : peer.nodeId;
}

export class Prober {
  private targets = new Map<string, Target>();
  private own: string[] = [];
  private readonly questions = new Questions<Asked>(LIVENESS);
  private busyUntil_ms = Number.NEGATIVE_INFINITY;
  private traffic = 0;
  private readonly now: () => number;

  private readonly neighbours: NeighbourWay | undefined;

  constructor(private readonly options: ProberOptions) {
    this.neighbours = options.neighbours?.((reply) => this.onReply(reply));
    this.now = options.now ?? (() => performance.now());
  }

  /** Peers to ask from now on; what is known of those that stay is kept. */
  setPeers(ownAddresses: readonly string[], peers: readonly PlannedPeer[]): void {
    this.own = [...ownAddresses];
    const next = new Map<string, Target>();
    for (const peer of peers) {
      const known = this.targets.get(peerKey(peer));
      const same = known?.peer.address === peer.address && isSameEnd(known.peer, peer);
      next.set(peerKey(peer), same ? { ...known, peer } : newTarget(peer));
    }
    this.targets = next;
    this.neighbours?.setAddresses(peers.some(isBare) ? ownAddresses : []);
  }

  /** Closes what it opened; the next setPeers opens it again. */
  stop(): void {
    this.neighbours?.setAddresses([]);
  }

  /** One turn, a second after the one before: asks the peers whose time has come. */
  tick(): void {
    const now = this.now();
    const isBusy = this.isBusy(now);
    const late = (target: Target) =>
      now + SLACK_MS - target.asked_ms - this.interval_ms(target, isBusy);
    const due = [...this.targets.values()].filter((target) => late(target) >= 0);
    if (due.length > PROBES_PER_SECOND) due.sort((a, b) => a.asked_ms - b.asked_ms);
    for (const target of due.slice(0, PROBES_PER_SECOND)) this.ask(target, now);
  }

  private isBusy(now: number): boolean {
    const traffic = this.options.traffic();
    if (traffic !== this.traffic) this.busyUntil_ms = now + BUSY_MS;
    this.traffic = traffic;
    return now < this.busyUntil_ms;
  }

  /** Of what is routed directly nobody here sees the traffic: such peers are asked as if busy. */
  private interval_ms({ misses, peer }: Target, isBusy: boolean): number {
    const isHasty = isBusy || isBare(peer) || (misses > 0 && misses <= MISSES_HASTY);
    return isHasty ? INTERVAL_MS : IDLE_INTERVAL_MS;
  }

  private ask(target: Target, now: number): void {
    const addresses = askable(target.peer, this.own);
    target.asked_ms = now;
    const pair = addresses[target.turn % Math.max(addresses.length, 1)];
    if (pair === undefined) {
      return;
    }
    const sequence = this.questions.next();
    const address = parseAddress(pair.destination);
    // A full ring is our own trouble: no answer can be missed that was never asked for.
    if (address === undefined || !this.send(target.peer, pair, sequence)) {
      return;
    }
    if (target.misses === 0) target.unansweredSince_ms = now;
    target.misses++;
    target.turn += target.misses > 1 ? 1 : 0;
    const question = { key: peerKey(target.peer), address: address.value, asked_ms: now };
    this.questions.add(sequence, question);
    this.questions.forgetOld(now);
  }

  /** Sends the question the way that packets to that address go. */
  private send(peer: PlannedPeer, { source, destination }: Pair, sequence: number): boolean {
    const way = destination.includes(":") ? peer.ways.ipv6 : peer.ways.ipv4;
    if (way !== null && way !== "tunnel") {
      return this.neighbours?.send(source, destination, sequence) ?? false;
    }
    const encode = peer.kind === "member" ? encodeProbe : encodeEcho;
    const packet = encode(source, destination, sequence);
    return packet !== null && this.options.inject(packet);
  }

  /** Takes a packet that the hot path punted. True when it answered one of our questions. */
  onPunt(packet: Uint8Array): boolean {
    const reply = decodeReply(packet);
    return reply !== null && this.onReply(reply);
  }

  /** Takes an answer, whichever way it came. True when it answered one of our questions. */
  private onReply(reply: ProbeReply): boolean {
    const question = this.questions.take(reply);
    const target = question === undefined ? undefined : this.targets.get(question.key);
    if (question === undefined || target === undefined) {
      return false;
    }
    const now = this.now();
    target.answered_ms = now;
    target.rtt_us = Math.round((now - question.asked_ms) * 1000);
    target.misses = 0;
    return true;
  }

  health(peer: { nodeId: string; name: string }): PeerHealth {
    const target = this.targets.get(peerKey(peer));
    if (target === undefined) {
      return { reachable: "unknown", rtt_us: null, lastSeen_ms: null };
    }
    const { answered_ms } = target;
    const lastSeen_ms = answered_ms === null ? null : Math.round(this.now() - answered_ms);
    const reachable = this.reachability(target, lastSeen_ms);
    return { reachable, rtt_us: reachable === "reachable" ? target.rtt_us : null, lastSeen_ms };
  }

  private reachability(target: Target, lastSeen_ms: number | null): Reachability {
    // A foreign peer may answer no ping at all and still forward.
    if (lastSeen_ms === null && target.peer.kind !== "member") return "unknown";
    const { misses, unansweredSince_ms } = target;
    const isOld = this.now() - unansweredSince_ms >= UNANSWERED_MS;
    if (misses > MISSES_MAX && isOld) return "unreachable";
    return lastSeen_ms === null ? "unknown" : "reachable";
  }
}

function newTarget(peer: PlannedPeer): Target {
  const asked_ms = Number.NEGATIVE_INFINITY;
  const unknown = { answered_ms: null, rtt_us: null, unansweredSince_ms: 0 };
  return { peer, asked_ms, ...unknown, misses: 0, turn: 0 };
}

function isBare({ prefixWays }: PlannedPeer): boolean {
  return prefixWays.some((way) => way !== "tunnel");
}

interface Pair {
  source: string;
  destination: string;
}

/** Pairs of our address and the peer's in one family, IPv4 first as plan gives them. */
export function askable(
  { probeAddresses }: Pick<PlannedPeer, "probeAddresses">,
  own: readonly string[],
): Pair[] {
  return probeAddresses.flatMap((destination) => {
    const family = parseAddress(destination)?.family;
    const source = own.find((address) => parseAddress(address)?.family === family);
    return source === undefined ? [] : [{ source, destination }];
  });
}
