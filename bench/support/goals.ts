// The figures this project has set itself, as ratios measured within one run, and whether a run
// reached them.
import { MPPE_BESIDE_RC4, type Row, sharesOf } from "../kernels/row.js";
import type { FigureName } from "../measure/measures.js";
import { CARRIERS, type CarrierName } from "../network/carriers.js";
import { ALL_CARRIERS, isPeer } from "./legs.js";
import type { Results } from "./results.js";
import { type Summary, summarize } from "./statistics.js";
import { formatNumber, formatTable } from "./table.js";

/** Another carrier, the fastest of the peers at this figure, or nothing: an absolute number. */
type Base = { carrier: string } | "best peer" | "nothing";

interface CarrierGoal {
  leg: string;
  figure: FigureName;
  base: Base;
}

export interface Goal {
  /** Never changes: runs are compared by it. */
  id: string;
  title: string;
  least: number;
  aim: number;
  /** Whether less is better. */
  isCost: boolean;
  unit: string;
  /** A ratio of carriers, or the name of a kernel's row: its speed as a share of C's. */
  of: CarrierGoal | { kernel: string };
}

type Of = Goal["of"];

const gain = (id: string, title: string, least: number, aim: number, of: Of): Goal => {
  return { id, title, least, aim, isCost: false, unit: "x", of };
};
const cost = (id: string, title: string, least: number, aim: number, of: Of): Goal => {
  return { id, title, least, aim, isCost: true, unit: "x", of };
};

const MAIN = "mtu1500";
const to = (carrier: string, figure: FigureName, leg = MAIN): CarrierGoal => {
  return { leg, figure, base: { carrier } };
};
const best: CarrierGoal = { leg: MAIN, figure: "tcp1", base: "best peer" };
const resident: CarrierGoal = { leg: MAIN, figure: "resident", base: "nothing" };
const idle: CarrierGoal = { leg: MAIN, figure: "idle", base: "nothing" };
const kernel = (name: string) => ({ kernel: name });

/** In the order they are shown. */
export const GOALS: readonly Goal[] = [
  gain("tcp1", "TCP 1 stream / kernel VXLAN", 0.65, 0.9, to("vxlan", "tcp1")),
  gain(
    "tcp1-cubic",
    "TCP 1 stream, CUBIC at once / kernel VXLAN",
    0.65,
    0.9,
    to("vxlan", "tcp1cubic"),
  ),
  gain("tcp4", "TCP 4 streams / kernel VXLAN", 0.4, 0.7, to("vxlan", "tcp4")),
  gain(
    "tcp1-plain",
    "TCP 1 stream, plain wire / kernel VXLAN",
    0.85,
    1.1,
    to("vxlan", "tcp1", "mtu1500-plain"),
  ),
  gain(
    "tcp1-9000",
    "TCP 1 stream, MTU 9000 / kernel VXLAN",
    1,
    1.2,
    to("vxlan", "tcp1", "mtu9000"),
  ),
  gain(
    "tcp1-9000-cubic",
    "TCP 1 stream, MTU 9000, CUBIC at once / kernel VXLAN",
    1,
    1.2,
    to("vxlan", "tcp1cubic", "mtu9000"),
  ),
  gain("udp64", "UDP 64 B flood / kernel VXLAN", 3, 5, to("vxlan", "udp64")),
  gain(
    "udp64-lossless",
    "UDP 64 B, loss <= 0.5 % / kernel VXLAN",
    2.5,
    4,
    to("vxlan", "udp64lossless"),
  ),
  gain("tcp1-peer", "TCP 1 stream / best user-space peer", 2.5, 4, best),
  cost("cpu", "CPU s/GB of daemons / wireguard-go", 0.25, 0.15, to("wireguard-go", "daemons")),
  { ...cost("resident", "resident memory per node", 120, 80, resident), unit: "MB" },
  { ...cost("idle", "idle node, of a core", 0.5, 0.25, idle), unit: "%" },
  cost("ping50", "ping p50 / C proxy", 0.9, 0.6, to("proxy", "ping50")),
  cost("ping99", "ping p99 / C proxy", 0.8, 0.4, to("proxy", "ping99")),
  gain("checksum", "checksum 1460 B, wasm / C", 0.5, 0.7, kernel("checksum 1460 B")),
  gain("segment", "segmentation, wasm / C", 0.6, 0.8, kernel("segment 60 KB TCP")),
  gain("encap", "VXLAN encap, wasm / C", 0.8, 1, kernel("encap VXLAN")),
  gain("fib", "FIB 10,000 prefixes, wasm / C", 0.9, 1, kernel("FIB 10,000 prefixes")),
  // 250,000 packets of 1,400 bytes a second where OpenSSL's RC4 runs at 800 MB/s.
  gain("mppe", "MPPE-128 1400 B / OpenSSL's RC4", 0.4375, 0.6, kernel(MPPE_BESIDE_RC4)),
];

export type Outcome = "aim" | "least" | "missed" | "not measured";

export interface Verdict {
  id: string;
  outcome: Outcome;
  /** The figure: a ratio of medians, or the median of what has no base. */
  value?: number;
  /** Range of single rounds. */
  min?: number;
  max?: number;
  /** Of single rounds, to tell a change from noise. */
  rounds: number[];
  /** What it was compared with, where that is a choice; or why there is no figure. */
  remark?: string;
}

/** A ratio (or number), and the same of each round. */
interface Measured {
  summary: Summary;
  rounds: number[];
  remark?: string;
}

