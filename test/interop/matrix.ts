// The table of results: a row for each cell and direction, printed as Markdown.
import type { Cell } from "./scene.js";
import type { Direction } from "./traffic.js";

const HEADS = [
  ...["Protocol", "Inner", "Underlay", "Direction"],
  ...["Ping, up to", "TCP by SHA-256", "UDP packets", "Frames at fault"],
];

/** What was seen in one direction of a cell; "FAIL" where it was not reached. */
export interface Row {
  cell: Cell;
  direction: Direction;
  ping: string;
  tcp: string;
  udp: string;
  capture: string;
}

function cellsOf({ cell, direction, ping, tcp, udp, capture }: Row): string[] {
  const families = [`IPv${cell.inner}`, `IPv${cell.underlay}`];
  return [cell.protocol.name, ...families, direction, ping, tcp, udp, capture];
}

/** Markdown with columns padded to equal width. */
export function formatMatrix(rows: readonly Row[]): string {
  const lines = [HEADS, ...rows.map(cellsOf)];
  const widths = HEADS.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  const padded = lines.map((line) => line.map((text, at) => text.padEnd(widths[at] ?? 0)));
  const rule = widths.map((width) => "-".repeat(width));
  const [head = [], ...body] = padded;
  return [head, rule, ...body].map((line) => `| ${line.join(" | ")} |\n`).join("");
}
