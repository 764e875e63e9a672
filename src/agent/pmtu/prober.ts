// Asks each peer what size of packet gets through to it, within one rate for the whole node, and
// tells when an answer changes what data may have. What is asked and believed is search.ts'.
import { BEAT_MS } from "../beat.js";
import type { PlannedPeer } from "../plan/types.js";
import { isTunnelled } from "../plan/ways.js";
import { parseAddress } from "../prefix.js";
import { decodeReply, encodeSized, type ProbeReply } from "../probe-packets.js";
import { askable, isSameEnd, peerKey } from "../probes.js";
import { PATH_MTU, type Question, Questions } from "../questions.js";
import { PATH_TIMERS, type PathLimits, PathSearch, type PathTimers } from "./search.js";

/**
 * Questions a second of the whole node: to idle peers, of whom it is also asked whether they live
 * (../probes.ts, which has the bound of both), and to those that packets go to.
 */
export const IDLE_PER_SECOND = 5;
export const BUSY_PER_SECOND = 200;
/** A sender that lost everything is silent for seconds between its tries. */
const BUSY_MS = 10_000;
/** Wait for the buckets to fill. */
const FULL_MS = 50;
/** An answer that comes later than this is still believed, but nobody waits longer for it. */
const TIMEOUT_MIN_MS = 250;
const TIMEOUT_MAX_MS = 2000;
const TIMEOUT_FIRST_MS = 1000;
/** The large question went out first: once the small one is answered, so long is enough. */
const GRACE_MS = 100;

/** A peer with what its path can be at most. */
export interface PathPeer {
  peer: PlannedPeer;
  /** null: its packets do not pass the hot path, and the path is the kernel's. */
  limits: PathLimits | null;
}

interface Open {
  size: number;
  sent_ms: number;
  deadline_ms: number;
  /** A small one is on its way beside it. */
  isPaired: boolean;
  smallAt_ms: number | null;
}

interface Target {
  peer: PlannedPeer;
  limits: PathLimits;
  search: PathSearch;
  open: Open | null;
  rtt_ms: number | null;
  /** Packets that went to it, when last looked at. */
  packets: number;
  busyUntil_ms: number;
  /** Which of the peer's addresses is asked; moves on when it is silent. */
  turn: number;
  /** The peer's own size towards us, as its last answer said; null: never said. */
  back: number | null;
}

interface Asked extends Question {
  key: string;
  /** 0: the small one. */
  size: number;
}

/** What is known of one peer's path. */
export interface PathFinding {
  mtu: number;
  limits: PathLimits;
  phase: PathSearch["phase"];
  /** Milliseconds since the size was last proven by an answer; null: never. */
  proven_ms: number | null;
  /** Milliseconds since the size in use last changed; null: never. */
  changed_ms: number | null;
  /** The peer's size towards us, which it finds itself; null: it does not say. */
  back: number | null;
  /** ICMP echo comes back as large as it went: the result is of both ways together. */
  isRoundTrip: boolean;
}

export interface PathProberOptions {
  inject: (packet: Uint8Array) => boolean;
  /** Packets so far to the first so many planned peers, in order; may wrap. */
  packetsTo: (peers: number) => ArrayLike<number>;
  /** A peer answered a question that went out then: also a sign of life. */
  onAnswer?: (key: string, asked_ms: number) => void;
  timers?: Partial<PathTimers>;
  now?: () => number;
}

/** Tokens that refill; a burst of one second's worth. */
class Bucket {
  private tokens: number;
  private at_ms = Number.NEGATIVE_INFINITY;

  constructor(private readonly perSecond: number) {
    this.tokens = perSecond;
  }

  take(now: number): boolean {
    const gained = ((now - this.at_ms) * this.perSecond) / 1000;
    this.tokens = Math.min(this.tokens + gained, this.perSecond);
    this.at_ms = now;
    if (this.tokens < 1) {
      return false;
    }
    this.tokens--;
    return true;
  }
}

export class PathProber {
  /** Called when what data to a peer may have changed. */
  onChange: () => void = () => undefined;
  private targets = new Map<string, Target>();
  /** As planned, for the counts of packets. */
  private keys: string[] = [];
  private own: string[] = [];
  private readonly questions = new Questions<Asked>(PATH_MTU);
  private timer: NodeJS.Timeout | undefined;
  private running = false;
  private readonly now: () => number;
  private readonly timers: PathTimers;
  private readonly idle = new Bucket(IDLE_PER_SECOND);
  private readonly busy = new Bucket(BUSY_PER_SECOND);
  private idleAsked = 0;

