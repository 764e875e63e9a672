// CCP (RFC 1962) with MPPE alone (RFC 3078). A Configure-Request says what its sender can receive;
// keys for receiving are set before our Configure-Ack leaves, for the peer may send at once.
import type { StartKeys } from "./auth/index.js";
import type { Answer, Layer } from "./automaton.js";
import type { Opinion } from "./judge.js";
import { judge } from "./judge.js";
import type { MppeMode } from "./mppe-option.js";
import { allowedBits, bestMode, MPPE_OPTION, modeOf, readMppe, writeMppe } from "./mppe-option.js";
import type { CallSettings, MppeBits, MppeOptions } from "./types.js";
import type { Option, Packet } from "./wire.js";
import { Code, Protocol } from "./wire.js";

export interface CcpEvents {
  settings(settings: Partial<CallSettings>): void;
  /** Open; null: both sides agreed to do without. */
  up(mode: MppeMode | null): void;
  down(): void;
  finished(): void;
  fatal(reason: string): void;
  /** Agreed on once more, but the keys have been used. */
  stale(): void;
  /** Reset-Request or Reset-Ack. */
  reset(packet: Packet): void;
}

export class CcpLayer implements Layer {
  readonly protocol = Protocol.CCP;
  #options: MppeOptions;
  /** Strengths that we still offer, empty: none. */
  #offered: MppeBits[] = [];
  #stateful = false;
  /** What the peer may send by, once it agreed. */
  #receive: MppeMode | null = null;
  /** What we send by: the peer's acknowledged request. */
  #send: MppeMode | null = null;
  /** The peer went on to the network after our last Configure-Ack. */
  #hasGoneOn = false;
  /** What the hot path decrypts by. */
  #installed: MppeMode | null = null;
  /** Packets may have left under these keys. */
  #isUsed = false;

  /** @param keys of a strength, null where the authentication yielded none */
  constructor(
    options: MppeOptions,
    private readonly keys: (bits: MppeBits) => StartKeys | null,
    private readonly events: CcpEvents,
  ) {
    this.#options = { ...options, bits: options.bits.filter((bits) => keys(bits) !== null) };
  }

  /** Whether there is anything to negotiate. */
  get hasKeys(): boolean {
    return this.#options.bits.length > 0;
  }

  /** Whether what we send goes on from packet to packet, so that a loss breaks it. */
  get sendsStateful(): boolean {
    return this.#send?.stateful === true;
  }

  reset(): void {
    this.#offered = allowedBits(this.#options);
    this.#stateful = this.#options.stateful;
    this.#receive = null;
    this.#send = null;
    this.#installed = null;
    this.#hasGoneOn = false;
  }

  /** The peer sent what comes after encryption. */
  wentOn(): void {
    this.#hasGoneOn = true;
  }

  /** Packets pass from now on. */
  passes(): void {
    this.#isUsed = true;
  }

  /**
   * pppd begins with IPCP when its CCP is open, and ends the link when that is negotiated anew: if
   * its Ack alone is missing, and both directions are the same, it is taken as given.
   */
  hasImplied(): boolean {
    const asked = this.request()[0];
    const mode = asked === undefined ? null : modeOf(asked.value);
    return this.#hasGoneOn && mode !== null && isSameMode(mode, this.#send);
  }

  request(): Option[] {
    if (this.#offered.length === 0) return [];
    return [{ type: MPPE_OPTION, value: writeMppe(this.#offered, this.#stateful) }];
  }

  judge(options: readonly Option[], mayNak: boolean): Answer {
    const missing = this.#options.required ? [this.#best()] : [];
    return judge(options, (option) => this.#opinion(option), missing, mayNak);
  }

  acking(options: readonly Option[]): void {
    const first = options[0];
    this.#send = first === undefined ? null : modeOf(first.value);
    this.#hasGoneOn = false;
    // As long as the peer has not agreed to ours, the same both ways is the likely outcome.
    this.#install(this.#receive ?? this.#send);
  }

  acked(options: readonly Option[]): boolean {
    const first = options[0];
    if (first === undefined) return true;
    this.#receive = modeOf(first.value);
    if (this.#receive !== null) return true;
    // It agreed to several strengths: that names no key. It is asked for the strongest alone.
    this.#offered = this.#offered.slice(0, 1);
    return false;
  }

  naked(options: readonly Option[]): void {
    const option = options.find(({ type }) => type === MPPE_OPTION);
    const offer = option === undefined ? null : readMppe(option.value);
    if (offer === null) return;
    const mode = bestMode(offer, this.#options);
    if (mode === null) {
      this.#refused("the peer wants no encryption that we allow");
      return;
    }
    this.#offered = [mode.bits];
    this.#stateful = mode.stateful;
  }

  rejected(): void {
    this.#refused("the peer rejects encryption");
  }

  knows(packet: Packet): boolean {
    return packet.code === Code.RESET_REQUEST || packet.code === Code.RESET_ACK;
  }

  extended(packet: Packet): void {
    if (this.knows(packet)) this.events.reset(packet);
  }

  up(): void {
    const send = this.#send;
    if (this.#options.required && (this.#receive === null || send === null)) {
      this.events.fatal("encryption is required and the peer does without");
      return;
    }
    // The keys are those of the proof: to begin with them anew would send a second packet under
    // each key stream, and both could be read. A new proof gives new ones.
    if (this.#isUsed && send !== null) {
      this.events.stale();
      return;
    }
    if (!isSameMode(this.#installed, this.#receive)) this.#install(this.#receive);
    this.events.settings({ send: send === null ? null : this.#keysOf(send, "send") });
    this.events.up(weaker(this.#receive, send));
  }

  down(): void {
    this.events.settings({ send: null, receive: null });
    this.events.down();
  }

  finished(): void {
    this.events.finished();
  }

  /** Exactly one strength, never compression; where nothing is common, our best. */
  #opinion({ type, value }: Option): Opinion {
    const offer = type === MPPE_OPTION ? readMppe(value) : null;
    if (offer === null || offer.bits.length === 0) return "reject";
    const mode = bestMode(offer, this.#options);
    if (mode === null) return this.#best().value;
    const isExact = offer.bits.length === 1 && !offer.hasMore && offer.stateful === mode.stateful;
    return isExact ? "ack" : writeMppe([mode.bits], mode.stateful);
  }

  #best(): Option {
    const bits = allowedBits(this.#options).slice(0, 1);
    return { type: MPPE_OPTION, value: writeMppe(bits, this.#stateful) };
  }

  #refused(reason: string): void {
    this.#offered = [];
    if (this.#options.required) this.events.fatal(reason);
  }

  #install(mode: MppeMode | null): void {
    this.#installed = mode;
    this.events.settings({ receive: mode === null ? null : this.#keysOf(mode, "receive") });
  }

  #keysOf(mode: MppeMode, direction: "send" | "receive"): CallSettings["send"] {
    const keys = this.keys(mode.bits);
    return keys === null ? null : { startKey: keys[direction], ...mode };
  }
}

function isSameMode(a: MppeMode | null, b: MppeMode | null): boolean {
  return a?.bits === b?.bits && a?.stateful === b?.stateful;
}

/** For listings: a link is as strong as its weaker direction. */
function weaker(a: MppeMode | null, b: MppeMode | null): MppeMode | null {
  if (a === null || b === null) return null;
  return { bits: Math.min(a.bits, b.bits) as MppeBits, stateful: a.stateful || b.stateful };
}
