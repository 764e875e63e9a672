// Sets the wall clock of this process forward or back; timers and the monotonic clock go on as they
// are, as when somebody sets a host's clock.
const Real = Date;
let offset_ms = 0;

class Shifted extends Real {
  constructor(...args: unknown[]) {
    if (args.length === 0) super(Real.now() + offset_ms);
    else super(...(args as [number]));
  }
  static override now(): number {
    return Real.now() + offset_ms;
  }
}

/** Moves the clock by so much, on top of what it was moved before. */
export function moveClock(by_ms: number): void {
  offset_ms += by_ms;
  globalThis.Date = Shifted as DateConstructor;
}

/** The clock as it is. */
export function trueClock(): void {
  offset_ms = 0;
  globalThis.Date = Real;
}