  constructor(private readonly options: PathProberOptions) {
    this.now = options.now ?? (() => performance.now());
    this.timers = { ...PATH_TIMERS, ...options.timers };
  }

  /** Peers to ask from now on, as planned; what is known of those that stay is kept. */
  setPeers(ownAddresses: readonly string[], peers: readonly PathPeer[]): void {
    this.own = [...ownAddresses];
    this.keys = peers.map(({ peer }) => peerKey(peer));
    const next = new Map<string, Target>();
    for (const { peer, limits } of peers) {
      const known = this.targets.get(peerKey(peer));
      if (limits !== null) {
        next.set(peerKey(peer), this.targetOf(peer, limits, known));
      }
    }
    this.targets = next;
    this.schedule();
  }

  private targetOf(peer: PlannedPeer, limits: PathLimits, known: Target | undefined): Target {
    if (known?.peer.address !== peer.address || !isSameEnd(known.peer, peer)) {
      const search = new PathSearch(limits, this.timers);
      const nothing = {
        open: null,
        rtt_ms: null,
        packets: 0,
        busyUntil_ms: 0,
        turn: 0,
        back: null,
      };
      return { peer, limits, search, ...nothing };
    }
    const before = known.limits;
    if (before.most === limits.most && before.least === limits.least) {
      return { ...known, peer };
    }
    // What the path carries outside did not change because our headers or our interface did.
    const isReduced = known.search.mtu < before.most;
    const shifted = known.search.mtu + limits.least - before.least;
    const search = new PathSearch(limits, this.timers, isReduced ? shifted : limits.most);
    return { ...known, peer, limits, search, open: null };
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.timer);
  }

  /** Once a second: looks to whom packets go, and asks whose time has come. */
  beat(): void {
    this.running = true;
    const now = this.now();
    const packets = this.options.packetsTo(this.keys.length);
    this.keys.forEach((key, index) => {
      const target = this.targets.get(key);
      const count = packets[index] ?? 0;
      if (target !== undefined && count !== target.packets) {
        target.packets = count;
        target.busyUntil_ms = now + BUSY_MS;
      }
    });
    this.tick();
  }

  private isBusy(target: Target, now: number): boolean {
    return now < target.busyUntil_ms;
  }

  /** A timer for what cannot wait for the next beat: a search at work, never an idle peer. */
  private schedule(least_ms = 0): void {
    clearTimeout(this.timer);
    if (!this.running) {
      return;
    }
    const now = this.now();
    let due_ms = Number.POSITIVE_INFINITY;
    for (const target of this.targets.values()) {
      due_ms = Math.min(due_ms, this.dueOf(target, now));
    }
    if (due_ms < now + BEAT_MS) {
      const delay_ms = Math.max(Math.ceil(due_ms - now), least_ms);
      this.timer = setTimeout(() => this.tick(), delay_ms);
    }
  }

  private dueOf(target: Target, now: number): number {
    return target.open?.deadline_ms ?? target.search.due_ms(this.isBusy(target, now));
  }

  /** Judges what waited long enough, and asks whose time has come. */
  tick(): void {
    const now = this.now();
    const due = [...this.targets.values()].filter((target) => this.dueOf(target, now) <= now);
    let isFull = false;
    // Those that packets wait for come first.
    due.sort((a, b) => b.busyUntil_ms - a.busyUntil_ms);
    for (const target of due) {
      if (target.open !== null) {
        this.judge(target, target.open, now);
      } else if ((this.isBusy(target, now) ? this.busy : this.idle).take(now)) {
        this.ask(target, now);
      } else {
        isFull = true;
      }
    }
    this.questions.forgetOld(now);
    this.schedule(isFull ? FULL_MS : 0);
  }

  /** Questions to idle peers since this was asked last. */
  takeIdleAsked(): number {
    const asked = this.idleAsked;
    this.idleAsked = 0;
    return asked;
  }

  private ask(target: Target, now: number): void {
    const size = target.search.size(now);
    const isPaired = target.search.isDoubtful();
    const wait_ms = target.rtt_ms === null ? TIMEOUT_FIRST_MS : 4 * target.rtt_ms;
    // Alone it can only raise a doubt, which costs a question and nothing more.
    const most_ms = isPaired ? TIMEOUT_MAX_MS : TIMEOUT_FIRST_MS;
    const patience_ms = Math.min(Math.max(wait_ms, TIMEOUT_MIN_MS), most_ms);
    // Our own full ring says nothing about the path.
    if (!this.send(target, size, now) || (isPaired && !this.send(target, 0, now))) {
      target.search.unclear(now);
      return;
    }
    const deadline_ms = now + patience_ms;
    target.open = { size, sent_ms: now, deadline_ms, isPaired, smallAt_ms: null };
  }

  private send(target: Target, size: number, now: number): boolean {
    const { peer } = target;
    const pairs = askable(peer, this.own).filter(({ destination }) =>
      isTunnelled(peer, parseAddress(destination)?.family),
    );
    const pair = pairs[target.turn % Math.max(pairs.length, 1)];
    const address = parseAddress(pair?.destination ?? "");
    if (pair === undefined || address === undefined) {
      return false;
    }
    const sequence = this.questions.next();
    const ends = { source: pair.source, destination: pair.destination };
    const packet = encodeSized(peer.kind === "member" ? "probe" : "echo", ends, sequence, size);
    if (packet === null || !this.options.inject(packet)) {
      return false;
    }
    if (!this.isBusy(target, now)) this.idleAsked++;
    const question = { key: peerKey(peer), address: address.value, size, asked_ms: now };
    this.questions.add(sequence, question);
    return true;
  }

  private judge(target: Target, open: Open, now: number): void {
    target.open = null;
    this.watching(target, () => {
      if (!open.isPaired) {
        target.search.doubt(now);
      } else if (open.smallAt_ms !== null) {
        target.search.lost(open.size, now);
      } else {
        target.turn++;
        target.search.unclear(now);
      }
    });
  }

  /** Tells when what data may have is another size afterwards. */
  private watching(target: Target, change: () => void): void {
    const before = target.search.mtu;
    change();
    if (target.search.mtu !== before) {
      this.onChange();
    }
  }

  /** Takes a packet that the hot path punted. True when it answered one of our questions. */
  onPunt(packet: Uint8Array): boolean {
    const reply = decodeReply(packet);
    const question = reply === null ? undefined : this.questions.take(reply);
    if (reply === null || question === undefined) {
      return false;
    }
    const target = this.targets.get(question.key);
    if (target !== undefined) {
      this.options.onAnswer?.(question.key, question.asked_ms);
      this.take(target, question, reply);
      this.schedule();
    }
    return true;
  }

  private take(target: Target, question: Asked, reply: ProbeReply): void {
    const now = this.now();
    const { open } = target;
    const took_ms = now - question.asked_ms;
    target.rtt_ms = target.rtt_ms === null ? took_ms : (7 * target.rtt_ms + took_ms) / 8;
    target.back = reply.mtu ?? target.back;
    if (question.size === 0) {
      if (open?.isPaired === true && open.sent_ms === question.asked_ms) {
        open.smallAt_ms = now;
        open.deadline_ms = Math.min(open.deadline_ms, now + GRACE_MS + target.rtt_ms);
      }
      return;
    }
    if (open?.size === question.size) {
      target.open = null;
    }
    this.watching(target, () => target.search.answered(question.size, now));
  }

  /** What data to a peer may have now; undefined for one that is not asked. */
  mtuOf(peer: { nodeId: string; name: string }): number | undefined {
    return this.targets.get(peerKey(peer))?.search.mtu;
  }

  finding(peer: { nodeId: string; name: string }): PathFinding | undefined {
    const target = this.targets.get(peerKey(peer));
    if (target === undefined) {
      return undefined;
    }
    const { search, limits, back } = target;
    const since = (at: number | null) => (at === null ? null : Math.round(this.now() - at));
    return {
      mtu: search.mtu,
      ...{ limits, phase: search.phase, back },
      proven_ms: since(search.proven_ms),
      changed_ms: since(search.changed_ms),
      isRoundTrip: target.peer.kind === "static",
    };
  }
}
