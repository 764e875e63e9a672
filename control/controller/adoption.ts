// What members hand back after the store lost it: signed records, never older ones, and from each
// member only so many in a time.
import { fieldsOf } from "../check.js";
import { ControlError } from "../errors.js";
import { batchCount_max } from "../member/index.js";
import { Allowance, members_max } from "./allowance.js";
import type { Core } from "./core.js";
import { readArguments } from "./requests.js";
import { Sparing } from "./sparing.js";

/** Records of one member at once: all of a mesh of thousands. Then so many a second. */
const records_max = 20_000;
const records_s = 200;
const said_ms = 10_000;

export class Adoption {
  readonly #core: Core;
  readonly #allowance: Allowance;
  readonly #said = new Sparing(said_ms, members_max);
  #refused = 0;

  constructor(core: Core, allowance = new Allowance(records_max, records_s)) {
    this.#core = core;
    this.#allowance = allowance;
  }

  /** MESHD_BAD_REQUEST; MESHD_TOO_MANY: the member waits, and another may hand the same back. */
  async adopt(nodeId: string, text: string): Promise<{ adopted: number }> {
    const { records } = readArguments(text);
    if (!Array.isArray(records) || records.length > batchCount_max) {
      const what = `records: a list of at most ${batchCount_max} is needed`;
      throw new ControlError("MESHD_BAD_REQUEST", what);
    }
    if (!this.#allowance.take(nodeId, Math.max(records.length, 1))) this.#refuse(nodeId);
    let adopted = 0;
    for (const one of records) {
      const { key, value } = fieldsOf(one, "a record");
      if (typeof key !== "string" || typeof value !== "string") continue;
      const was = await this.#core.store.adopt(key, value);
      if (was === null) continue;
      adopted++;
      this.#core.losses.handedBack(key, was, nodeId);
    }
    if (adopted > 0) this.#core.log("records-adopted", { adopted, by: nodeId });
    return { adopted };
  }

  #refuse(nodeId: string): never {
    this.#refused++;
    if (this.#said.isDue(nodeId)) {
      this.#core.log("present-refused", { nodeId, refused: this.#refused });
    }
    const what =
      `this node handed back ${records_max} records and more in a short time, and only ` +
      `${records_s} a second are looked at; wait, or let another node hand them back`;
    throw new ControlError("MESHD_TOO_MANY", what);
  }
}
