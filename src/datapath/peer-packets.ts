// The hot path's counts of what goes to each peer and comes from it. Its workers alone write them.
import {
  W_PEER_ASKED,
  W_PEER_HEARD,
  W_PEER_PACKETS,
  W_PEER_SAID,
} from "../../assembly/shared/layout.js";

/** Room for peers grows by so many. */
const ROOM = 1024;

/** What was counted of one peer since the last look. */
export interface PeerSign {
  /** Its place in the tables, and its underlay address there. */
  index: number;
  address: string;
  /** Packets went to it from the host; came from it, for the host or for another peer. */
  isSent: boolean;
  isHeard: boolean;
  /** It asked us, and was answered. */
  isAsked: boolean;
  /** How long it has not heard us, as it said last (PROBE_HEARD_*); null: it did not. */
  said: number | null;
}

/** A word of every peer in the region of one worker, as it was read last. */
class Row {
  private last = new Uint32Array(0);

  constructor(
    private readonly words: Uint32Array,
    base: number,
    region: number,
  ) {
    this.first = (base + region) >>> 2;
  }

  private readonly first: number;

  fit(peers: number): void {
    if (this.last.length >= peers) return;
    const grown = new Uint32Array(Math.ceil(peers / ROOM) * ROOM);
    grown.set(this.last);
    this.last = grown;
  }

  /** Whether the word is another than at the last look; remembers it. */
  isNew(index: number): boolean {
    const word = this.words[this.first + index] ?? 0;
    if (word === this.last[index]) return false;
    this.last[index] = word;
    return true;
  }

  at(index: number): number {
    return this.last[index] ?? 0;
  }
}

/** Not `some`: every row has to be looked at. */
function anyNew(rows: readonly Row[], index: number): boolean {
  let found = false;
  for (const row of rows) if (row.isNew(index)) found = true;
  return found;
}

/** Says of which peers something was counted since it was asked last. */
export class SignReader {
  private addresses: readonly string[] = [];
  /** Counted for somebody else until now. */
  private readonly fresh = new Set<number>();
  private readonly sent: Row[];
  private readonly heard: Row[];
  private readonly asked: Row[];
  private readonly said: Row[];

  /** `isSettled`: what was published last is what the workers use. */
  constructor(
    private readonly words: Uint32Array,
    private readonly bases: readonly number[],
    private readonly isSettled: () => boolean,
  ) {
    const rows = (region: number) => bases.map((base) => new Row(words, base, region));
    this.sent = rows(W_PEER_PACKETS);
    this.heard = rows(W_PEER_HEARD);
    this.asked = rows(W_PEER_ASKED);
    this.said = rows(W_PEER_SAID);
  }

  /** Underlay addresses of the peers that were published, by index. */
  published(addresses: readonly string[]): void {
    for (const row of [this.sent, this.heard, this.asked, this.said].flat()) {
      row.fit(addresses.length);
    }
    addresses.forEach((address, index) => {
      if (address !== this.addresses[index]) this.fresh.add(index);
    });
    this.addresses = addresses;
  }

  /**
   * Packets from TUN to each of the first `peers` peers, by index, of all workers; super-packets
   * count as one. Wraps at 2^32: a difference says whether packets went there, roughly how many.
   */
  packetsTo(peers: number): Uint32Array {
    const sums = new Uint32Array(peers);
    for (const base of this.bases) {
      const first = (base + W_PEER_PACKETS) >>> 2;
      for (let index = 0; index < peers; index++) {
        sums[index] = (sums[index] ?? 0) + (this.words[first + index] ?? 0);
      }
    }
    return sums;
  }

  /** The peers of which something was counted; undefined while newer tables wait for a worker. */
  read(): PeerSign[] | undefined {
    if (!this.isSettled()) return undefined;
    const signs: PeerSign[] = [];
    for (let index = 0; index < this.addresses.length; index++) {
      const isSent = anyNew(this.sent, index);
      const isHeard = anyNew(this.heard, index);
      const isAsked = anyNew(this.asked, index);
      if (!isSent && !isHeard && !isAsked) continue;
      const said = isAsked ? this.newlySaid(index) : null;
      if (this.fresh.has(index)) continue;
      const address = this.addresses[index] ?? "";
      signs.push({ index, address, isSent, isHeard, isAsked, said });
    }
    this.fresh.clear();
    return signs;
  }

  private newlySaid(index: number): number | null {
    let said: number | null = null;
    for (const row of this.said) if (row.isNew(index)) said = row.at(index) & 0xff;
    return said;
  }
}
