// LCP's Echo packets (RFC 1661 section 5.8): ours while the link is open, so that a dead peer
// is noticed, and the answers to the peer's. Both carry magic numbers, which show a loop.
import type { Automaton } from "./automaton.js";
import type { Packet } from "./wire.js";
import { be32, bytesOf, Code } from "./wire.js";

/** Absent settings: silence of some 80 s ends a link. */
const DEFAULTS = { interval_ms: 20_000, failures: 3 };
const MAGIC_SIZE = 4;
const HEADER_SIZE = 4;
/** Requests in a row with our own magic number: a loop that came after negotiation. */
const LOOPS_MAX = 3;

export interface KeepAliveLink {
  automaton: Automaton;
  /** Our magic number, 0: none. */
  magic(): number;
  peerMru(): number;
  end(reason: string): void;
}

export class KeepAlive {
  #deadline: number | null = null;
  /** Requests since the last answer. */
  #open = 0;
  #lost = 0;
  #loops = 0;
  readonly #interval_ms: number | null;
  readonly #failures: number;

  /** @param settings null: never ask; undefined: as usual */
  constructor(
    settings: { interval_ms: number; failures: number } | null | undefined,
    private readonly link: KeepAliveLink,
  ) {
    this.#interval_ms = settings === null ? null : (settings ?? DEFAULTS).interval_ms;
    this.#failures = (settings ?? DEFAULTS).failures;
  }

  /** Requests that no answer followed in time. */
  get lost(): number {
    return this.#lost;
  }

  start(now_ms: number): void {
    this.#open = 0;
    this.#loops = 0;
    this.#deadline = this.#interval_ms === null ? null : now_ms + this.#interval_ms;
  }

  stop(): void {
    this.#deadline = null;
  }

  nextDeadline(): number | null {
    return this.#deadline;
  }

  tick(now_ms: number): void {
    if (this.#deadline === null || this.#interval_ms === null || now_ms < this.#deadline) return;
    if (this.#open > 0) this.#lost += 1;
    if (this.#open >= this.#failures) {
      this.link.end("the peer answers no echo any more");
      return;
    }
    this.#deadline = now_ms + this.#interval_ms;
    this.#open += 1;
    const { automaton } = this.link;
    automaton.sendPacket(Code.ECHO_REQUEST, automaton.nextId(), this.#ourMagic());
  }

  /** The peer's Echo-Reply. */
  answered(packet: Packet): void {
    if (packet.data.length >= MAGIC_SIZE) this.#open = 0;
  }

  /** The peer's Echo-Request. */
  answer(packet: Packet): void {
    if (packet.data.length < MAGIC_SIZE) return;
    const magic = this.link.magic();
    const isOurs = magic !== 0 && be32(packet.data, 0) === magic;
    this.#loops = isOurs ? this.#loops + 1 : 0;
    if (this.#loops >= LOOPS_MAX) {
      this.link.end("the line is looped back to us");
      return;
    }
    const room = Math.max(MAGIC_SIZE, this.link.peerMru() - HEADER_SIZE);
    const data = packet.data.slice(0, room);
    data.set(this.#ourMagic(), 0);
    this.link.automaton.sendPacket(Code.ECHO_REPLY, packet.id, data);
  }

  #ourMagic(): Uint8Array {
    return bytesOf(this.link.magic(), MAGIC_SIZE);
  }
}
