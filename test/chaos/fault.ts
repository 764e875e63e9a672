// What a fault is: how it strikes, how it is known to have struck, and how it is healed.
import type { Random } from "../support/random.js";
import type { ChaosLab, Place } from "./lab.js";
import type { Traffic } from "./traffic.js";

export interface World {
  lab: ChaosLab;
  traffic: Traffic;
  /** Encapsulations that the mesh may be changed to. */
  protocols: readonly string[];
}

/** A fault that has struck. */
export interface Injury {
  /** Who suffers, and how much: for the report. */
  target: string;
  hold_ms: number;
  /** Shows that it did strike. @throws when nothing happened: such a step proves nothing */
  proof?: () => Promise<void>;
  /** Takes the cause away; the time to recover counts from its begin. */
  heal: () => Promise<void>;
}

export interface Fault {
  name: string;
  about: string;
  /**
   * control: the control plane alone is hurt, so not one packet may be lost.
   * data: packets are lost while it lasts.
   * change: an administrator's change, which may cost a moment.
   */
  hurts: "control" | "data" | "change";
  /** May be done to an operator's own lab: `lab up` and `impair --clear` heal whatever is left. */
  isSafe: boolean;
  /** Why it cannot be done here. */
  unavailable?: (world: World) => string | undefined;
  /** Lines in logs that this fault explains. */
  explains?: readonly RegExp[];
  strike: (world: World, dice: Random) => Promise<Injury>;
}

/** Between `low` and `high` seconds, to the tenth. */
export function holdFor(dice: Random, low: number, high: number): number {
  return dice.between(low * 10, high * 10) * 100;
}

export function pickNode({ lab }: World, dice: Random): string {
  return dice.pick(lab.nodeNames);
}

export function pickControl({ lab }: World, dice: Random): Place {
  return dice.pick(lab.controls);
}

/** For a proof. @throws Error */
export function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(`the fault did not strike: ${what}`);
}
