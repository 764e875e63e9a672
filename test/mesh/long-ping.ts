// A ping that runs while something happens, and what came of each of its packets.
import { spawnIn, until } from "../support/netns.js";

export class LongPing {
  readonly #child;
  readonly #answered = new Set<number>();
  #last = 0;
  #misses = false;
  #line = "";

  /** One packet each `interval_s`; down to a millisecond. */
  constructor(
    readonly from: string,
    readonly to: string,
    interval_s = 0.02,
  ) {
    this.#child = spawnIn(from, ["ping", "-n", "-O", "-i", `${interval_s}`, to]);
    this.#child.stdout?.on("data", (piece: Buffer) => this.#read(piece.toString("latin1")));
  }

  #read(piece: string): void {
    const lines = (this.#line + piece).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) {
      const sequence = Number(/bytes from .* icmp_seq=(\d+) /.exec(line)?.[1] ?? 0);
      if (sequence > 0) this.#answered.add(sequence);
      this.#last = Math.max(this.#last, sequence);
      this.#misses ||= line.includes("no answer yet");
    }
  }

  /** Waits for `count` more answers than there are now. */
  async answers(count: number): Promise<void> {
    const wanted = this.#answered.size + count;
    await until(`${count} more answers`, () => this.#answered.size >= wanted);
  }

  answered(): number[] {
    return [...this.#answered];
  }

  /** Waits until a packet is known to have had no answer. */
  async misses(): Promise<void> {
    await until("a packet is lost", () => this.#misses);
  }

  /** Ends it; sequence numbers without an answer, those of the last moments left out. */
  async end(): Promise<number[]> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.kill("SIGINT");
    await ended;
    const all = Array.from({ length: this.#last }, (_, index) => index + 1);
    return all.filter((sequence) => !this.#answered.has(sequence));
  }
}
