// Strangers' packets and raw sockets. The hot path drops and counts them one by one; in a flood the
// sockets' own filters do it before, at an eighth of the cost, and let a few through, so that its
// end is seen. The hot path asks again who is a peer: filters may take too many, never too few.
import { filterRaw } from "node-tun";
import { INGRESS } from "../../assembly/shared/layout.js";
import { addressBytes, parseAddress } from "./address.js";
import { readDrops } from "./counters.js";
import { describe } from "./errors.js";
import type { DatapathMemory } from "./memory.js";
import type { RawReader } from "./sockets.js";

/** Packets of strangers a second from which on filters drop them. */
export const FLOOD_RATE = 1000;
/** Below this for so many looks, the hot path has them all again. */
const CALM_RATE = 250;
export const CALM_LOOKS = 10;
/** One in so many is let through meanwhile. */
export const SAMPLE = 256;

/** What a filter needs to know of a datapath. */
export interface FilteredPath {
  memory: Pick<DatapathMemory, "counters" | "bases">;
  readers: () => RawReader[];
  family: () => 4 | 6;
  log: SourceFilterParts["log"];
}

/** The one of a datapath. */
export function filterStrangers({ memory, ...path }: FilteredPath): SourceFilter {
  const { counters, bases } = memory;
  const of = (base: number) =>
    readDrops(counters, base, INGRESS, "UNKNOWN_PEER") +
    readDrops(counters, base, INGRESS, "UNKNOWN_CALL");
  return new SourceFilter({ ...path, strangers: () => bases.reduce((sum, b) => sum + of(b), 0) });
}

/** What status says of it. */
export interface SourceFilterStatus {
  /** Strangers' packets are dropped by the kernel, and one in `sample` is counted. */
  active: boolean;
  sample: number;
  /** Why there is no filter though there is a flood; "" when all is well. */
  reason: string;
}

export interface SourceFilterParts {
  /** Raw sockets that are read now. */
  readers: () => RawReader[];
  family: () => 4 | 6;
  /** Packets of strangers that were counted since the start. */
  strangers: () => number;
  log: (event: string, fields: Record<string, unknown>) => void;
  attach?: typeof filterRaw;
  /** Monotonic milliseconds. */
  now?: () => number;
}

export class SourceFilter {
  readonly #parts: Required<SourceFilterParts>;
  #peers: readonly string[] = [];
  /** Other ends of PPTP calls; one that has just begun is in no table yet. */
  #callers: readonly string[] = [];
  /** Whose packets the filters take, as they are now. */
  #installed: readonly string[] = [];
  #key = "";
  #active = false;
  #reason = "";
  #calm = 0;
  #last: { strangers: number; at_ms: number } | undefined;

  constructor(parts: SourceFilterParts) {
    this.#parts = { attach: filterRaw, now: () => performance.now(), ...parts };
  }

  status(): SourceFilterStatus {
    return { active: this.#active && this.#reason === "", sample: SAMPLE, reason: this.#reason };
  }

  /** Before tables with these peers are published: from then on they may send. */
  widen(addresses: readonly string[]): void {
    if (this.#active) this.#install([...new Set([...this.#installed, ...addresses])]);
  }

  /** After that; who is no peer any more is shut out with the next look. */
  setPeers(addresses: readonly string[]): void {
    this.#peers = addresses;
  }

  /** Whose calls there are now: what they send is taken at once. */
  setCallers(addresses: readonly string[]): void {
    this.#callers = addresses;
    this.widen(addresses);
  }

  /** Sockets were opened or closed: the next look is to put filters on all. */
  forget(): void {
    this.#key = "";
  }

  /** To be called about once a second. */
  look(): void {
    if (this.#parts.readers().length === 0) {
      this.#last = undefined;
      this.#end();
      return;
    }
    const rate = this.#rate();
    if (!this.#active) {
      if (rate < FLOOD_RATE) return;
      this.#active = true;
      this.#calm = 0;
      this.#parts.log("strangers-filtered", { rate: Math.round(rate) });
    }
    this.#calm = rate < CALM_RATE ? this.#calm + 1 : 0;
    if (this.#calm > CALM_LOOKS) this.#takeAll();
    else this.#install([...new Set([...this.#peers, ...this.#callers])]);
  }

  /** Packets of strangers a second, those that filters dropped included. */
  #rate(): number {
    const now = { strangers: this.#parts.strangers(), at_ms: this.#parts.now() };
    const before = this.#last ?? now;
    this.#last = now;
    const { active } = this.status();
    const counted = (now.strangers - before.strangers) * (active ? SAMPLE : 1);
    const seconds = (now.at_ms - before.at_ms) / 1000;
    return seconds > 0 ? counted / seconds : 0;
  }

  #install(addresses: readonly string[]): void {
    const readers = this.#parts.readers();
    const family = this.#parts.family();
    const known = addresses.flatMap((text) => {
      const address = parseAddress(text);
      return address?.family === family
        ? [addressBytes(address).subarray(0, family === 4 ? 4 : 16)]
        : [];
    });
    const sources = Buffer.concat(known);
    const key = `${readers.map(({ fd }) => fd)} ${sources.toString("base64")}`;
    if (key === this.#key) return;
    this.#key = key;
    this.#installed = addresses;
    try {
      for (const { fd, ...share } of readers) {
        this.#parts.attach(fd, {
          family,
          ...share,
          sources: new Uint8Array(sources),
          sample: SAMPLE,
        });
      }
      this.#reason = "";
    } catch (error) {
      this.#reason = `${known.length} peers fit no socket filter: ${describe(error)}`;
      this.#parts.log("strangers-not-filtered", { reason: this.#reason });
      this.#detach(readers);
    }
  }

  #takeAll(): void {
    this.#detach(this.#parts.readers());
    this.#parts.log("strangers-let-through", {});
    this.#end();
  }

  #detach(readers: readonly RawReader[]): void {
    const family = this.#parts.family();
    for (const { fd, ...share } of readers) this.#parts.attach(fd, { family, ...share });
  }

  /** Nothing is filtered any more. */
  #end(): void {
    this.#active = false;
    this.#reason = "";
    this.#key = "";
    this.#installed = [];
    this.#calm = 0;
  }
}
