// How many calls may wait for a proof, and how many a user may have. Who proved nothing takes no
// places from those who did: where there are too many, the oldest of the same sort goes.

export interface CrowdLimits {
  /** Calls of one source whose other end has proved nothing yet: users', and a member's. */
  unprovenOfSource: number;
  unprovenOfMember: number;
  /** Of all sources. */
  unproven: number;
  /** Sessions of one user: each takes an address that a pod could have. */
  ofUser: number;
  /** Calls of users; the other places are for members and dials. */
  dialIns: number;
}

export const CROWD_LIMITS: CrowdLimits = {
  unprovenOfSource: 16,
  unprovenOfMember: 4,
  unproven: 256,
  ofUser: 8,
  dialIns: 768,
};

/** What of a session counts. */
export interface Counted {
  kind: "dial-in" | "dial-out" | "pair";
  underlay: string;
  isProven: boolean;
  user: string | null;
}

/** Whether one more user's call has no place. */
export function isFull(all: Iterable<Counted>, limits: CrowdLimits = CROWD_LIMITS): boolean {
  return [...all].filter(({ kind }) => kind === "dial-in").length >= limits.dialIns;
}

/** Whom a newcomer, which is the last of `all`, sends away before it proves anything. */
export function crowdedOut<T extends Counted>(
  all: Iterable<T>,
  newcomer: T,
  limits: CrowdLimits = CROWD_LIMITS,
): T | null {
  const unproven = [...all].filter(({ isProven }) => !isProven);
  const same = unproven.filter(
    ({ kind, underlay }) => kind === newcomer.kind && underlay === newcomer.underlay,
  );
  const { unprovenOfMember, unprovenOfSource } = limits;
  const most = newcomer.kind === "pair" ? unprovenOfMember : unprovenOfSource;
  if (same.length > most) return same[0] ?? null;
  return unproven.length > limits.unproven ? (unproven[0] ?? null) : null;
}

/** The oldest session of a user who has one too many. */
export function oldestOf<T extends Counted>(
  all: Iterable<T>,
  user: string,
  limits: CrowdLimits = CROWD_LIMITS,
): T | null {
  const name = user.toLowerCase();
  const own = [...all].filter((one) => one.user?.toLowerCase() === name);
  return own.length > limits.ofUser ? (own[0] ?? null) : null;
}
