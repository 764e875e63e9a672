// What a pump reads from and writes to: the overlay device and the underlay of one worker, over
// descriptors in the shared memory (assembly/shared/layout.ts, D_*). Tests have fakes of it.

/** Bits of what `receive` gives. The same as in node-tun. */
export const PORT_DEVICE = 1;
export const PORT_WIRE = 2;
export const PORT_WAKE = 4;

/** Both sides of one worker. Packet bytes stay in the memory. */
export interface Ports {
  /**
   * Reads a batch from each side that may hold something into the input descriptors, whose ADDRESS
   * and CAPACITY are set and stay, and stores the inputs' counts. When no side is known to hold
   * more, it waits for one first: `wait_us` microseconds at most, below 0 without limit.
   * @returns PORT_* bits: sides that are empty behind what was read, and whether it was woken.
   */
  receive(wait_us: number): number;
  /** The next `receive` looks at both sides and does not wait. */
  expectAll(): void;
  /** Writes both outputs, as many as their counts say; STATUS and FAILED say what came of each. */
  send(): void;
  /** Microseconds of CLOCK_MONOTONIC when the last reads began. */
  now_us(): number;
}
