// A ping that runs while something happens, and what came of each of its packets.
import { spawnIn, until } from "../support/netns.js";

export class LongPing {
  readonly #child;
  #said = "";

  /** One packet each `interval_s`; down to a millisecond. */
  constructor(
    readonly from: string,
    readonly to: string,
    interval_s = 0.02,
  ) {
    this.#child = spawnIn(from, ["ping", "-n", "-O", "-i", `${interval_s}`, to]);
    this.#child.stdout?.on("data", (piece: Buffer) => {
      this.#said += piece;
    });
  }

  /** Waits for `count` more answers than there are now. */
  async answers(count: number): Promise<void> {
    const wanted = this.answered().length + count;
    await until(`${count} more answers`, () => this.answered().length >= wanted);
  }

  answered(): number[] {
    const found = this.#said.matchAll(/bytes from .* icmp_seq=(\d+) /g);
    return [...found].map(([, sequence]) => Number(sequence));
  }

  /** Waits until a packet is known to have had no answer. */
  async misses(): Promise<void> {
    await until("a packet is lost", () => this.#said.includes("no answer yet"));
  }

  /** Ends it; sequence numbers without an answer, those of the last moments left out. */
  async end(): Promise<number[]> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.kill("SIGINT");
    await ended;
    const answered = new Set(this.answered());
    let last = 0;
    for (const sequence of answered) last = Math.max(last, sequence);
    return Array.from({ length: last }, (_, index) => index + 1).filter((n) => !answered.has(n));
  }
}
