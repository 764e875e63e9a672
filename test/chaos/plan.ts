// Which fault comes when: follows from the seed and the list of faults alone.
import { Random } from "../support/random.js";

export interface Step {
  /** From 1. */
  number: number;
  fault: string;
  /** Of this step alone, so that it does the same whatever was drawn before. */
  dice: Random;
}

const STEP_SEEDS = 0x9e37_79b1;

function shuffled(names: readonly string[], random: Random): string[] {
  const left = [...names];
  const out: string[] = [];
  while (left.length > 0) out.push(...left.splice(random.between(0, left.length - 1), 1));
  return out;
}

/** Without end: each fault once in a random order, then all again in another. */
export function* stepsOf(seed: number, names: readonly string[]): Generator<Step> {
  if (names.length === 0) return;
  const random = new Random(seed);
  let number = 0;
  for (;;) {
    for (const fault of shuffled(names, random)) {
      number += 1;
      yield { number, fault, dice: new Random((seed ^ Math.imul(number, STEP_SEEDS)) >>> 0) };
    }
  }
}
