// Calls of the hot path, seen from the control thread: slots and ids, commands and frames by the
// inject ring of the one worker that has all calls, keys by way of the key region.
import { randomInt } from "node:crypto";
import {
  CALL_ACKS_RECEIVED,
  CALL_ACKS_SENT,
  CALL_BAD_FRAMES,
  CALL_DUPLICATES,
  CALL_KEYS_SIZE,
  CALL_LATE,
  CALL_LOST,
  CALL_RECEIVED_BYTES,
  CALL_RECEIVED_PACKETS,
  CALL_REORDERED,
  CALL_RTT,
  CALL_SALTS,
  CALL_SENT_BYTES,
  CALL_SENT_PACKETS,
  CALL_SIZE,
  CALL_STATE,
  CALL_TIMEOUTS,
  CALL_WINDOW_DROPS,
  CALLS_IDS,
  CALLS_KEYS,
  CALLS_MAX,
  CALLS_RECORDS,
  CALLS_SALT,
  KEYS_RECEIVE_STAGED,
  KEYS_SEND_STAGED,
  OPEN_ADDRESS,
  OPEN_FAMILY,
  OPEN_MODE,
  OPEN_PEER_ID,
  OPEN_SIZE,
  OPEN_WINDOW,
  SET_NETWORK,
  SET_NONE,
  SET_OFF,
  SET_ON,
  SET_RECEIVE,
  SET_REQUIRES_MPPE,
  SET_RESET_SEND,
  SET_SEND,
  SET_SIZE,
  STAGED_BITS,
  STAGED_STATEFUL,
  WINDOW_ADVERTISED,
  WINDOW_OFF,
  WINDOW_STRICT,
} from "../../assembly/shared/calls.js";
import {
  C_CALLS_AT,
  CONTROL,
  INJECT_CALL_CLOSE,
  INJECT_CALL_FRAME,
  INJECT_CALL_OPEN,
  INJECT_CALL_SET,
  PUNT_CALL_EVENT,
  PUNT_CALL_LOST,
} from "../../assembly/shared/layout.js";
import { addressBytes, parseAddress } from "./address.js";
import type {
  CallEnd,
  CallEvent,
  CallPort,
  CallSettings,
  CallStatistics,
  MppeKeys,
  WindowMode,
} from "./call-types.js";
import { DatapathError } from "./errors.js";
import { putEntry, type RingViews } from "./punt.js";

/** Freed slots rest until so many are free, as long as there are others that never were used. */
const RESTING = 64;
/** Commands that the ring could not take yet are tried again after so long. */
const RETRY_MS = 2;
/** An LCP packet of the usual MRU, and as much again; longer is refused. */
const FRAME_MAX = 4096;
const ID_MAX = 0xffff;
const WINDOW_MAX = 0xffff;
/**
 * The commonest client says that it takes three packets, takes any number, and acknowledges up to
 * half a second later: no TCP gets on by that.
 */
const WINDOW_LEAST = 64;

const MODES: Readonly<Record<WindowMode, number>> = {
  advertised: WINDOW_ADVERTISED,
  strict: WINDOW_STRICT,
  off: WINDOW_OFF,
};

interface Slot {
  localId: number;
  state: "reserved" | "open";
  address: string;
}

/** Something for the ring; keys wait here until the place for them is free. */
interface Command {
  kind: number;
  slot: number;
  localId: number;
  data: Uint8Array;
  receive?: MppeKeys;
  send?: MppeKeys;
}

export interface CallParts extends RingViews {
  counters: BigUint64Array;
  /** Block of the worker that has all calls; undefined while there is none. */
  worker: () => number | undefined;
  wake: () => void;
  /** The addresses that calls come from have changed. */
  onAddresses: () => void;
}

function bad(why: string): DatapathError {
  return new DatapathError("MESHD_BAD_OPTION", `${why}: mend the caller`);
}

/** The calls of one datapath. */
export class Calls implements CallPort {
  readonly #parts: CallParts;
  readonly #view: DataView;
  readonly #at: number;
  readonly #slots = new Map<number, Slot>();
  /** Slots given back, the oldest first; slots from #fresh on were never used. */
  readonly #free: number[] = [];
  #fresh = 0;
  readonly #salts = new Map<number, number>();
  #waiting: Command[] = [];
  #retry: NodeJS.Timeout | undefined;
  #frameHandler: Parameters<CallPort["onFrame"]>[0] = () => undefined;
  #eventHandler: Parameters<CallPort["onEvent"]>[0] = () => undefined;

  constructor(parts: CallParts) {
    this.#parts = parts;
    const { buffer, byteOffset, byteLength } = parts.bytes;
    this.#view = new DataView(buffer, byteOffset, byteLength);
    this.#at = this.#view.getUint32(CONTROL + C_CALLS_AT, true);
  }

