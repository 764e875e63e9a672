// The hot path's counts of what goes to each peer and comes from it. Its workers alone write them.
import {
  W_PEER_ASKED,
  W_PEER_HEARD,
  W_PEER_PACKETS,
  W_PEER_SAID,
} from "../../assembly/shared/layout.js";

function sums(
  words: Uint32Array,
  bases: readonly number[],
  region: number,
  into: Uint32Array,
): Uint32Array {
  into.fill(0);
  for (const base of bases) {
    const first = (base + region) >>> 2;
    for (let index = 0; index < into.length; index++) {
      into[index] = (into[index] ?? 0) + (words[first + index] ?? 0);
    }
  }
  return into;
}

/** By a peer's index in the tables; counts wrap, a difference says that there was something. */
export interface PeerSigns {
  /** Underlay addresses: whose counts they are. */
  addresses: readonly string[];
  /** Packets from the host to it. */
  sent: Uint32Array;
  /** Datagrams and trains from it with something for the host or another peer. */
  heard: Uint32Array;
  /** Its questions, and those of them that say how long it has not heard us. */
  asked: Uint32Array;
  saying: Uint32Array;
  /** What the last of these said: PROBE_HEARD_* of assembly/shared/layout.ts. */
  said: Uint8Array;
}

/** Reads the counts of all workers, again and again into the same arrays. */
export class SignReader {
  /** Of the peers that were published last, by index. */
  addresses: readonly string[] = [];
  private signs: PeerSigns = room(0);
  /** Each worker's word of W_PEER_SAID, as it was read last. */
  private last: Uint32Array[] = [];

  /** `isSettled`: what was published last is what the workers use. */
  constructor(
    private readonly words: Uint32Array,
    private readonly bases: readonly number[],
    private readonly isSettled: () => boolean,
  ) {}

  /**
   * Packets from TUN to each of the first `peers` peers, by index, of all workers; super-packets
   * count as one. Wraps at 2^32: a difference says whether packets went there, roughly how many.
   */
  packetsTo(peers: number): Uint32Array {
    return sums(this.words, this.bases, W_PEER_PACKETS, new Uint32Array(peers));
  }

  /** undefined while newer tables wait for a worker. Valid until the next call. */
  read(): PeerSigns | undefined {
    if (!this.isSettled()) return undefined;
    this.fit(this.addresses.length);
    this.signs.addresses = this.addresses;
    const { sent, heard, asked } = this.signs;
    sums(this.words, this.bases, W_PEER_PACKETS, sent);
    sums(this.words, this.bases, W_PEER_HEARD, heard);
    sums(this.words, this.bases, W_PEER_ASKED, asked);
    for (const [worker, base] of this.bases.entries()) this.readSaid(base, worker);
    return this.signs;
  }

  /** What was read before stays, for its words still stand there. */
  private fit(peers: number): void {
    if (this.signs.sent.length === peers) return;
    const before = this.signs;
    const kept = Math.min(before.sent.length, peers);
    this.signs = room(peers);
    this.signs.said.set(before.said.subarray(0, kept));
    this.signs.saying.set(before.saying.subarray(0, kept));
    this.last = this.bases.map((_, worker) => {
      const next = new Uint32Array(peers);
      next.set((this.last[worker] ?? next).subarray(0, kept));
      return next;
    });
  }

  private readSaid(base: number, worker: number): void {
    const first = (base + W_PEER_SAID) >>> 2;
    const { saying, said } = this.signs;
    const last = this.last[worker];
    if (last === undefined) return;
    for (let index = 0; index < last.length; index++) {
      const word = this.words[first + index] ?? 0;
      if (word === last[index]) continue;
      last[index] = word;
      said[index] = word & 0xff;
      saying[index] = (saying[index] ?? 0) + 1;
    }
  }
}

function room(peers: number): PeerSigns {
  return {
    addresses: [],
    sent: new Uint32Array(peers),
    heard: new Uint32Array(peers),
    asked: new Uint32Array(peers),
    saying: new Uint32Array(peers),
    said: new Uint8Array(peers),
  };
}
