// A row of the kernels' table, and how its times are taken.
import { onEachInTurn } from "../support/processor.js";
import { median, percentile } from "../support/statistics.js";

/** A row that may be missing: libcrypto need not be there. */
export const MPPE_BESIDE_RC4 = "MPPE-128 1400 B, beside OpenSSL's RC4 alone";

/** Something that can be timed again and again. */
export interface Subject {
  name: string;
  /** What one of "ns" is: a packet, a segment, a lookup. */
  unit: string;
  /** Bytes of a unit, where a byte rate means something. */
  bytes?: number;
  /** Times it for a while; ns per unit, one value a sample. */
  sample(): number[];
  /** The C twin's median ns per unit; its output was equal. */
  sampleTwin?(): number;
}

/** What the samples of a subject came to. */
export interface Row {
  name: string;
  unit: string;
  ns: number;
  ns99: number;
  bytes?: number;
  twin_ns?: number;
  /** Medians of the single passes. */
  passes: Pass[];
  /** Its speed as a share of the twin's: the median of the passes' own shares. */
  share?: number;
}

/** One turn of a subject, and its twin's right after it. */
export interface Pass {
  ns: number;
  twin_ns?: number;
}

/** Every subject has its turn that often, short ones: a slow while is not one row's. */
const PASSES = 15;
const SAMPLES = 100;
/** Short, so that most samples are free of other processes. */
const SAMPLE_MS = 0.3;
const WARM_UP_MS = 40;
/** Between two looks at the clock, as native/kernels.h does. */
const CALLS = 16;

/** Runs `work` for at least `wanted_ms`. @returns ms per call */
function timeCalls(work: () => void, wanted_ms: number): number {
  let calls = 0;
  const start = performance.now();
  let end = start;
  for (; end - start < wanted_ms; end = performance.now()) {
    for (let i = 0; i < CALLS; i++) work();
    calls += CALLS;
  }
  return (end - start) / calls;
}

/**
 * Times a function that does `count` of something by itself, after the compiler's upper tier has
 * had its time; ns per thing, one value a sample.
 */
export function sampleCalls(work: () => void, count: number): number[] {
  timeCalls(work, WARM_UP_MS);
  return Array.from({ length: SAMPLES }, () => (timeCalls(work, SAMPLE_MS) * 1e6) / count);
}

/** Speed as a share of the twin's, in each pass. */
export function sharesOf(passes: readonly Pass[]): number[] {
  return passes.flatMap(({ ns, twin_ns }) => (twin_ns === undefined ? [] : [twin_ns / ns]));
}

function rowOf({ name, unit, bytes }: Subject, samples: readonly number[], passes: Pass[]): Row {
  const twins = passes.flatMap(({ twin_ns }) => (twin_ns === undefined ? [] : [twin_ns]));
  return {
    ...{ name, unit, ns: median(samples), ns99: percentile(samples, 99) },
    ...(bytes === undefined ? {} : { bytes }),
    ...(twins.length === 0 ? {} : { twin_ns: median(twins), share: median(sharesOf(passes)) }),
    passes,
  };
}

/**
 * Times all subjects in turn, several passes, each right beside its twin and on the same processor
 * as that, another one each pass: one whose sibling is busy is slower by half, for both alike.
 */
export function timeAll(subjects: readonly Subject[]): Row[] {
  const all = subjects.map((subject) => {
    return { subject, samples: [] as number[], passes: [] as Pass[] };
  });
  onEachInTurn(PASSES, () => {
    for (const { subject, samples, passes } of all) {
      const own = subject.sample();
      const twin_ns = subject.sampleTwin?.();
      samples.push(...own);
      passes.push({ ns: median(own), ...(twin_ns === undefined ? {} : { twin_ns }) });
    }
  });
  return all.map(({ subject, samples, passes }) => rowOf(subject, samples, passes));
}
