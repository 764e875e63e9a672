// What a throughput run found: kept value by value, summed up per figure, shown as a table.

import { FIGURES, type FigureName, type Values } from "../measure/measures.js";
import { CARRIERS, type CarrierName } from "../network/carriers.js";
import { compare, type Summary, summarize } from "./statistics.js";
import { formatNumber, formatTable } from "./table.js";

/** One value of one round. */
export interface Sample {
  round: number;
  carrier: CarrierName;
  figure: FigureName;
  value: number;
}

/** A measurement that did not come to an end. */
export interface Failure {
  round: number;
  carrier: CarrierName;
  measure: string;
  reason: string;
}

const BASE: CarrierName = "vxlan";

export class Results {
  readonly samples: Sample[] = [];
  readonly failures: Failure[] = [];

  add(round: number, carrier: CarrierName, values: Values): void {
    for (const [figure, value] of Object.entries(values)) {
      this.samples.push({ round, carrier, figure: figure as FigureName, value });
    }
  }

  /** Values by round. */
  values(carrier: CarrierName, figure: FigureName): Map<number, number> {
    const own = this.samples.filter((s) => s.carrier === carrier && s.figure === figure);
    return new Map(own.map(({ round, value }) => [round, value]));
  }

  summary(carrier: CarrierName, figure: FigureName): Summary | undefined {
    const values = [...this.values(carrier, figure).values()];
    return values.length === 0 ? undefined : summarize(values);
  }

  /** Ratio of a carrier to the kernel's VXLAN, of this run's rounds. */
  ratio(carrier: CarrierName, figure: FigureName): Summary | undefined {
    return compare(this.values(carrier, figure), this.values(BASE, figure));
  }

  /** Everything that was summed up, for the JSON file. */
  summaries(carriers: readonly CarrierName[]): object[] {
    return carriers.flatMap((carrier) =>
      (Object.keys(FIGURES) as FigureName[]).flatMap((figure) => {
        const summary = this.summary(carrier, figure);
        if (summary === undefined) return [];
        const ratio = FIGURES[figure].isCompared ? this.ratio(carrier, figure) : undefined;
        return [{ carrier, figure, unit: FIGURES[figure].unit, ...summary, ratio }];
      }),
    );
  }

  table(carriers: readonly CarrierName[]): string {
    const hasRatio = carriers.includes("meshd") && carriers.includes(BASE);
    const titles = carriers.map((carrier) => CARRIERS[carrier].title);
    const head = ["", "unit", ...titles, ...(hasRatio ? ["meshd / kernel VXLAN"] : [])];
    const rows = (Object.keys(FIGURES) as FigureName[]).flatMap((figure) => {
      const cells = carriers.map((carrier) => cell(this.summary(carrier, figure)));
      if (cells.every((text) => text === "-")) return [];
      const { title, unit, isCompared } = FIGURES[figure];
      const ratio = isCompared ? ratioCell(this.ratio("meshd", figure)) : "";
      return [[title, unit, ...cells, ...(hasRatio ? [ratio] : [])]];
    });
    return formatTable(head, rows);
  }
}

function cell(summary: Summary | undefined): string {
  if (summary === undefined) return "-";
  const { median, min, max, count } = summary;
  if (count === 1) return formatNumber(median);
  return `${formatNumber(median)} (${formatNumber(min)}-${formatNumber(max)})`;
}

function ratioCell(summary: Summary | undefined): string {
  if (summary === undefined) return "-";
  const { median, min, max, count } = summary;
  if (count === 1) return median.toFixed(2);
  return `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}
