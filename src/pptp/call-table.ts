// Which calls a control connection has, found by either end's id.
import { PptpError } from "./errors.js";
import type { Call, CallState, Role } from "./types.js";

/** A call with what only this room may change. */
export interface Entry extends Call {
  id: number;
  peerId: number;
  state: CallState;
  window: number;
  delay_ms: number;
  /** What we told them that we buffer. */
  ownWindow: number;
  speed_bps: number;
  /** We placed it. */
  ours: boolean;
  /** When we stop waiting; null while nothing is awaited. */
  deadline: number | null;
}

interface Asked {
  peerId: number;
  serial: number;
  dialed: string;
  dialing?: string;
}

const ID_MAX = 0xffff;
const SPEED_BPS = 100_000_000;

export class CallTable {
  readonly #entries = new Set<Entry>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#entries.size;
  }

  get isFull(): boolean {
    return this.#entries.size >= this.#max;
  }

  /** Peers that name no call of ours can only mean the one that we asked them to clear. */
  get onlyClearing(): Entry | undefined {
    const [only] = this.#entries;
    return this.#entries.size === 1 && only?.state === "clearing" ? only : undefined;
  }

  /** A copy: entries may go while it is worked through. */
  all(): Entry[] {
    return [...this.#entries];
  }

  add(role: Role, asked: Asked): Entry {
    const ends = { id: 0, window: 1, delay_ms: 0, ownWindow: 1, speed_bps: SPEED_BPS };
    const state: CallState = "requested";
    const entry = { dialing: "", ...asked, ...ends, role, state, ours: false, deadline: null };
    this.#entries.add(entry);
    return entry;
  }

  /** False when it was not there. */
  remove(entry: Entry): boolean {
    return this.#entries.delete(entry);
  }

  find(call: Call): Entry | undefined {
    return this.#first((entry) => entry === call);
  }

  /** By our id. A call that we did not accept yet has none. */
  byOwn(id: number): Entry | undefined {
    return this.#first((entry) => id !== 0 && entry.id === id);
  }

  /** By their id, which may be 0. Of calls that we placed it is not known before their reply. */
  byPeer(id: number, role?: Role): Entry | undefined {
    return this.#first(
      ({ state, peerId, ours, role: own }) =>
        peerId === id &&
        (role ?? own) === own &&
        state !== "offered" &&
        !(state === "clearing" && ours && peerId === 0),
    );
  }

  byAny(id: number): Entry | undefined {
    return this.byPeer(id) ?? this.byOwn(id);
  }

  /** @throws PptpError MESHD_PPTP_BAD_CALL */
  needFree(id: number): void {
    if (Number.isInteger(id) && id > 0 && id <= ID_MAX && this.byOwn(id) === undefined) return;
    throw new PptpError("MESHD_PPTP_BAD_CALL", `call id ${id} is out of range or in use`);
  }

  nextDeadline(): number | null {
    let next: number | null = null;
    for (const { deadline } of this.#entries) {
      if (deadline !== null && (next === null || deadline < next)) next = deadline;
    }
    return next;
  }

  #first(wanted: (entry: Entry) => boolean): Entry | undefined {
    for (const entry of this.#entries) if (wanted(entry)) return entry;
    return undefined;
  }
}
