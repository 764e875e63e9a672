// The hot path fed with the same batch again and again: inputs are put back between runs, as a read
// would, and only `run` and `settle` are timed, on outputs that count as written.
import {
  D_STATUS,
  DESCRIPTOR_SIZE,
  HEADROOM,
  SLOT_SIZE,
  W_TUN_IN,
  W_TUN_IN_COUNT,
  W_TUN_IN_NEXT,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_TUN_SLOTS,
  W_WIRE_IN,
  W_WIRE_IN_COUNT,
  W_WIRE_IN_NEXT,
  W_WIRE_OUT,
  W_WIRE_OUT_COUNT,
  W_WIRE_SLOTS,
} from "../../assembly/shared/layout.js";
import type { TablePeer } from "../../src/datapath/types.js";
import { loadModule, type TestModule } from "../../test/support/module.js";
import { contentsOf } from "../../test/support/nodes.js";

const WARM_UP_MS = 40;
const SAMPLES = 300;

/** Bytes of memory as they were, to be put back. */
interface Saved {
  at: number;
  bytes: Uint8Array;
}

export type Side = "tun" | "wire";

/** Inputs as a read left them. */
export interface Batch {
  side: Side;
  count: number;
  saved: Saved[];
}

const SIDES = {
  tun: { slots: W_TUN_SLOTS, list: W_TUN_IN, count: W_TUN_IN_COUNT, next: W_TUN_IN_NEXT },
  wire: { slots: W_WIRE_SLOTS, list: W_WIRE_IN, count: W_WIRE_IN_COUNT, next: W_WIRE_IN_NEXT },
} as const;

/** Node 1 of a mesh, on a memory of its own. */
export class Room {
  readonly module: TestModule;
  readonly #view: DataView;

  constructor(module: TestModule) {
    this.module = module;
    this.#view = module.view;
  }

  static async open(peers: readonly (number | TablePeer)[] = [2]): Promise<Room> {
    const module = await loadModule();
    module.publish(contentsOf(1, peers));
    return new Room(module);
  }

  /**
   * A batch of `count` inputs that `feed` puts in, of at most `length` bytes each with headers.
   * Several batches of one room may be kept and measured in any order.
   */
  prepare(side: Side, count: number, length: number, feed: () => void): Batch {
    feed();
    const { slots, list } = SIDES[side];
    const { base, views } = this.module;
    const keep = (at: number, size: number) => ({ at, bytes: views.bytes.slice(at, at + size) });
    const saved = [keep(base + list, count * DESCRIPTOR_SIZE)];
    for (let index = 0; index < count; index++) {
      saved.push(keep(base + slots + index * SLOT_SIZE + HEADROOM, length));
    }
    // The stand-in pump's own run takes the inputs, so that its next feed begins at the first slot.
    this.module.run();
    return { side, count, saved };
  }

  #restore(batch: Batch): void {
    const { bytes } = this.module.views;
    for (const saved of batch.saved) bytes.set(saved.bytes, saved.at);
    this.module.setWord(SIDES[batch.side].count, batch.count);
    this.module.setWord(SIDES[batch.side].next, 0);
  }

  #markWritten(list: number, count: number): void {
    const outputs = this.module.word(count);
    for (let index = 0; index < outputs; index++) {
      const at = this.module.base + list + index * DESCRIPTOR_SIZE;
      this.#view.setUint32(at + D_STATUS, 0, true);
    }
  }

  /** @returns ms spent in the hot path */
  #run(batch: Batch): number {
    const { hot, now_us } = this.module;
    this.#restore(batch);
    const start = performance.now();
    hot.run(now_us);
    const made = performance.now();
    this.#markWritten(W_WIRE_OUT, W_WIRE_OUT_COUNT);
    this.#markWritten(W_TUN_OUT, W_TUN_OUT_COUNT);
    const written = performance.now();
    hot.settle();
    return made - start + performance.now() - written;
  }

  /**
   * Times a batch; ns per `units` in it, one value a run.
   * @throws when packets were dropped or stayed: then something else was measured
   */
  measure(batch: Batch, units: number): number[] {
    const before = this.#totals(batch.side);
    const warm = performance.now() + WARM_UP_MS;
    while (performance.now() < warm) this.#run(batch);
    const samples = Array.from({ length: SAMPLES }, () => (this.#run(batch) * 1e6) / units);
    const after = this.#totals(batch.side);
    const received = after.received - before.received;
    if (received === 0 || received !== after.forwarded - before.forwarded) {
      throw new Error(`${received} packets in, ${after.forwarded - before.forwarded} out`);
    }
    this.module.setWord(SIDES[batch.side].count, 0);
    this.module.setWord(SIDES[batch.side].next, 0);
    return samples;
  }

  #totals(side: Side): { received: number; forwarded: number } {
    const { egress, ingress } = this.module.counters();
    const { received, forwarded } = side === "tun" ? egress : ingress;
    return { received: Number(received), forwarded: Number(forwarded) };
  }
}
