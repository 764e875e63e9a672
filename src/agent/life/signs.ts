// What the hot path counted of each peer since it was looked at last, told to what is known of it.
import type { PeerSigns } from "../../datapath/index.js";
import type { PeerLife } from "./peer-life.js";

/** Counts of one peer, as they were at the last look. */
export interface Counts {
  sent: number;
  heard: number;
  asked: number;
  saying: number;
}

export interface Counted {
  /** Its index in the tables, and its underlay address there. */
  index: number;
  address: string;
  life: PeerLife;
  /** null: not looked at yet, at this index. */
  counts: Counts | null;
}

/** Counts of another peer's, or of one that has just come there, say nothing. */
export function takeSigns(signs: PeerSigns, peer: Counted, now: number): void {
  const { index, life, counts } = peer;
  if (signs.addresses[index] !== peer.address) {
    peer.counts = null;
    return;
  }
  const sent = signs.sent[index] ?? 0;
  const heard = signs.heard[index] ?? 0;
  const asked = signs.asked[index] ?? 0;
  const saying = signs.saying[index] ?? 0;
  if (counts === null) {
    peer.counts = { sent, heard, asked, saying };
    return;
  }
  const hasData = heard !== counts.heard;
  if (hasData || sent !== counts.sent) life.noteTraffic(now);
  if (hasData || asked !== counts.asked) life.noteSign(now);
  if (saying !== counts.saying) life.noteSaid(signs.said[index] ?? 0, now);
  Object.assign(counts, { sent, heard, asked, saying });
}
