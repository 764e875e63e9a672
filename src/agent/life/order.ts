// Who is asked in a turn, where more are due than may be asked.
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

export interface Askable {
  life: PeerLife;
  /** Its packets are not counted here. */
  isBare: boolean;
}

function interval_ms({ life, isBare }: Askable, now: number): number {
  const isOwing = life.misses > 0 && life.misses <= MISSES_HASTY;
  if (isBare || isOwing) return INTERVAL_MS;
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

/** At most `most` of the peers that are due: the urgent ones, then who waits longest for its due. */
export function choose<T extends Askable>(peers: Iterable<T>, most: number, now: number): T[] {
  const chosen: { peer: T; weight: number }[] = [];
  for (const peer of peers) {
    const own = weight(peer, now);
    const last = chosen[chosen.length - 1];
    const isFull = chosen.length >= most;
    if (own === 0 || most <= 0 || (isFull && own <= (last?.weight ?? 0))) continue;
    if (isFull) chosen.pop();
    let at = chosen.length;
    while (at > 0 && (chosen[at - 1]?.weight ?? 0) < own) at--;
    chosen.splice(at, 0, { peer, weight: own });
  }
  return chosen.map(({ peer }) => peer);
}
