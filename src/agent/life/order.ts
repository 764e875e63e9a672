// Who is asked in a turn, where more are due than may be asked. Looks at those with traffic or in
// doubt, and at some of the others in their order: what a turn costs hardly grows with the mesh.
import type { PeerLife } from "./peer-life.js";

/** A peer with traffic that is not heard by itself is asked so often, and one that owes answers, */
const INTERVAL_MS = 1000;
/** and any other so often. */
export const IDLE_INTERVAL_MS = 5000;
/** Turns come a little early or late; a peer is due in the turn that is nearest to its time. */
const SLACK_MS = 250;
/** A peer that has been silent for so many questions is asked as seldom as any other. */
const MISSES_HASTY = 60;
/** Above what any wait counts. */
const URGENT = 1e6;
const WAIT_MAX = 1e5;
/** Of a turn, for those in no doubt, while nobody else is urgent; and so many are looked at. */
const WALK_MIN = 5;
const WALK_LOOK = 100;

export interface Askable {
  life: PeerLife;
  /** Its packets are not counted here. */
  isBare: boolean;
}

const isOwing = ({ life }: Askable) => life.misses > 0 && life.misses <= MISSES_HASTY;

function interval_ms(peer: Askable, now: number): number {
  const { life, isBare } = peer;
  if (isBare || isOwing(peer)) return INTERVAL_MS;
  return life.isBusy(now) && !life.comesByItself ? INTERVAL_MS : IDLE_INTERVAL_MS;
}

/** What a peer counts for: the more, the sooner it is asked; 0: it is not due. */
function weight(peer: Askable, now: number): number {
  const { life } = peer;
  const waited_ms = now + SLACK_MS - life.asked_ms;
  const isUrgent = life.isUrgent(now) && waited_ms >= INTERVAL_MS;
  const turns = Math.min(waited_ms / interval_ms(peer, now), WAIT_MAX);
  if (isUrgent) return URGENT + turns;
  return turns >= 1 ? turns : 0;
}

/** At most `most` of those that are due, the weightiest first. */
function heaviest<T extends Askable>(
  peers: Iterable<T>,
  most: number,
  now: number,
): { peer: T; weight: number }[] {
  const chosen: { peer: T; weight: number }[] = [];
  for (const peer of peers) {
    const own = weight(peer, now);
    const isFull = chosen.length >= most;
    if (own === 0 || (isFull && own <= (chosen[most - 1]?.weight ?? Number.POSITIVE_INFINITY))) {
      continue;
    }
    if (isFull) chosen.pop();
    let at = chosen.length;
    while (at > 0 && (chosen[at - 1]?.weight ?? 0) < own) at--;
    chosen.splice(at, 0, { peer, weight: own });
  }
  return chosen;
}

export class Order<T extends Askable> {
  private peers: readonly T[] = [];
  /** With traffic, or in doubt, or just asked. */
  private readonly active = new Set<T>();
  private cursor = 0;

  /** All peers there are from now on. */
  set(peers: readonly T[]): void {
    this.peers = peers;
    this.cursor %= Math.max(peers.length, 1);
    this.active.clear();
    for (const peer of peers) this.active.add(peer);
  }

  /** Something happened to it: it is looked at in the next turns. */
  wake(peer: T): void {
    this.active.add(peer);
  }

  /** Those that are looked at each turn. */
  awake(): Iterable<T> {
    return this.active;
  }

  /** One that has answered, and has no traffic, waits for the walk; so does one long given up. */
  rest(now: number): void {
    for (const peer of this.active) {
      const { life, isBare } = peer;
      const isNew = life.asked_ms === Number.NEGATIVE_INFINITY;
      const isAwake = isNew || life.isBusy(now) || life.isPrompted || isOwing(peer);
      if (!isAwake && !isBare) this.active.delete(peer);
    }
  }

  /** Whom to ask now: the urgent ones, then who waits longest for its due. */
  choose(most: number, now: number): T[] {
    if (most <= 0) return [];
    const chosen = heaviest(this.active, most, now);
    // Nobody waits for those who were never asked, or cannot wait.
    const urgent = chosen.filter(({ weight }) => weight >= WAIT_MAX).length;
    const walked = this.walk(
      Math.max(most - chosen.length, Math.min(WALK_MIN, most - urgent)),
      now,
    );
    const first = chosen.slice(0, most - walked.length).map(({ peer }) => peer);
    return [...first, ...walked];
  }

  /** The next of the others that are due, round and round. */
  private walk(most: number, now: number): T[] {
    const walked: T[] = [];
    const looks = Math.min(this.peers.length, WALK_LOOK);
    for (let look = 0; look < looks && walked.length < most; look++) {
      const peer = this.peers[this.cursor];
      this.cursor = (this.cursor + 1) % this.peers.length;
      if (peer !== undefined && !this.active.has(peer) && weight(peer, now) > 0) walked.push(peer);
    }
    return walked;
  }
}
