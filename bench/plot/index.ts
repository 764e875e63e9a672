// A run as a picture: SVG by this folder's own code, PNG of it by rsvg-convert where it is there.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { RunRecord } from "../support/record.js";
import { FAINT, INK } from "./colours.js";
import { drawFigures } from "./figures.js";
import { drawGoals } from "./goals.js";
import { label, picture } from "./svg.js";

const WIDTH = 1180;
const LEFT = 30;
const MARGIN = 24;
const CONVERTER = "rsvg-convert";

/** The picture of a run: its goals, then all figures of every leg. */
export function drawRun(record: RunRecord): string {
  const { machine } = record;
  const where = `${machine.cores} x ${machine.cpu}, Linux ${machine.kernel}, Node ${machine.node}`;
  const when = `${machine.date.slice(0, 16).replace("T", " ")} UTC, commit ${machine.commit}`;
  const parts = [
    label(LEFT, 34, "meshd: benchmarks", { "font-size": 22, "font-weight": "bold", fill: INK }),
    label(LEFT, 56, `${where}; ${when}`, { "font-size": 12, fill: FAINT }),
  ];
  const goals = drawGoals(record.goals, 72);
  parts.push(...goals.parts);
  let bottom = goals.bottom;
  for (const leg of new Set(record.figures.map((figure) => figure.leg))) {
    const drawn = drawFigures(record.figures, leg, bottom + MARGIN);
    parts.push(...drawn.parts);
    bottom = drawn.bottom;
  }
  return picture(WIDTH, Math.ceil(bottom + MARGIN), parts);
}

/** Writes BASE.svg and BASE.png. @returns what was written, and why a PNG is missing */
export function writePlots(record: RunRecord, base: string) {
  const svg = `${base}.svg`;
  writeFileSync(svg, drawRun(record));
  const argv = ["--zoom", "1.5", "--format", "png", "--output", `${base}.png`, svg];
  const done = spawnSync(CONVERTER, argv, { encoding: "utf8" });
  if (done.error === undefined && done.status === 0) return { written: [svg, `${base}.png`] };
  const reason = done.error === undefined ? done.stderr.trim() : "not installed (librsvg2-bin)";
  return { written: [svg], missing: `no PNG: ${CONVERTER}: ${reason}` };
}
