// Fixed addresses of PPTP accounts: each a key of its own, taken by compare-and-set before an
// account names it. Two controllers that are asked at once give it to one of two.
import { ControlError } from "../errors.js";
import { keyOf } from "../keys.js";
import type { AddressRecord } from "../records.js";
import { type Core, unfinished_ms } from "./core.js";

/** Compare-and-set writes that another controller was faster with, in a row. */
const attempts_max = 5;

export class UserAddresses {
  readonly #core: Core;
  constructor(core: Core) {
    this.#core = core;
  }

  /** True when it was not his before; null is no address. MESHD_CONFLICT. */
  async take(user: string, address: string | null): Promise<boolean> {
    if (address === null) return false;
    const { store } = this.#core;
    let owner = "another user";
    for (let attempt = 0; attempt < attempts_max; attempt++) {
      const before = await store.read<"addresses">(keyOf.address(address));
      if (before.record?.user === user) return false;
      owner = `user ${before.record?.user}`;
      if (before.record && !(await this.#isLeftOver(before.record, before.serial))) break;
      if (await store.write(before, { address, user })) return true;
    }
    throw takenError(user, address, `is the address of ${owner}`);
  }

  /** Frees it, unless another user has it by now. */
  async drop(user: string, address: string | null): Promise<void> {
    if (address === null) return;
    await this.#core.store.change<"addresses">(keyOf.address(address), (now) =>
      now?.user === user ? null : undefined,
    );
  }

  /** A controller that ended half-way left it: its user has another or is gone, for long. */
  async #isLeftOver({ address, user }: AddressRecord, serial: number): Promise<boolean> {
    const { record } = await this.#core.store.read<"users">(keyOf.user(user));
    // Serials follow the clock (nextSerial).
    return record?.address !== address && Date.now() - serial > unfinished_ms;
  }
}

/** `why`: "is the address of a node" and the like. */
export function takenError(user: string, address: string, why: string): ControlError {
  return new ControlError("MESHD_CONFLICT", `${address} ${why}; give user ${user} another`);
}