  reserve(): { slot: number; localId: number } {
    const slot = this.#takeSlot();
    if (slot === undefined) {
      const why = `all ${CALLS_MAX} calls are in use`;
      throw new DatapathError("MESHD_CALLS_FULL", `${why}: end some, or use another node`);
    }
    const salt = ((this.#salts.get(slot) ?? randomInt(CALL_SALTS)) % CALL_SALTS) + 1;
    this.#salts.set(slot, salt);
    const localId = slot + salt * CALLS_SALT;
    this.#slots.set(slot, { localId, state: "reserved", address: "" });
    return { slot, localId };
  }

  /** The oldest free slot whose last call the worker has ended, or one that never had a call. */
  #takeSlot(): number | undefined {
    const isFreshLeft = this.#fresh < CALLS_MAX;
    if (isFreshLeft && this.#free.length <= RESTING) return this.#fresh++;
    const index = this.#free.findIndex((slot) => !this.#isRunning(slot));
    if (index >= 0) return this.#free.splice(index, 1)[0];
    return isFreshLeft ? this.#fresh++ : undefined;
  }

  #isRunning(slot: number): boolean {
    return Atomics.load(this.#parts.words, (this.#recordAt(slot) + CALL_STATE) >>> 2) !== 0;
  }

  open(slot: number, end: CallEnd): void {
    const call = this.#slot(slot);
    const address = parseAddress(end.address);
    if (address === undefined) throw bad(`${end.address} is no address`);
    if (!(end.peerId >= 0 && end.peerId <= ID_MAX)) throw bad(`call id ${end.peerId}`);
    const data = new Uint8Array(OPEN_SIZE);
    const view = new DataView(data.buffer);
    view.setUint16(OPEN_PEER_ID, end.peerId, true);
    data[OPEN_MODE] = MODES[end.windowMode];
    data[OPEN_FAMILY] = address.family;
    const least = end.windowMode === "strict" ? 1 : WINDOW_LEAST;
    const window = Math.min(Math.max(Math.trunc(end.window) || 1, least), WINDOW_MAX);
    view.setUint32(OPEN_WINDOW, window, true);
    data.set(addressBytes(address), OPEN_ADDRESS);
    call.state = "open";
    call.address = end.address;
    this.#command({ kind: INJECT_CALL_OPEN, slot, localId: call.localId, data });
    this.#setId(slot, call.localId);
    this.#parts.onAddresses();
  }

  send(slot: number, frame: Uint8Array): boolean {
    const call = this.#slots.get(slot);
    if (call?.state !== "open" || frame.length < 2 || frame.length > FRAME_MAX) return false;
    if (this.#waiting.length > 0) return false;
    const { localId } = call;
    return this.#put({ kind: INJECT_CALL_FRAME, slot, localId, data: frame });
  }

  set(slot: number, settings: Partial<CallSettings>): void {
    const { localId, state } = this.#slot(slot);
    if (state !== "open") throw bad(`call in slot ${slot} is not open`);
    const { receive, send } = settings;
    const data = new Uint8Array(SET_SIZE);
    data[SET_NETWORK] = flag(settings.phase === undefined ? undefined : settings.phase !== "link");
    data[SET_REQUIRES_MPPE] = flag(settings.requireMppe);
    data[SET_RECEIVE] = flag(receive === undefined ? undefined : receive !== null);
    data[SET_SEND] = flag(send === undefined ? undefined : send !== null);
    data[SET_RESET_SEND] = flag(settings.resetSend);
    this.#command({
      ...{ kind: INJECT_CALL_SET, slot, localId, data },
      ...(receive ? { receive: checkedKeys(receive) } : {}),
      ...(send ? { send: checkedKeys(send) } : {}),
    });
  }

  close(slot: number): void {
    const call = this.#slots.get(slot);
    if (call === undefined) return;
    this.#slots.delete(slot);
    this.#free.push(slot);
    if (call.state !== "open") return;
    this.#setId(slot, 0);
    const { localId } = call;
    this.#command({ kind: INJECT_CALL_CLOSE, slot, localId, data: new Uint8Array(0) });
    this.#parts.onAddresses();
  }

  statistics(slot: number): CallStatistics {
    const record = this.#recordAt(slot);
    const read = (offset: number) =>
      Number(Atomics.load(this.#parts.counters, (record + offset) / 8));
    const rtt_us = this.#view.getFloat64(record + CALL_RTT, true);
    return {
      sentPackets: read(CALL_SENT_PACKETS),
      sentBytes: read(CALL_SENT_BYTES),
      receivedPackets: read(CALL_RECEIVED_PACKETS),
      receivedBytes: read(CALL_RECEIVED_BYTES),
      lost: read(CALL_LOST),
      late: read(CALL_LATE),
      duplicates: read(CALL_DUPLICATES),
      reordered: read(CALL_REORDERED),
      windowDrops: read(CALL_WINDOW_DROPS),
      timeouts: read(CALL_TIMEOUTS),
      acksSent: read(CALL_ACKS_SENT),
      acksReceived: read(CALL_ACKS_RECEIVED),
      badFrames: read(CALL_BAD_FRAMES),
      rtt_us: rtt_us > 0 ? Math.round(rtt_us) : null,
    };
  }

  onFrame(handler: (slot: number, frame: Uint8Array) => void): void {
    this.#frameHandler = handler;
  }

  onEvent(handler: (slot: number, event: CallEvent) => void): void {
    this.#eventHandler = handler;
  }

  /** Underlay addresses that calls come from. */
  addresses(): string[] {
    return [...this.#slots.values()].flatMap(({ state, address }) =>
      state === "open" ? [address] : [],
    );
  }

  /** What the hot path punted for a call; that of a call that has ended is nobody's. */
  take(packet: Uint8Array, kind: number, localId: number): void {
    const slot = localId % CALLS_SALT;
    const call = this.#slots.get(slot);
    if (call?.state !== "open" || call.localId !== localId) return;
    if (kind === PUNT_CALL_EVENT) this.#eventHandler(slot, "needs-reset");
    else if (kind === PUNT_CALL_LOST) this.#eventHandler(slot, "lost-keys");
    else this.#frameHandler(slot, packet);
  }

  /** A worker has come to own the calls: what waits for it goes there. */
  resume(): void {
    this.#flush();
  }

  /** Forgets what waits. */
  stop(): void {
    clearTimeout(this.#retry);
    for (const { receive, send } of this.#waiting) {
      receive?.startKey.fill(0);
      send?.startKey.fill(0);
    }
    this.#waiting = [];
  }

  #slot(slot: number): Slot {
    const call = this.#slots.get(slot);
    if (call === undefined) throw bad(`slot ${slot} is not reserved`);
    return call;
  }

  #recordAt(slot: number): number {
    return this.#at + CALLS_RECORDS + slot * CALL_SIZE;
  }

  #keysAt(slot: number): number {
    return this.#at + CALLS_KEYS + slot * CALL_KEYS_SIZE;
  }

  /** Packets to an id are taken from now on, as soon as its call is opened; 0: none are. */
  #setId(slot: number, localId: number): void {
    this.#view.setUint16(this.#at + CALLS_IDS + 2 * slot, localId, true);
  }