/** No figure, and why. */
interface Missing {
  missing: string;
}

/** Ratios of the rounds both sides have. */
function roundRatios(own: ReadonlyMap<number, number>, base: ReadonlyMap<number, number>) {
  return [...own].flatMap(([round, value]) => {
    const other = base.get(round);
    return other === undefined || other === 0 ? [] : [value / other];
  });
}

function whyMissing(results: Results, leg: string, name: string): string {
  const absence = results.absences.find(({ carrier }) => carrier === name);
  if (absence !== undefined) return `${name}: ${absence.reason}`;
  const failure = results.failures.find((one) => one.leg === leg && one.carrier === name);
  if (failure !== undefined) return `${name}: ${failure.measure} failed: ${failure.reason}`;
  return `${name} was not part of this run`;
}

function ratioTo(results: Results, { leg, figure }: CarrierGoal, base: string): Measured | Missing {
  const name = ALL_CARRIERS.find((one) => one === base);
  if (results.values(leg, "meshd", figure).size === 0) {
    return { missing: whyMissing(results, leg, "meshd") };
  }
  const summary = name && results.ratio(leg, "meshd", figure, name);
  if (name === undefined || summary === undefined) {
    return { missing: whyMissing(results, leg, base) };
  }
  const own = results.values(leg, "meshd", figure);
  return { summary, rounds: roundRatios(own, results.values(leg, name, figure)) };
}

/** The peer with the highest median, or none. */
function bestPeer(results: Results, { leg, figure }: CarrierGoal): CarrierName | undefined {
  const of = (name: CarrierName) => results.summary(leg, name, figure)?.median ?? 0;
  const peers = results.carriers(leg).filter((name) => isPeer(name) && of(name) > 0);
  return peers.sort((a, b) => of(b) - of(a))[0];
}

function measureCarriers(results: Results, goal: CarrierGoal): Measured | Missing {
  const { leg, figure, base } = goal;
  if (base === "nothing") {
    const rounds = [...results.values(leg, "meshd", figure).values()];
    if (rounds.length === 0) return { missing: whyMissing(results, leg, "meshd") };
    return { summary: summarize(rounds), rounds };
  }
  if (base !== "best peer") {
    // What is ours is as new as we are; of another's program the version says what it can do.
    const versions = [...results.versions].filter(([name]) => name !== "proxy");
    const version = versions.find(([name]) => name === base.carrier)?.[1];
    const found = ratioTo(results, goal, base.carrier);
    return version === undefined || "missing" in found ? found : { ...found, remark: version };
  }
  const best = bestPeer(results, goal);
  if (best === undefined) return { missing: "no user-space peer was measured" };
  const remark = CARRIERS[best].title;
  const found = ratioTo(results, goal, best);
  return "missing" in found ? found : { ...found, remark };
}

/** Speed of a kernel as a share of its C twin's. */
function measureKernel(rows: readonly Row[], name: string): Measured | Missing {
  const row = rows.find((one) => one.name === name);
  if (row?.share === undefined) {
    const why = rows.length === 0 ? "the kernels were not" : "what it is compared with was not";
    return { missing: `${why} part of this run` };
  }
  const rounds = sharesOf(row.passes);
  return { summary: summarize(rounds), rounds };
}

function outcomeOf({ least, aim, isCost }: Goal, value: number): Outcome {
  const reaches = (bound: number) => (isCost ? value <= bound : value >= bound);
  if (reaches(aim)) return "aim";
  return reaches(least) ? "least" : "missed";
}

/** All goals, each with what the run says of it. */
export function judge(results: Results, rows: readonly Row[]): Verdict[] {
  return GOALS.map((goal) => {
    const { id, of } = goal;
    const found = "kernel" in of ? measureKernel(rows, of.kernel) : measureCarriers(results, of);
    if ("missing" in found) {
      return { id, outcome: "not measured", rounds: [], remark: found.missing };
    }
    const { summary, rounds, remark } = found;
    const { median: value, min, max } = summary;
    const outcome = outcomeOf(goal, value);
    return { id, outcome, value, min, max, rounds, ...(remark === undefined ? {} : { remark }) };
  });
}

const WORDS: Record<Outcome, string> = {
  ...{ aim: "aim reached", least: "reached", missed: "NOT reached" },
  "not measured": "not measured",
};

const bound = ({ isCost, unit }: Goal, value: number) =>
  `${isCost ? "<=" : ">="} ${value}${unit === "x" ? "" : ` ${unit}`}`;

function shown({ value, min, max }: Verdict): string {
  if (value === undefined || min === undefined || max === undefined) return "-";
  return `${formatNumber(value)} (${formatNumber(min)}-${formatNumber(max)})`;
}

/** A row per goal: title, figure, both bounds, and whether it reached them. */
export function goalRows(verdicts: readonly Verdict[]): string[][] {
  return GOALS.flatMap((goal) => {
    const verdict = verdicts.find(({ id }) => id === goal.id);
    if (verdict === undefined) return [];
    const bounds = [bound(goal, goal.least), bound(goal, goal.aim)];
    const remark = verdict.remark === undefined ? "" : ` (${verdict.remark})`;
    return [[goal.title, shown(verdict), ...bounds, `${WORDS[verdict.outcome]}${remark}`]];
  });
}

/** The goals as a table. */
export function formatGoals(verdicts: readonly Verdict[]): string {
  const head = ["goal", "figure", "at least", "aim", "outcome"];
  return formatTable(head, goalRows(verdicts), ["outcome"]);
}
