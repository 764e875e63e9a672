// The table of results: a row for each cell and direction, printed as Markdown.
import type { Family, Protocol } from "./protocols.js";

/** Titles and widths: fixed, so that parts printed by several suites are one table. */
const COLUMNS: readonly (readonly [string, number])[] = [
  ["Protocol", 26],
  ["Inner", 5],
  ["Underlay", 8],
  ["Direction", 15],
  ["Ping up to", 10],
  ["TCP by SHA-256", 14],
  ["UDP packets", 11],
  ["Frames at fault", 15],
];

/** What was seen in one direction of a cell; "FAIL" where it was not reached. */
export interface Row<D extends string = string> {
  cell: { protocol: Pick<Protocol, "name" | "title">; inner: Family; underlay: Family };
  direction: D;
  ping: string;
  tcp: string;
  udp: string;
  capture: string;
}

function cellsOf({ cell, direction, ping, tcp, udp, capture }: Row): string[] {
  const families = [`IPv${cell.inner}`, `IPv${cell.underlay}`];
  const { name, title = name } = cell.protocol;
  return [title, ...families, direction, ping, tcp, udp, capture];
}

/** Markdown. */
export function formatMatrix(rows: readonly Row[]): string {
  const line = (texts: readonly string[]) => {
    const padded = COLUMNS.map(([, width], at) => (texts[at] ?? "").padEnd(width));
    return `| ${padded.join(" | ")} |\n`;
  };
  const head = COLUMNS.map(([title]) => title);
  const rule = COLUMNS.map(([, width]) => "-".repeat(width));
  return [head, rule, ...rows.map(cellsOf)].map(line).join("");
}
