// The rows of a bench: one figure each, on both networks, and their ratio.
import type { BenchReport, BenchRun } from "./ask.js";
import type { MeasureName, MeasureResult } from "./measures.js";
import type { Network } from "./messages.js";

export interface BenchRow {
  /** Stable name; those that `npm run bench` has too are called as there. */
  name: string;
  title: string;
  unit: string;
  overlay: number | null;
  underlay: number | null;
  /** overlay / underlay. */
  ratio: number | null;
}

interface Figure {
  measure: MeasureName;
  title: string;
  unit: string;
  value(run: BenchRun): number | undefined;
  /** On the overlay alone: what the agents do there. */
  isOfAgents?: boolean;
  isCompared?: boolean;
}

type Kind = MeasureResult["kind"];

/** Reads one number of a result of a kind. */
function of<K extends Kind>(
  kind: K,
  read: (result: Extract<MeasureResult, { kind: K }>) => number,
): (run: BenchRun) => number | undefined {
  return ({ result }) =>
    result?.kind === kind ? read(result as Extract<MeasureResult, { kind: K }>) : undefined;
}

const gigabits = of("stream", (result) => result.gigabitsPerSecond);

function perGigabyte(cpu_s: (run: BenchRun) => number) {
  return (run: BenchRun) =>
    of("stream", (result) => (result.bytes > 0 ? cpu_s(run) / (result.bytes / 1e9) : Number.NaN))(
      run,
    );
}

const ofAgents = { isOfAgents: true } as const;
const compared = { isCompared: true } as const;
const tcp1 = { measure: "tcp1" } as const;

function flood(size: 64 | 1400): Record<string, Figure> {
  const measure = `udp${size}` as const;
  const received = of("flow", (result) => result.packetsPerSecond / 1000);
  const lost = of("flow", (result) => result.loss * 100);
  const title = `UDP ${size} B flood, received`;
  return {
    [measure]: { measure, title, unit: "kpps", value: received, ...compared },
    [`${measure}lost`]: { measure, title: "  lost of what was sent", unit: "%", value: lost },
  };
}

function lossless(size: 64 | 1400): Record<string, Figure> {
  const measure = `udp${size}lossless` as const;
  const value = of("search", (result) => result.packetsPerSecond / 1000);
  const title = `UDP ${size} B, loss <= 0.5 %`;
  return { [measure]: { measure, title, unit: "kpps", value, ...compared } };
}

const ping = { measure: "ping", unit: "us" } as const;

const FIGURES: Record<string, Figure> = {
  tcp1: { ...tcp1, title: "TCP 1 stream", unit: "Gbit/s", value: gigabits, ...compared },
  daemons: {
    ...{ ...tcp1, ...ofAgents, title: "  CPU of both agents", unit: "s/GB" },
    value: perGigabyte(({ agents }) => agents.from.cpu_s + agents.to.cpu_s),
  },
  sender: {
    ...{ ...tcp1, ...ofAgents, title: "  CPU of the sending agent", unit: "s/GB" },
    value: perGigabyte(({ agents }) => agents.from.cpu_s),
  },
  receiver: {
    ...{ ...tcp1, ...ofAgents, title: "  CPU of the receiving agent", unit: "s/GB" },
    value: perGigabyte(({ agents }) => agents.to.cpu_s),
  },
  resident: {
    ...{ ...tcp1, ...ofAgents, title: "  resident memory, larger agent", unit: "MB" },
    value: ({ agents }) => Math.max(agents.from.resident_bytes, agents.to.resident_bytes) / 1e6,
  },
  tcp4: { measure: "tcp4", title: "TCP 4 streams", unit: "Gbit/s", value: gigabits, ...compared },
  ...flood(1400),
  ...lossless(1400),
  ...flood(64),
  ...lossless(64),
  ping50: { ...ping, title: "ping p50", value: of("ping", ({ p50_us }) => p50_us), ...compared },
  ping90: { ...ping, title: "ping p90", value: of("ping", ({ p90_us }) => p90_us), ...compared },
  ping99: { ...ping, title: "ping p99", value: of("ping", ({ p99_us }) => p99_us), ...compared },
};

/** Four significant digits: more would be noise. */
function rounded(value: number | undefined): number | null {
  return value === undefined || !Number.isFinite(value) ? null : Number(value.toPrecision(4));
}

/** Rows of what was measured, in a fixed order. */
export function benchRows(report: BenchReport): BenchRow[] {
  const runOf = (measure: MeasureName, network: Network) =>
    report.runs.find((run) => run.measure === measure && run.network === network);
  return Object.entries(FIGURES).flatMap(([name, figure]) => {
    const { measure, title, unit } = figure;
    const [over, under] = [runOf(measure, "overlay"), runOf(measure, "underlay")];
    if (over === undefined && under === undefined) return [];
    const overlay = over && figure.value(over);
    const underlay = under && figure.isOfAgents !== true ? figure.value(under) : undefined;
    const ratio = figure.isCompared && overlay && underlay ? overlay / underlay : undefined;
    const values = {
      overlay: rounded(overlay),
      underlay: rounded(underlay),
      ratio: rounded(ratio),
    };
    return [{ name, title, unit, ...values }];
  });
}
