// LCP's options (RFC 1661 section 6, RFC 1662 section 7.1): MRU, ACCM, authentication, magic number
// with loop detection, PFC, ACFC. Everything else - multilink, callback, quality - is rejected.

import type { AuthMethod } from "./auth/index.js";
import { AUTH_OPTION, authMethodOf } from "./auth/index.js";
import type { Answer, Layer } from "./automaton.js";
import type { Opinion } from "./judge.js";
import { judge } from "./judge.js";
import type { LinkOptions } from "./types.js";
import type { Option, Packet } from "./wire.js";
import { be16, be32, bytesOf, Code, DEFAULT_MRU, Protocol } from "./wire.js";

const Lcp = { MRU: 1, ACCM: 2, AUTH: 3, MAGIC: 5, PFC: 7, ACFC: 8 } as const;
/** Less than this is nobody's maximum: the peer is asked for at least so much. */
const MRU_MIN = 128;
/** Requests with our own magic number, after which the line is a loop. */
const LOOPS_MAX = 5;
const ACCM_DEFAULT = 0xffffffff;
const NOTHING = new Uint8Array(0);

export interface LcpEvents {
  up(): void;
  down(): void;
  finished(): void;
  /** Negotiation cannot go well: the link is to end. */
  fatal(reason: string): void;
  /** Echo, Protocol-Reject, Identification and the like; only while open. */
  packet(packet: Packet): void;
  /** The peer said what it is (RFC 1570). */
  identified(text: Uint8Array): void;
}

/** What holds for the peer: its last acknowledged request. */
export interface LcpPeer {
  mru: number;
  accm: number;
  magic: number;
  pfc: boolean;
  acfc: boolean;
  /** What it asks of us. */
  auth: AuthMethod | null;
}

const defaultPeer = (): LcpPeer => ({
  ...{ mru: DEFAULT_MRU, accm: ACCM_DEFAULT, magic: 0, pfc: false, acfc: false, auth: null },
});

export class LcpLayer implements Layer {
  readonly protocol = Protocol.LCP;
  peer = defaultPeer();
  /** Our magic number, 0 when the peer does not want one. */
  magic = 0;
  /** What we ask the peer for (authenticator). */
  auth: AuthMethod | null = null;
  #tried = new Set<AuthMethod>();
  #wishes = new Set<number>();
  #mru: number;
  #loops = 0;

  constructor(
    private readonly options: LinkOptions,
    private readonly random: (count: number) => Uint8Array,
    private readonly events: LcpEvents,
  ) {
    this.#mru = options.mru;
  }

  reset(): void {
    this.peer = defaultPeer();
    this.magic = this.#newMagic();
    this.#mru = this.options.mru;
    this.#wishes = new Set([Lcp.MRU, Lcp.MAGIC]);
    if (this.options.pfc !== false) this.#wishes.add(Lcp.PFC);
    if (this.options.acfc !== false) this.#wishes.add(Lcp.ACFC);
    this.#tried.clear();
    this.auth = this.#isAuthenticator() ? this.#nextMethod(null) : null;
  }

