// Takes the legs' measurements one by one: a lab per leg, its carriers side by side on one wire.
import { loadavg } from "node:os";
import { MEASURES, type Values } from "../measure/measures.js";
import {
  CARRIERS,
  type Carrier,
  type CarrierName,
  closeCarrier,
  openCarrier,
} from "../network/carriers.js";
import { type Lab, openLab } from "../network/lab.js";
import { layWire } from "../network/wire.js";
import { type Cell, cellsOf, type Leg, legTitle } from "./legs.js";
import type { Failure, Results } from "./results.js";

/** Who wants to know of what; results are filled in any case. */
export interface Listener {
  /** Whether an earlier run has measured it. */
  isDone(cell: Cell): boolean;
  /** `version`: of a carrier that is not ours. */
  onValues(cell: Cell, values: Values, version?: string): void;
  onFailure(failure: Failure): void;
}

export const listenToNobody: Listener = {
  isDone: () => false,
  onValues: () => undefined,
  onFailure: () => undefined,
};

const say = (text: string) => process.stderr.write(`${text}\n`);

function noteAbsences(legs: readonly Leg[], results: Results): void {
  const names = new Set(legs.flatMap((leg) => leg.carriers));
  for (const carrier of names) {
    const reason = CARRIERS[carrier].isAvailable();
    if (reason === undefined) continue;
    results.absences.push({ carrier, reason });
    say(`${CARRIERS[carrier].title} is left out: ${reason}`);
  }
}

/** One leg while it is measured. */
class LegRun {
  readonly #leg: Leg;
  readonly #results: Results;
  readonly #listener: Listener;
  readonly #carriers = new Map<CarrierName, Carrier>();

  constructor(leg: Leg, results: Results, listener: Listener) {
    this.#leg = leg;
    this.#results = results;
    this.#listener = listener;
  }

  #fail(cell: Omit<Failure, "reason">, error: unknown): void {
    const reason = (error instanceof Error ? error.message : `${error}`).trim();
    const failure = { ...cell, reason };
    this.#results.failures.push(failure);
    this.#listener.onFailure(failure);
    say(`${this.#leg.id}: ${cell.carrier}: ${cell.measure} FAILED: ${reason}`);
  }

  async #open(lab: Lab, name: CarrierName): Promise<void> {
    try {
      const carrier = await openCarrier(lab, name);
      this.#carriers.set(name, carrier);
      if (carrier.version !== undefined) this.#results.versions.set(name, carrier.version);
    } catch (error) {
      this.#fail({ leg: this.#leg.id, round: 0, carrier: name, measure: "set-up" }, error);
    }
  }

  async #take(lab: Lab, cell: Cell, carrier: Carrier): Promise<void> {
    try {
      const values = await MEASURES[cell.measure](lab, carrier, this.#leg.seconds);
      this.#results.add(cell, values);
      this.#listener.onValues(cell, values, carrier.version);
      const shown = Object.entries(values).map(([name, value]) => `${name} ${value.toFixed(2)}`);
      say(`${cell.leg} round ${cell.round}: ${cell.carrier}: ${shown.join(", ")}`);
    } catch (error) {
      this.#fail(cell, error);
    }
  }

  async #takeAll(lab: Lab, cells: readonly Cell[]): Promise<void> {
    let round = 0;
    for (const cell of cells) {
      if (Math.floor(cell.round) !== round) {
        round = Math.floor(cell.round);
        say(`${cell.leg} round ${round} of ${this.#leg.rounds}, load ${loadavg()[0]?.toFixed(2)}`);
      }
      const carrier = this.#carriers.get(cell.carrier);
      if (carrier !== undefined) await this.#take(lab, cell, carrier);
    }
  }

  async run(cells: readonly Cell[]): Promise<void> {
    say(`${this.#leg.id}: ${legTitle(this.#leg)}`);
    try {
      await this.#runInLab(cells);
    } catch (error) {
      this.#fail({ leg: this.#leg.id, round: 0, carrier: "meshd", measure: "lab" }, error);
    }
  }

  /** Brings everything up, takes the cells, takes everything away. */
  async #runInLab(cells: readonly Cell[]): Promise<void> {
    const lab = openLab(this.#leg.crew);
    try {
      await layWire(lab, this.#leg);
      const names = new Set(cells.map((cell) => cell.carrier));
      for (const name of this.#leg.carriers.filter((one) => names.has(one))) {
        await this.#open(lab, name);
      }
      await this.#takeAll(lab, cells);
    } finally {
      for (const carrier of this.#carriers.values()) await closeCarrier(lab, carrier);
      lab.close();
    }
  }
}

/**
 * Measures all cells of the legs that are not done yet, into `results`. What fails is noted there
 * and the run goes on: a measurement, a carrier, or a leg whose lab does not come up.
 */
export async function runLegs(
  legs: readonly Leg[],
  results: Results,
  listener: Listener = listenToNobody,
): Promise<void> {
  noteAbsences(legs, results);
  const absent = new Set(results.absences.map(({ carrier }) => carrier));
  for (const leg of legs) {
    const cells = cellsOf(leg, (cell) => listener.isDone(cell) || absent.has(cell.carrier));
    if (cells.length > 0) await new LegRun(leg, results, listener).run(cells);
  }
}
