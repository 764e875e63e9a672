// Asks every peer through the data path itself whether it is there: the same FIB, the same encap.
// One turn a second, at most PROBES_PER_SECOND questions in it, however many peers there are. Who
// is asked says life/order.ts, what is believed of a peer life/peer-life.ts.
import type { PeerSign } from "../datapath/index.js";
import { IDLE_INTERVAL_MS, Order } from "./life/order.js";
import { PeerLife, UNANSWERED_MS, type Verdict } from "./life/peer-life.js";
import { LifeLog, stateOf, wayProblem } from "./life/report.js";
import type { NeighbourEar, NeighbourWay } from "./neighbour-probes.js";
import type { PlannedPeer } from "./plan/types.js";
import { parseAddress } from "./prefix.js";
import { decodeReply, encodeEcho, encodeProbe, type ProbeReply } from "./probe-packets.js";
import { LIVENESS, type Question, Questions } from "./questions.js";
import type { AgentLog, PathState, ProbeCounts, Reachability } from "./types.js";

/** Bound of the whole node, not of one peer; searches for an idle path's size are within it. */
export const PROBES_PER_SECOND = 20;
/** So many questions to any peers without a sign of life of anybody are this node's own trouble. */
const DEAF_QUESTIONS = 2 * PROBES_PER_SECOND;
/** A warning of its own, where it is not only one peer that is missing. */
const ALONE_MIN = 3;

export interface PeerHealth {
  reachable: Reachability;
  rtt_us: number | null;
  /** Milliseconds since anything of it was heard. */
  lastSeen_ms: number | null;
  path: PathState;
}

interface Target {
  peer: PlannedPeer;
  isBare: boolean;
  life: PeerLife;
  rtt_us: number | null;
  /** Which of the peer's addresses is asked; moves on after a miss, stays after an answer. */
  turn: number;
  /** As it was said last. */
  said: Verdict;
}

interface Asked extends Question {
  key: string;
}

export interface ProberOptions {
  /** Puts an inner packet into the data path; false when there is no room. */
  inject: (packet: Uint8Array) => boolean;
  /** What the hot path counted since it was asked last; undefined: not known now. */
  signs: () => readonly PeerSign[] | undefined;
  /** Questions that others put to idle peers since this was asked last. */
  others?: () => number;
  /** Opens the way of questions to peers that are routed directly. */
  neighbours?: (ear: NeighbourEar) => NeighbourWay;
  log?: AgentLog;
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
  /** As planned: by their places in the tables. */
  private planned: Target[] = [];
  private readonly order = new Order<Target>();
  /** Directly routed peers by their overlay addresses. */
  private bare = new Map<bigint, Target>();
  private own: string[] = [];
  private readonly questions = new Questions<Asked>(LIVENESS);
  private readonly counted: ProbeCounts = { questions: 0, answers: 0 };
  /** Questions since anybody was heard at all, and when the first of them went out. */
  private readonly deaf = { count: 0, since_ms: 0 };
  private wasDeaf = false;
  private readonly lines: LifeLog;
  private readonly now: () => number;
  private readonly neighbours: NeighbourWay | undefined;

  constructor(private readonly options: ProberOptions) {
    this.neighbours = options.neighbours?.({
      onReply: (reply) => this.onReply(reply),
      onRequest: (source, said) => this.onRequest(source, said),
    });
    this.now = options.now ?? (() => performance.now());
    this.lines = new LifeLog(options.log ?? (() => undefined));
  }

  /** Peers to ask from now on, as planned; what is known of those that stay is kept. */
  setPeers(ownAddresses: readonly string[], peers: readonly PlannedPeer[]): void {
    this.own = [...ownAddresses];
    this.planned = peers.map((peer) => {
      const known = this.targets.get(peerKey(peer));
      const same = known?.peer.address === peer.address && isSameEnd(known.peer, peer);
      return same ? Object.assign(known, { peer, isBare: isBare(peer) }) : newTarget(peer);
    });
    this.targets = new Map(this.planned.map((target) => [peerKey(target.peer), target]));
    this.order.set(this.planned);
    const bare = this.planned.filter(({ isBare }) => isBare);
    this.bare = new Map(bare.flatMap((target) => overlayOf(target).map((at) => [at, target])));
    this.neighbours?.setAddresses(bare.length > 0 ? ownAddresses : []);
  }

  /** Closes what it opened; the next setPeers opens it again. */
  stop(): void {
    this.neighbours?.setAddresses([]);
  }

  /** One turn, a second after the one before: hears, then asks the peers whose time has come. */
  tick(): void {
    const now = this.now();
    this.look(now);
    const most = PROBES_PER_SECOND - (this.options.others?.() ?? 0);
    for (const target of this.order.choose(most, now)) this.ask(target, now);
    this.questions.forgetOld(now);
    this.tellChanges(now);
    this.order.rest(now);
  }

  private look(now: number): void {
    const signs = this.options.signs();
    if (signs === undefined) return;
    for (const sign of signs) {
      const target = this.planned[sign.index];
      // Tables and plan may differ for a moment. What crosses the underlay bare passes nobody who
      // counts: what came by the tunnel says nothing of that way.
      if (target?.peer.address === sign.address && !target.isBare) this.take(target, sign, now);
    }
    for (const { life } of this.order.awake()) life.turn(now);
  }

  private take(target: Target, { isSent, isHeard, isAsked, said }: PeerSign, now: number): void {
    const { life } = target;
    if (isSent || isHeard) life.noteTraffic(now);
    if (isHeard || isAsked) {
      life.noteSign(now);
      this.deaf.count = 0;
    }
    if (said !== null) life.noteSaid(said, now);
    this.order.wake(target);
  }

