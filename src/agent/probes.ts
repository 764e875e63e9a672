// Asks every peer through the data path itself whether it is there: the same FIB, the same encap.
// One timer, at most PROBES_PER_SECOND questions, however many peers there are.
import type { PlannedPeer } from "./plan-types.js";
import { parseAddress } from "./prefix.js";
import { decodeReply, encodeEcho, encodeProbe } from "./probe-packets.js";
import type { Reachability } from "./types.js";

/** Bound of the whole node, not of one peer. */
export const PROBES_PER_SECOND = 20;
/** A peer is asked this often while there are at most PROBES_PER_SECOND of them. */
const INTERVAL_MS = 1000;
/** Silence after which a peer that answered before is unreachable. */
const SILENCE_MS = 5000;
/** Questions without an answer after which a member that never answered is unreachable. */
const MISSES_MAX = 3;
/** ICMP has 16 bits of sequence; questions older than that many can hardly be answered. */
const SEQUENCES = 65_536;

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
  /** Questions since the last answer. */
  misses: number;
  /** Which of the peer's addresses is asked; moves on after a miss, stays after an answer. */
  turn: number;
}

interface Question {
  key: string;
  address: bigint;
  asked_ms: number;
}

export interface ProberOptions {
  /** Puts an inner packet into the data path; false when there is no room. */
  inject: (packet: Uint8Array) => boolean;
  /** Monotonic milliseconds with a fraction. */
  now?: () => number;
}

/** Names a peer over plan changes. */
export function peerKey(peer: { nodeId: string; name: string }): string {
  return peer.nodeId === "" ? `peer:${peer.name}` : peer.nodeId;
}

export class Prober {
  private targets = new Map<string, Target>();
  private own: string[] = [];
  private readonly open = new Map<number, Question>();
  private sequence = 0;
  private timer: NodeJS.Timeout | undefined;
  private running = false;
  private readonly now: () => number;

  constructor(private readonly options: ProberOptions) {
    this.now = options.now ?? (() => performance.now());
  }

  /** Peers to ask from now on; what is known of those that stay is kept. */
  setPeers(ownAddresses: readonly string[], peers: readonly PlannedPeer[]): void {
    this.own = [...ownAddresses];
    const next = new Map<string, Target>();
    for (const peer of peers) {
      const known = this.targets.get(peerKey(peer));
      const same = known?.peer.address === peer.address && known.peer.port === peer.port;
      next.set(peerKey(peer), same ? { ...known, peer } : newTarget(peer));
    }
    this.targets = next;
    if (this.running) {
      this.schedule();
    }
  }

  start(): void {
    this.running = true;
    this.schedule();
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.timer);
  }

  /** Sleeps until somebody's time has come: an idle node with few peers hardly wakes. */
  private schedule(): void {
    clearTimeout(this.timer);
    const due_ms = (this.longestWaiting()?.asked_ms ?? this.now()) + INTERVAL_MS;
    const delay_ms = Math.max(due_ms - this.now(), 1000 / PROBES_PER_SECOND);
    this.timer = setTimeout(() => {
      this.tick();
      this.schedule();
    }, delay_ms);
  }

  private longestWaiting(): Target | undefined {
    let longest: Target | undefined;
    for (const target of this.targets.values()) {
      if (longest === undefined || target.asked_ms < longest.asked_ms) {
        longest = target;
      }
    }
    return longest;
  }

  /** One turn of the timer: asks the peer that waited longest, if its time has come. */
  tick(): void {
    const now = this.now();
    const due = this.longestWaiting();
    if (due !== undefined && now - due.asked_ms >= INTERVAL_MS) {
      this.ask(due, now);
    }
  }

  private ask(target: Target, now: number): void {
    const addresses = askable(target.peer, this.own);
    target.asked_ms = now;
    const pair = addresses[target.turn % Math.max(addresses.length, 1)];
    if (pair === undefined) {
      return;
    }
    this.sequence = (this.sequence + 1) % SEQUENCES;
    const encode = target.peer.kind === "member" ? encodeProbe : encodeEcho;
    const packet = encode(pair.source, pair.destination, this.sequence);
    const address = parseAddress(pair.destination);
    // A full ring is our own trouble: no answer can be missed that was never asked for.
    if (packet === null || address === undefined || !this.options.inject(packet)) {
      return;
    }
    target.misses++;
    target.turn += target.misses > 1 ? 1 : 0;
    this.open.delete(this.sequence);
    const question = { key: peerKey(target.peer), address: address.value, asked_ms: now };
    this.open.set(this.sequence, question);
    this.forgetOld(now);
  }

  private forgetOld(now: number): void {
    for (const [sequence, question] of this.open) {
      if (now - question.asked_ms < SILENCE_MS) {
        return;
      }
      this.open.delete(sequence);
    }
  }

  /** Takes a packet that the hot path punted. True when it answered one of our questions. */
  onPunt(packet: Uint8Array): boolean {
    const reply = decodeReply(packet);
    const question = reply === null ? undefined : this.open.get(reply.sequence);
    if (reply === null || question === undefined || question.address !== reply.source.value) {
      return false;
    }
    this.open.delete(reply.sequence);
    const target = this.targets.get(question.key);
    if (target === undefined) {
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
    if (lastSeen_ms === null) {
      // A foreign peer may answer no ping at all and still forward.
      const silent = target.peer.kind === "member" && target.misses > MISSES_MAX;
      return silent ? "unreachable" : "unknown";
    }
    const cycle_ms = (this.targets.size * 1000) / PROBES_PER_SECOND;
    const patience_ms = Math.max(SILENCE_MS, 3 * cycle_ms);
    return lastSeen_ms > patience_ms ? "unreachable" : "reachable";
  }
}

function newTarget(peer: PlannedPeer): Target {
  const asked_ms = Number.NEGATIVE_INFINITY;
  return { peer, asked_ms, answered_ms: null, rtt_us: null, misses: 0, turn: 0 };
}

/** Pairs of our address and the peer's in one family, IPv4 first as plan gives them. */
function askable(
  peer: PlannedPeer,
  own: readonly string[],
): { source: string; destination: string }[] {
  return peer.probeAddresses.flatMap((destination) => {
    const family = parseAddress(destination)?.family;
    const source = own.find((address) => parseAddress(address)?.family === family);
    return source === undefined ? [] : [{ source, destination }];
  });
}
