// Two ends that open control connections to each other at the same time (RFC 2637, 3.1.3): the one
// with the higher address keeps the connection it opened, the other one gives its own up.
import { isIPv4 } from "node:net";
import { StartResult } from "./codes.js";

/** What a connection that is being opened can be told. */
export interface Opening {
  collided(): void;
}

/** Whether our address is the higher one, as an unsigned number. */
export function outranks(own: string, theirs: string): boolean {
  return Buffer.compare(addressBytes(own), addressBytes(theirs)) > 0;
}

/** The connections of this node that are being opened; one book for dialling and listening. */
export class Collisions {
  readonly #opening = new Map<string, Set<Opening>>();

  /** From the first message on until the other end's answer: returns how to take it out. */
  add(address: string, opening: Opening): () => void {
    const same = this.#opening.get(address) ?? new Set();
    this.#opening.set(address, same.add(opening));
    return () => {
      same.delete(opening);
      if (same.size === 0 && this.#opening.get(address) === same) this.#opening.delete(address);
    };
  }

  /** What to answer to a start request of `theirs`; what loses by it is closed. */
  met(own: string, theirs: string): StartResult {
    const same = this.#opening.get(theirs);
    if (same === undefined) return StartResult.OK;
    if (outranks(own, theirs)) return StartResult.ALREADY_EXISTS;
    for (const opening of [...same]) opening.collided();
    return StartResult.OK;
  }
}

/** 16 bytes, IPv4 as the last four; for comparison alone. */
function addressBytes(address: string): Buffer {
  if (isIPv4(address)) {
    return Buffer.concat([Buffer.alloc(12), Buffer.from(address.split(".").map(Number))]);
  }
  const [head = "", tail = ""] = (address.split("%")[0] ?? "").split("::");
  const words = (part: string) => (part === "" ? [] : part.split(":"));
  const first = words(head);
  const last = words(tail);
  const zeroes = Array<string>(Math.max(0, 8 - first.length - last.length)).fill("0");
  const hex = [...first, ...zeroes, ...last].map((word) => word.padStart(4, "0")).join("");
  return Buffer.from(hex.padEnd(32, "0"), "hex");
}
