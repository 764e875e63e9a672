// What a run found: kept value by value, summed up per figure, shown as a table per leg.

import { FIGURES, type FigureName, type Values } from "../measure/measures.js";
import { CARRIERS, type CarrierName } from "../network/carriers.js";
import { ALL_CARRIERS, type Cell } from "./legs.js";
import { compare, type Summary, summarize } from "./statistics.js";
import { formatNumber, formatTable } from "./table.js";

/** One value of one round. */
export interface Sample {
  leg: string;
  round: number;
  carrier: CarrierName;
  figure: FigureName;
  value: number;
}

/** A measurement that did not come to an end. */
export interface Failure {
  leg: string;
  round: number;
  carrier: CarrierName;
  /** "set-up" where the carrier itself did not come up, "lab" where nothing of the leg did. */
  measure: string;
  reason: string;
}

/** A carrier that could not take part, and why. */
export interface Absence {
  carrier: CarrierName;
  reason: string;
}

const BASE: CarrierName = "vxlan";
const ALL_FIGURES = Object.keys(FIGURES) as FigureName[];

export class Results {
  readonly samples: Sample[] = [];
  readonly failures: Failure[] = [];
  readonly absences: Absence[] = [];
  /** Of the carriers that are not ours, where they say one. */
  readonly versions = new Map<CarrierName, string>();

  add({ leg, round, carrier }: Omit<Cell, "measure">, values: Values): void {
    for (const [figure, value] of Object.entries(values)) {
      this.samples.push({ leg, round, carrier, figure: figure as FigureName, value });
    }
  }

  /** Legs of which there is any value, in the order they were measured. */
  legs(): string[] {
    return [...new Set(this.samples.map((sample) => sample.leg))];
  }

  /** Carriers with a value in a leg, in the table's order. */
  carriers(leg: string): CarrierName[] {
    const own = new Set(this.samples.filter((s) => s.leg === leg).map((s) => s.carrier));
    return ALL_CARRIERS.filter((name) => own.has(name));
  }

  /** Values by round. */
  values(leg: string, carrier: CarrierName, figure: FigureName): Map<number, number> {
    const own = this.samples.filter(
      (s) => s.leg === leg && s.carrier === carrier && s.figure === figure,
    );
    return new Map(own.map(({ round, value }) => [round, value]));
  }

  summary(leg: string, carrier: CarrierName, figure: FigureName): Summary | undefined {
    const values = [...this.values(leg, carrier, figure).values()];
    return values.length === 0 ? undefined : summarize(values);
  }

  /** Ratio of a carrier to another one, by default the kernel's VXLAN, of one leg's rounds. */
  ratio(
    leg: string,
    carrier: CarrierName,
    figure: FigureName,
    base: CarrierName = BASE,
  ): Summary | undefined {
    return compare(this.values(leg, carrier, figure), this.values(leg, base, figure));
  }

  table(leg: string): string {
    const carriers = this.carriers(leg);
    const hasRatio = carriers.includes("meshd") && carriers.includes(BASE);
    const titles = carriers.map((carrier) => CARRIERS[carrier].title);
    const head = ["", "unit", ...titles, ...(hasRatio ? ["meshd / kernel VXLAN"] : [])];
    const rows = ALL_FIGURES.flatMap((figure) => {
      const cells = carriers.map((carrier) => cell(this.summary(leg, carrier, figure)));
      if (cells.every((text) => text === "-")) return [];
      const { title, unit, isCompared } = FIGURES[figure];
      const ratio = isCompared ? ratioCell(this.ratio(leg, "meshd", figure)) : "";
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
