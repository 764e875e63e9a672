// Which session record a tunnel has: one for each underlay address, the same in every generation of
// the tables, so that its numbers go on.
import { C_SESSIONS_AT, CONTROL } from "../../assembly/shared/layout.js";
import { SESSION_SIZE } from "../../assembly/shared/tables.js";

/** Gives records to underlay addresses and takes them back when nobody has the address any more. */
export class Sessions {
  readonly #bytes: Uint8Array;
  readonly #at: number;
  readonly #records = new Map<string, number>();
  #free: number[] = [];
  /** Given back by the newest generation; workers may still be using the one before. */
  #resting: number[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = view.getUint32(CONTROL + C_SESSIONS_AT, true);
  }

  /**
   * Keeps the records of these addresses, and no others. What is given back now is given out again
   * from the next call on. There are as many records as peers, and half as many rest at most.
   */
  keep(addresses: ReadonlySet<string>): void {
    this.#free.push(...this.#resting);
    this.#resting = [];
    for (const [address, record] of this.#records) {
      if (addresses.has(address)) continue;
      this.#records.delete(address);
      this.#resting.push(record);
    }
  }

  /** Address in memory of an underlay address's record; a new one is of zeros. */
  of(address: string): number {
    const known = this.#records.get(address);
    if (known !== undefined) return this.#addressOf(known);
    const record = this.#free.pop() ?? this.#records.size + this.#resting.length;
    this.#records.set(address, record);
    const at = this.#addressOf(record);
    this.#bytes.fill(0, at, at + SESSION_SIZE);
    return at;
  }

  #addressOf(record: number): number {
    return this.#at + record * SESSION_SIZE;
  }
}
