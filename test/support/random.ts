// Random numbers from a seed, so that a failing run can be run again: MESHD_FUZZ_SEED=<n>.

/** Long ranges are cut out of a pool: making every byte anew takes most of a fuzz run's time. */
const POOL_SIZE = 262_144;
const POOLED_FROM = 48;

export class Random {
  #state: number;
  #pool: Uint8Array | undefined;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** 32 random bits (Tommy Ettinger's mulberry32). */
  bits(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + (this.bits() % (high - low + 1));
  }

  /** True once in `times`. */
  once(times: number): boolean {
    return this.bits() % times === 0;
  }

  pick<T>(choices: readonly T[]): T {
    const chosen = choices[this.bits() % choices.length];
    if (chosen === undefined) throw new Error("nothing to pick from");
    return chosen;
  }

  fill(bytes: Uint8Array): Uint8Array {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.bits();
    return bytes;
  }

  /** Random bytes; ranges of different calls may share bytes. */
  bytes(length: number): Uint8Array {
    if (length < POOLED_FROM || length > POOL_SIZE / 2) return this.fill(new Uint8Array(length));
    this.#pool ??= this.fill(new Uint8Array(POOL_SIZE));
    const at = this.between(0, POOL_SIZE - length);
    return this.#pool.slice(at, at + length);
  }
}

/**
 * The seed that was asked for, or a new one; printed, because a failure is worth nothing without.
 */
export function seededRandom(what: string): Random {
  const asked = Number(process.env.MESHD_FUZZ_SEED ?? Number.NaN);
  const seed = Number.isNaN(asked) ? (Date.now() ^ (process.pid << 16)) >>> 0 : asked;
  process.stdout.write(`  ${what}: MESHD_FUZZ_SEED=${seed}\n`);
  return new Random(seed);
}
