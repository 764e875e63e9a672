// How much of something each member may still ask for: fills up with time.

/** Members that are remembered. */
export const members_max = 10_000;

export class Allowance {
  readonly #left = new Map<string, { left: number; at_ms: number }>();
  constructor(
    private readonly most: number,
    private readonly each_s: number,
    private readonly now_ms: () => number = () => performance.now(),
  ) {}

  /** Takes that many from a member's; false: there are not so many, and none was taken. */
  take(member: string, count: number): boolean {
    const at_ms = this.now_ms();
    const known = this.#left.get(member);
    const grown = known ? known.left + ((at_ms - known.at_ms) / 1000) * this.each_s : this.most;
    const left = Math.min(grown, this.most);
    if (count > left) return false;
    // Full again long ago: who is not known has all.
    if (!known && this.#left.size >= members_max) this.#left.clear();
    this.#left.set(member, { left: left - count, at_ms });
    return true;
  }
}
