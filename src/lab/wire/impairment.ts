// What a wire does to frames: the settings of one direction and of both, and their limits.
import { LabError } from "../error.js";

/** What happens to frames of one direction. Shares are parts per million. */
export interface Impairment {
  loss_ppm: number;
  duplicate_ppm: number;
  /** One bit behind the Ethernet header is turned over. */
  corrupt_ppm: number;
  /** Held back until `gap` later frames have gone. */
  reorder_ppm: number;
  gap: number;
  delay_us: number;
  /** The delay is that much more or less, evenly; the order stays. */
  jitter_us: number;
  /** Bits a second of Ethernet frames; 0: no limit. */
  rate: number;
  /** A frame that would wait longer than this for the rate is dropped. */
  queue_us: number;
  /** Longer IP packets are dropped without a word, as behind a filter of ICMP; 0: no limit. */
  mtu: number;
  /** Nothing passes. */
  cut: boolean;
}

/** A wire between the network and a node. */
export interface WireSettings {
  /** The same seed does the same to the same sequence of frames. */
  seed: number;
  toNode: Impairment;
  fromNode: Impairment;
}

export const UNIMPAIRED: Impairment = {
  ...{ loss_ppm: 0, duplicate_ppm: 0, corrupt_ppm: 0, reorder_ppm: 0, gap: 3 },
  ...{ delay_us: 0, jitter_us: 0, rate: 0, queue_us: 50_000, mtu: 0, cut: false },
};

const PPM = 1_000_000;
const TIME_US_MAX = 60_000_000;
const LIMITS: Readonly<Record<Exclude<keyof Impairment, "cut">, readonly [number, number]>> = {
  ...{ loss_ppm: [0, PPM], duplicate_ppm: [0, PPM], corrupt_ppm: [0, PPM] },
  ...{ reorder_ppm: [0, PPM], gap: [1, 1000], delay_us: [0, TIME_US_MAX] },
  ...{ jitter_us: [0, TIME_US_MAX], rate: [0, 1e12], queue_us: [0, TIME_US_MAX], mtu: [0, 65_535] },
};

function checkImpairment(impairment: Impairment): void {
  for (const [name, [least, most]] of Object.entries(LIMITS)) {
    const value = impairment[name as keyof typeof LIMITS];
    if (Number.isInteger(value) && value >= least && value <= most) continue;
    const message = `${name} of a wire is ${value}: allowed are ${least} to ${most}`;
    throw new LabError("MESHD_LAB_IMPAIR", message);
  }
}

/** @throws LabError MESHD_LAB_IMPAIR with what is allowed */
export function checkWire({ seed, toNode, fromNode }: WireSettings): void {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff) {
    const message = `seed of a wire is ${seed}: allowed are 0 to ${0xffff_ffff}`;
    throw new LabError("MESHD_LAB_IMPAIR", message);
  }
  checkImpairment(toNode);
  checkImpairment(fromNode);
}

/** Each direction has numbers of its own. */
export function seedsOf({ seed }: WireSettings): { toNode: number; fromNode: number } {
  return { toNode: seed, fromNode: (seed ^ 0x9e37_79b9) >>> 0 };
}