  /** Puts a command behind all others; what the ring cannot take waits. */
  #command(command: Command): void {
    this.#waiting.push(command);
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    while (this.#waiting[0] !== undefined && this.#put(this.#waiting[0])) this.#waiting.shift();
    if (this.#waiting.length === 0 || this.#parts.worker() === undefined) return;
    this.#parts.wake();
    this.#retry = setTimeout(() => this.#flush(), RETRY_MS);
  }

  /** Whether the worker has taken the keys that were given to it before. */
  #isKeyPlaceFree(at: number): boolean {
    return Atomics.load(this.#parts.words, (at + STAGED_BITS) >>> 2) === 0;
  }

  #put(command: Command): boolean {
    const base = this.#parts.worker();
    if (base === undefined) return false;
    const { kind, slot, localId, data, receive, send } = command;
    const keys = this.#keysAt(slot);
    if (receive && !this.#isKeyPlaceFree(keys + KEYS_RECEIVE_STAGED)) return false;
    if (send && !this.#isKeyPlaceFree(keys + KEYS_SEND_STAGED)) return false;
    if (
      !putEntry(this.#parts, base, { kind, peer: localId, generation: 0, data }, () => {
        if (receive) this.#stage(keys + KEYS_RECEIVE_STAGED, receive);
        if (send) this.#stage(keys + KEYS_SEND_STAGED, send);
      })
    ) {
      return false;
    }
    this.#parts.wake();
    return true;
  }

  #stage(at: number, { startKey, bits, stateful }: MppeKeys): void {
    this.#parts.bytes.set(startKey.subarray(0, STAGED_BITS), at);
    this.#view.setUint32(at + STAGED_STATEFUL, Number(stateful), true);
    Atomics.store(this.#parts.words, (at + STAGED_BITS) >>> 2, bits);
    startKey.fill(0);
  }
}

function flag(value: boolean | undefined): number {
  if (value === undefined) return SET_NONE;
  return value ? SET_ON : SET_OFF;
}

function checkedKeys(keys: MppeKeys): MppeKeys {
  const isRight = keys.startKey.length === STAGED_BITS && [40, 56, 128].includes(keys.bits);
  if (!isRight) throw bad(`an MPPE key of ${keys.startKey.length} bytes, ${keys.bits} bits`);
  return { ...keys, startKey: keys.startKey.slice() };
}
