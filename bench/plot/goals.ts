// The goals as bars on one scale: 1 is what is asked for at least, further right is better.
import { GOALS, type Goal, type Outcome, type Verdict } from "../support/goals.js";
import { formatNumber } from "../support/table.js";
import { FAINT, INK, OF_OUTCOME, RULE } from "./colours.js";
import { label, line, rectangle } from "./svg.js";

const ROW = 26;
const BAR = 14;
const LABELS = 330;
const BARS = 480;
const LEFT = 30;
/** Space above the first row: heading, key, numbers of the scale. */
const HEAD = 70;
const TICKS = [0.25, 0.5, 1, 2, 4];
const LOW = 0.25;
const HIGH = 4;

const SAYS: Record<Outcome, string> = {
  aim: "aim reached",
  least: "at least reached",
  missed: "not reached",
  "not measured": "not measured",
};

/** How often a value is what is asked for at least; of costs, the other way round. */
function progress({ least, isCost }: Goal, value: number): number {
  return isCost ? least / value : value / least;
}

/** Place on the logarithmic scale, in pixels; what is beyond its ends stands at them. */
function place(share: number): number {
  const within = Math.min(HIGH, Math.max(LOW, share));
  return LEFT + LABELS + (Math.log(within / LOW) / Math.log(HIGH / LOW)) * BARS;
}

function scale(top: number, bottom: number): string[] {
  return TICKS.flatMap((tick) => {
    const x = place(tick);
    const stroke = tick === 1 ? INK : RULE;
    const text = tick === 1 ? "at least" : `${tick}x`;
    const look = { fill: tick === 1 ? INK : FAINT, "font-size": 11, "text-anchor": "middle" };
    return [line(x, top, x, bottom, { stroke }), label(x, top - 6, text, look)];
  });
}

function bounds({ least, aim, isCost, unit }: Goal): string {
  const sign = isCost ? "\u2264" : "\u2265";
  return `(${sign} ${least}${unit === "x" ? "" : ` ${unit}`}, aim ${aim})`;
}

function bar(goal: Goal, verdict: Verdict, top: number): string[] {
  const { value, min, max } = verdict;
  const right = LEFT + LABELS + BARS + 12;
  const base = top + ROW / 2 + 4;
  if (value === undefined || min === undefined || max === undefined) {
    return [label(right, base, "not measured", { fill: FAINT })];
  }
  const [x, end, y] = [place(LOW), place(progress(goal, value)), top + (ROW - BAR) / 2];
  const ends = [min, max].map((one) => place(progress(goal, one)));
  const middle = top + ROW / 2;
  return [
    rectangle(x, y, Math.max(2, end - x), BAR, { fill: OF_OUTCOME[verdict.outcome] }),
    line(Math.min(...ends), middle, Math.max(...ends), middle, { stroke: INK }),
    label(right, base, formatNumber(value), { "font-weight": "bold", fill: INK }),
    label(right + 62, base, bounds(goal), { fill: FAINT }),
  ];
}

function row(goal: Goal, verdict: Verdict, top: number): string[] {
  const aim = place(goal.isCost ? goal.least / goal.aim : goal.aim / goal.least);
  const mark = { stroke: OF_OUTCOME.aim, "stroke-width": 3 };
  return [
    label(LEFT + LABELS - 14, top + ROW / 2 + 4, goal.title, { "text-anchor": "end", fill: INK }),
    ...bar(goal, verdict, top),
    line(aim, top + 4, aim, top + ROW - 4, mark),
  ];
}

function key(y: number): string[] {
  const names: Outcome[] = ["aim", "least", "missed"];
  const boxes = names.flatMap((name, index) => {
    const x = LEFT + LABELS + index * 150;
    const box = rectangle(x, y - 10, 12, 12, { fill: OF_OUTCOME[name] });
    return [box, label(x + 18, y, SAYS[name], { fill: FAINT, "font-size": 12 })];
  });
  const x = LEFT + LABELS + names.length * 150;
  const mark = line(x + 5, y - 11, x + 5, y + 3, { stroke: OF_OUTCOME.aim, "stroke-width": 3 });
  const rounds = line(x + 70, y - 4, x + 92, y - 4, { stroke: INK });
  const small = { fill: FAINT, "font-size": 12 };
  return [
    ...boxes,
    mark,
    label(x + 14, y, "aim", small),
    rounds,
    label(x + 98, y, "rounds", small),
  ];
}

/** The goals from `top` on; @returns the drawing and where it ends. */
export function drawGoals(verdicts: readonly Verdict[], top: number) {
  const first = top + HEAD;
  const known = GOALS.flatMap((goal) => {
    const verdict = verdicts.find(({ id }) => id === goal.id);
    return verdict === undefined ? [] : [{ goal, verdict }];
  });
  const bottom = first + known.length * ROW;
  const rows = known.flatMap(({ goal, verdict }, index) => row(goal, verdict, first + index * ROW));
  const heading = label(LEFT, top + 18, "Goals", { "font-size": 17, "font-weight": "bold" });
  const parts = [heading, ...key(top + 18), ...scale(first - 4, bottom), ...rows];
  return { parts, bottom };
}