  request(): Option[] {
    const wanted: Option[] = [];
    const add = (type: number, value: Uint8Array) => {
      if (this.#wishes.has(type)) wanted.push({ type, value });
    };
    add(Lcp.MRU, bytesOf(this.#mru, 2));
    if (this.auth !== null) wanted.push({ type: Lcp.AUTH, value: AUTH_OPTION[this.auth] });
    add(Lcp.MAGIC, bytesOf(this.magic, 4));
    add(Lcp.PFC, NOTHING);
    add(Lcp.ACFC, NOTHING);
    return wanted;
  }

  judge(options: readonly Option[], mayNak: boolean): Answer {
    const magic = options.find(({ type, value }) => type === Lcp.MAGIC && value.length === 4);
    // Our own request that came back: nothing but a new number tells a loop from a coincidence.
    if (magic !== undefined && this.magic !== 0 && be32(magic.value, 0) === this.magic) {
      this.#looped();
      const value = bytesOf(this.#newMagic(), 4);
      return { code: Code.CONFIGURE_NAK, options: [{ type: Lcp.MAGIC, value }] };
    }
    return judge(options, (option) => this.#opinion(option), [], mayNak);
  }

  acking(options: readonly Option[]): void {
    this.peer = defaultPeer();
    for (const { type, value } of options) {
      if (type === Lcp.MRU) this.peer.mru = be16(value, 0);
      if (type === Lcp.ACCM) this.peer.accm = be32(value, 0);
      if (type === Lcp.MAGIC) this.peer.magic = be32(value, 0);
      if (type === Lcp.PFC) this.peer.pfc = true;
      if (type === Lcp.ACFC) this.peer.acfc = true;
      if (type === Lcp.AUTH) this.peer.auth = authMethodOf(value);
    }
  }

  acked(): boolean {
    return true;
  }

  naked(options: readonly Option[]): void {
    for (const { type, value } of options) {
      if (type === Lcp.AUTH && this.auth !== null) this.#otherMethod(authMethodOf(value));
      if (type === Lcp.MAGIC) this.magic = this.#newMagic();
      if (type === Lcp.PFC || type === Lcp.ACFC) this.#wishes.delete(type);
      if (type === Lcp.MRU && value.length === 2) {
        const mru = be16(value, 0);
        // Less is fine. More is not ours to promise.
        if (mru >= MRU_MIN && mru < this.#mru) this.#mru = mru;
      }
    }
  }

  rejected(options: readonly Option[]): void {
    for (const { type } of options) {
      this.#wishes.delete(type);
      if (type === Lcp.MAGIC) this.magic = 0;
      if (type === Lcp.AUTH) this.events.fatal("the peer refuses to authenticate");
    }
  }

  knows(packet: Packet): boolean {
    if (packet.code === Code.IDENTIFICATION) this.events.identified(packet.data.subarray(4));
    return packet.code >= Code.PROTOCOL_REJECT && packet.code <= Code.TIME_REMAINING;
  }

  extended(packet: Packet): void {
    this.events.packet(packet);
  }

  up(): void {
    this.#loops = 0;
    this.events.up();
  }

  down(): void {
    this.events.down();
  }

  finished(): void {
    this.events.finished();
  }

  #isAuthenticator(): boolean {
    return this.options.auth.role === "authenticator";
  }

  /** Wrong lengths are rejected like unknown options: there is no right value to offer. */
  #opinion({ type, value }: Option): Opinion {
    if (type === Lcp.MRU && value.length === 2) {
      return be16(value, 0) >= MRU_MIN ? "ack" : bytesOf(MRU_MIN, 2);
    }
    if (type === Lcp.ACCM && value.length === 4) return "ack";
    if (type === Lcp.MAGIC && value.length === 4) {
      return be32(value, 0) !== 0 ? "ack" : bytesOf(this.#newMagic(), 4);
    }
    if ((type === Lcp.PFC || type === Lcp.ACFC) && value.length === 0) return "ack";
    if (type === Lcp.AUTH && !this.#isAuthenticator()) return this.#aboutAuth(value);
    return "reject";
  }

  /** The peer wants proof by a method: ours or, as a Nak, our best one. */
  #aboutAuth(value: Uint8Array): Opinion {
    const { methods } = this.options.auth;
    const method = authMethodOf(value);
    if (method !== null && methods.includes(method)) return "ack";
    const best = methods[0];
    return best === undefined ? "reject" : AUTH_OPTION[best];
  }

  #otherMethod(suggested: AuthMethod | null): void {
    this.auth = this.#nextMethod(suggested);
    if (this.auth === null) {
      this.events.fatal("the peer agrees to none of our authentication methods");
    }
  }

  /** The suggested method if it is ours, else the next one; none twice in one negotiation. */
  #nextMethod(suggested: AuthMethod | null): AuthMethod | null {
    const left = this.options.auth.methods.filter((method) => !this.#tried.has(method));
    const next = left.find((method) => method === suggested) ?? left[0] ?? null;
    if (next !== null) this.#tried.add(next);
    return next;
  }

  #newMagic(): number {
    // Zero means "none" (RFC 1661 section 6.4).
    return be32(this.random(4), 0) || 1;
  }

  #looped(): void {
    this.#loops += 1;
    if (this.#loops >= LOOPS_MAX) this.events.fatal("the line is looped back to us");
  }
}
