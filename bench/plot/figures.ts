// One small chart per figure: a bar for every carrier, with the range of its rounds.
import { FIGURES, type FigureName } from "../measure/measures.js";
import { CARRIERS, type CarrierName } from "../network/carriers.js";
import type { FigureRecord } from "../support/record.js";
import { formatNumber } from "../support/table.js";
import { FAINT, INK, OTHERS, OURS } from "./colours.js";
import { label, line, rectangle } from "./svg.js";

const COLUMNS = 2;
const WIDTH = 570;
const LEFT = 30;
const NAMES = 130;
const BARS = 230;
const ROW = 20;
const BAR = 12;
const HEAD = 34;
const GAP = 18;
const BASE: CarrierName = "vxlan";

const isOurs = (name: CarrierName) => name.startsWith("meshd");

function valueText(record: FigureRecord, base: FigureRecord | undefined): string {
  const value = formatNumber(record.median);
  if (base === undefined || base.median === 0 || record.carrier === BASE) return value;
  return `${value}  (${(record.median / base.median).toFixed(2)} of VXLAN)`;
}

function bar(record: FigureRecord, most: number, x: number, y: number): string[] {
  const width = (value: number) => (value / most) * BARS;
  const middle = y + ROW / 2;
  const fill = isOurs(record.carrier) ? OURS : OTHERS;
  const begin = x + NAMES;
  const range = [begin + width(record.min), begin + width(record.max)] as const;
  return [
    rectangle(begin, y + (ROW - BAR) / 2, Math.max(1, width(record.median)), BAR, { fill }),
    line(range[0], middle, range[1], middle, { stroke: INK }),
  ];
}

function chart(figure: FigureName, records: readonly FigureRecord[], x: number, y: number) {
  const { title, unit } = FIGURES[figure];
  const most = Math.max(...records.map(({ max }) => max), Number.MIN_VALUE);
  const base = records.find(({ carrier }) => carrier === BASE);
  const heading = `${title.trim()}, ${unit}`;
  const rows = records.flatMap((record, index) => {
    const top = y + HEAD + index * ROW;
    const weight = isOurs(record.carrier) ? "bold" : "normal";
    const look = { "font-size": 12, "font-weight": weight, fill: INK };
    const name = CARRIERS[record.carrier]?.title ?? record.carrier;
    return [
      label(x + NAMES - 8, top + 14, name, { ...look, "text-anchor": "end" }),
      ...bar(record, most, x, top),
      label(x + NAMES + BARS + 10, top + 14, valueText(record, base), look),
    ];
  });
  return [label(x, y + 22, heading, { "font-size": 14, "font-weight": "bold" }), ...rows];
}

const heightOf = (records: readonly FigureRecord[]) => HEAD + records.length * ROW + GAP;

/** Charts of a leg's figures from `top` on, in two columns; @returns them and where they end. */
export function drawFigures(all: readonly FigureRecord[], leg: string, top: number) {
  const charts = (Object.keys(FIGURES) as FigureName[])
    .map((figure) => ({
      figure,
      records: all.filter((record) => record.leg === leg && record.figure === figure),
    }))
    .filter(({ records }) => records.length > 0);
  const heading = label(LEFT, top + 18, leg, { "font-size": 17, "font-weight": "bold", fill: INK });
  const hint = { "font-size": 12, fill: FAINT };
  const parts = [heading, label(LEFT + 200, top + 18, "medians; lines: range of rounds", hint)];
  let y = top + 30;
  for (let index = 0; index < charts.length; index += COLUMNS) {
    const row = charts.slice(index, index + COLUMNS);
    row.forEach(({ figure, records }, column) => {
      parts.push(...chart(figure, records, LEFT + column * WIDTH, y));
    });
    y += Math.max(...row.map(({ records }) => heightOf(records)));
  }
  return { parts, bottom: y };
}
