// A slow twin of the hot path's MPPE, written apart from it (RFC 3078, RFC 3079, node:crypto's
// SHA-1), and a room in which both are given the same packets.
import { createHash } from "node:crypto";
import {
  M_LENGTH,
  M_SESSION,
  MPPE_STAGED_BITS,
  MPPE_STAGED_SIZE,
  MPPE_STAGED_STATEFUL,
  MPPE_STATE_SIZE,
} from "../../assembly/shared/mppe.js";
import { type Kernels, openKernels } from "./kernels.js";

export type Bits = 40 | 56 | 128;

export const fromHex = (hex: string): Uint8Array =>
  Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** RC4 as the textbook has it; keys of any length. */
export class Rc4 {
  readonly #table = Uint8Array.from({ length: 256 }, (_, index) => index);
  #i = 0;
  #j = 0;

  constructor(key: Uint8Array) {
    let j = 0;
    for (let i = 0; i < 256; i++) {
      j = (j + this.#at(i) + (key[i % key.length] ?? 0)) & 255;
      this.#swap(i, j);
    }
  }

  #at(index: number): number {
    return this.#table[index & 255] ?? 0;
  }

  #swap(i: number, j: number): void {
    const before = this.#at(i);
    this.#table[i] = this.#at(j);
    this.#table[j] = before;
  }

  /** The bytes with the next ones of the key stream over them. */
  crypt(bytes: Uint8Array): Uint8Array {
    return bytes.map((byte) => {
      this.#i = (this.#i + 1) & 255;
      this.#j = (this.#j + this.#at(this.#i)) & 255;
      this.#swap(this.#i, this.#j);
      return byte ^ this.#at(this.#at(this.#i) + this.#at(this.#j));
    });
  }
}

const ZEROS = new Uint8Array(40);
const F2 = new Uint8Array(40).fill(0xf2);
const REDUCED: Record<Bits, string> = { 40: "d1269e", 56: "d1", 128: "" };

/** The session keys of one direction, one after the other. */
export class KeyChain {
  key: Uint8Array;
  readonly #start: Uint8Array;
  readonly #bits: Bits;

  constructor(start: Uint8Array, bits: Bits) {
    this.#start = start.slice(0, bits === 128 ? 16 : 8);
    this.#bits = bits;
    this.key = this.#reduce(this.#derive(this.#start));
  }

  #derive(key: Uint8Array): Uint8Array {
    const hash = createHash("sha1").update(this.#start).update(ZEROS).update(key).update(F2);
    return Uint8Array.from(hash.digest().subarray(0, this.#start.length));
  }

  #reduce(key: Uint8Array): Uint8Array {
    key.set(fromHex(REDUCED[this.#bits]));
    return key;
  }

  change(): void {
    const interim = this.#derive(this.key);
    this.key = this.#reduce(new Rc4(interim).crypt(interim));
  }
}

/** A sender without state between packets, as RFC 3078 has it. */
export class StatelessTwin {
  readonly chain: KeyChain;
  #count = 0;

  constructor(start: Uint8Array, bits: Bits) {
    this.chain = new KeyChain(start, bits);
  }

  encrypt(plain: Uint8Array): Uint8Array {
    this.chain.change();
    const word = 0x9000 | (this.#count++ & 0xfff);
    return Uint8Array.from([word >> 8, word & 255, ...new Rc4(this.chain.key).crypt(plain)]);
  }

  /** As if the next `count` packets had been sent, and lost. */
  lose(count: number): void {
    for (let i = 0; i < count; i++) this.chain.change();
    this.#count += count;
  }
}

const STAGED = 1 << 20;
const STATES = STAGED + 4096;
const PACKET = STATES + 65536;
const GUARD = 32;

/** One direction in the compiled hot path. */
export class MppeState {
  readonly at: number;
  readonly #kernels: Kernels;
  readonly #bytes: Uint8Array;

  constructor(room: { kernels: Kernels; bytes: Uint8Array }, index: number) {
    this.#kernels = room.kernels;
    this.#bytes = room.bytes;
    this.at = STATES + index * MPPE_STATE_SIZE;
  }

  /** @returns what is left where the key was staged */
  install(start: Uint8Array, bits: Bits, stateful = false): Uint8Array {
    const view = new DataView(this.#bytes.buffer);
    this.#bytes.set(start, STAGED);
    view.setUint32(STAGED + MPPE_STAGED_BITS, bits, true);
    view.setUint32(STAGED + MPPE_STAGED_STATEFUL, stateful ? 1 : 0, true);
    this.#kernels.mppeInstall(this.at, STAGED);
    return this.#bytes.slice(STAGED, STAGED + MPPE_STAGED_SIZE);
  }

  get sessionKey(): Uint8Array {
    const length = new DataView(this.#bytes.buffer).getUint32(this.at + M_LENGTH, true);
    return this.#bytes.slice(this.at + M_SESSION, this.at + M_SESSION + length);
  }

  /** All of the state's bytes. */
  get bytes(): Uint8Array {
    return this.#bytes.slice(this.at, this.at + MPPE_STATE_SIZE);
  }

  /** @throws when a byte outside of the packet changed */
  #inPlace(packet: Uint8Array, offset: number, work: (at: number) => void): Uint8Array {
    const at = PACKET + offset;
    const end = at + packet.length;
    this.#bytes.fill(0xa5, at - GUARD, end + GUARD);
    this.#bytes.set(packet, at);
    work(at);
    const around = [...this.#bytes.slice(at - GUARD, at), ...this.#bytes.slice(end, end + GUARD)];
    if (around.some((byte) => byte !== 0xa5)) throw new Error("a byte outside the packet changed");
    return this.#bytes.slice(at, end);
  }

  /** What goes on the wire for a plain text; `offset` moves it in memory. */
  encrypt(plain: Uint8Array, offset = 0): Uint8Array {
    const room = Uint8Array.from([0xa5, 0xa5, ...plain]);
    return this.#inPlace(room, offset, (at) => this.#kernels.mppeEncrypt(this.at, at, room.length));
  }

  /** @returns the plain text, or decrypt's answer when that was not 0 */
  decrypt(wire: Uint8Array, offset = 0): Uint8Array | number {
    let answer = 0;
    const bytes = this.#inPlace(wire, offset, (at) => {
      answer = this.#kernels.mppeDecrypt(this.at, at, wire.length);
    });
    return answer === 0 ? bytes.slice(2) : answer;
  }

  flushNext(): void {
    this.#kernels.mppeFlushNext(this.at);
  }

  skipped(count: number): void {
    this.#kernels.mppeSkipped(this.at, count);
  }

  erase(): void {
    this.#kernels.mppeErase(this.at);
  }
}

export interface MppeRoom {
  kernels: Kernels;
  bytes: Uint8Array;
  /** A direction of its own; it must be installed. */
  state(index: number): MppeState;
}

export function openMppe(): MppeRoom {
  const { kernels, bytes } = openKernels();
  return { kernels, bytes, state: (index) => new MppeState({ kernels, bytes }, index) };
}
