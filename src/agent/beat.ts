// The agent's one regular timer: whatever has to be looked at now and then is looked at together,
// once a second, so that an idle node wakes once for all of it.

/** The shortest period there is. */
export const BEAT_MS = 1000;

export class Beat {
  private readonly lookers = new Map<() => void, number>();
  private timer: NodeJS.Timeout | undefined;
  private turn = 0;

  /** Calls `look` in every `turns`-th second from now on. Known already: at the new rhythm. */
  add(look: () => void, turns = 1): void {
    this.lookers.set(look, turns);
    this.timer ??= setInterval(() => this.beat(), BEAT_MS);
  }

  remove(look: () => void): void {
    this.lookers.delete(look);
    if (this.lookers.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** One turn. The timer calls it; a test may. */
  beat(): void {
    this.turn += 1;
    for (const [look, turns] of [...this.lookers]) {
      if (this.turn % turns === 0) look();
    }
  }
}
