// A row of the kernels' table, and how its times are taken.
import { median, percentile } from "../support/statistics.js";

export interface Row {
  name: string;
  /** What one of "ns" is: a packet, a segment, a lookup. */
  unit: string;
  /** Median and 99th percentile of samples, ns per unit. */
  ns: number;
  ns99: number;
  /** Bytes of a unit, where a byte rate means something. */
  bytes?: number;
  /** The C twin's median ns per unit; its output was equal. */
  twin_ns?: number;
}

const SAMPLES = 40;
const SAMPLE_MS = 3;
const WARM_UP_MS = 200;

/** Runs `work` for at least `wanted_ms`. @returns ms per call */
function timeCalls(work: (calls: number) => void, wanted_ms: number): number {
  let calls = 0;
  const start = performance.now();
  let end = start;
  for (; end - start < wanted_ms; end = performance.now()) {
    work(64);
    calls += 64;
  }
  return (end - start) / calls;
}

/**
 * Times a function that loops the given number of times by itself, after the compiler's upper tier
 * has had its time; ns per turn, one value a sample.
 */
export function sampleLoop(work: (calls: number) => void): number[] {
  timeCalls(work, WARM_UP_MS);
  return Array.from({ length: SAMPLES }, () => timeCalls(work, SAMPLE_MS) * 1e6);
}

/** Median and percentile of samples in ns, each of `units` packets. */
export function statistics(
  samples: readonly number[],
  units: number,
): { ns: number; ns99: number } {
  return { ns: median(samples) / units, ns99: percentile(samples, 99) / units };
}