  private ask(target: Target, now: number): void {
    const { life, peer } = target;
    const addresses = askable(peer, this.own);
    const pair = addresses[target.turn % Math.max(addresses.length, 1)];
    const address = parseAddress(pair?.destination ?? "");
    // A full ring is our own trouble: no answer can be missed that was never asked for.
    const sequence = this.questions.next();
    if (pair === undefined || address === undefined || !this.send(target, pair, sequence)) {
      life.asked_ms = now;
      return;
    }
    life.noteAsked(now);
    this.order.wake(target);
    target.turn += life.misses > 1 ? 1 : 0;
    this.counted.questions++;
    if (this.deaf.count === 0) this.deaf.since_ms = now;
    this.deaf.count++;
    this.questions.add(sequence, { key: peerKey(peer), address: address.value, asked_ms: now });
  }

  /** Sends the question the way that packets to that address go. */
  private send({ peer, life }: Target, { source, destination }: Pair, sequence: number): boolean {
    const said = life.said(this.now());
    const way = destination.includes(":") ? peer.ways.ipv6 : peer.ways.ipv4;
    if (way !== null && way !== "tunnel") {
      return this.neighbours?.send(source, destination, sequence, said) ?? false;
    }
    const packet =
      peer.kind === "member"
        ? encodeProbe(source, destination, sequence, { said })
        : encodeEcho(source, destination, sequence);
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
    this.counted.answers++;
    this.deaf.count = 0;
    target.life.noteAnswer(question.asked_ms, now);
    this.order.wake(target);
    target.rtt_us = Math.round((now - question.asked_ms) * 1000);
    return true;
  }

  /** A directly routed peer asked us, and was answered. */
  private onRequest(source: ProbeReply["source"], said: number): void {
    const target = this.bare.get(source.value);
    if (target === undefined) return;
    const now = this.now();
    target.life.noteSign(now);
    this.deaf.count = 0;
    if (said !== 0) target.life.noteSaid(said, now);
  }

  /** A peer answered a question of somebody else's in the tunnel, which went out at `asked_ms`. */
  onAnswerElsewhere(key: string, asked_ms: number): void {
    const target = this.targets.get(key);
    if (target === undefined || target.isBare) return;
    target.life.noteAnswer(asked_ms, this.now());
    target.life.noteSign(this.now());
    this.deaf.count = 0;
    this.order.wake(target);
  }

  health(peer: { nodeId: string; name: string }): PeerHealth {
    const target = this.targets.get(peerKey(peer));
    if (target === undefined) {
      return { ...stateOf("unknown", "member"), rtt_us: null, lastSeen_ms: null };
    }
    const now = this.now();
    const state = stateOf(this.verdict(target, now), target.peer.kind);
    const rtt_us = state.reachable === "reachable" ? target.rtt_us : null;
    return { ...state, rtt_us, lastSeen_ms: heardSince(target, now) };
  }

  /** One line for what is wrong on the ways to a peer; null: nothing. */
  problemWith(peer: { nodeId: string; name: string }): string | null {
    const target = this.targets.get(peerKey(peer));
    if (target === undefined) return null;
    const now = this.now();
    return wayProblem(this.verdict(target, now), target.peer.name, heardSince(target, now));
  }

  /** What is not one peer's trouble. */
  warnings(): string[] {
    const members = [...this.targets.values()].filter(({ peer }) => peer.kind === "member");
    const now = this.now();
    const isLost = (target: Target) => ["unanswered", "silent"].includes(this.verdict(target, now));
    if (members.length < ALONE_MIN || !members.every(isLost)) return [];
    const fix = "look at this host's network, its firewall and its underlay address";
    return [`none of ${members.length} members is heard: ${fix}`];
  }

  counts(): ProbeCounts {
    return { ...this.counted };
  }

  private verdict({ life }: Target, now: number): Verdict {
    const walk_ms = Math.max(IDLE_INTERVAL_MS, (this.planned.length * 1000) / PROBES_PER_SECOND);
    const verdict = life.verdict(now, walk_ms);
    return verdict === "ok" && this.isDeaf(now) ? "unanswered" : verdict;
  }

  /** Nobody is heard: there is no need to ask every peer alone. */
  private isDeaf(now: number): boolean {
    return this.deaf.count >= DEAF_QUESTIONS && now - this.deaf.since_ms >= UNANSWERED_MS;
  }

  private tellChanges(now: number): void {
    const isDeaf = this.isDeaf(now);
    const some = isDeaf === this.wasDeaf ? this.order.awake() : this.planned;
    this.wasDeaf = isDeaf;
    for (const target of some) {
      const verdict = this.verdict(target, now);
      if (verdict === target.said) continue;
      const change = { name: target.peer.name, verdict, before: target.said };
      target.said = verdict;
      this.lines.note({ ...change, heard_ms: heardSince(target, now) }, now);
    }
  }
}

function heardSince({ life }: Target, now: number): number | null {
  return life.heard_ms === null ? null : Math.round(now - life.heard_ms);
}

function newTarget(peer: PlannedPeer): Target {
  const life = new PeerLife(peer.kind === "static");
  return { peer, isBare: isBare(peer), life, rtt_us: null, turn: 0, said: "unknown" };
}

function overlayOf({ peer }: Target): bigint[] {
  return peer.probeAddresses.flatMap((address) => parseAddress(address)?.value ?? []);
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
