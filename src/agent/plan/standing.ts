// Who stands at which underlay address: the outer source tells peers apart, so that nobody may
// stand where another does. Nearly always all stand apart: then a change is looked at alone.
import type { ClaimRecord, MeshSnapshot } from "../../../control/index.js";
import { canonicalAddress } from "../prefix.js";
import { changedKeys, differenceOf } from "./changes.js";
import type { OwnerPart } from "./owner-parts.js";
import type { Candidate, Report } from "./peers.js";
import { byText } from "./routes.js";
import type { LocalFacts } from "./types.js";

/** Somebody to whom something can be sent. */
export interface Present extends OwnerPart {
  candidate: Candidate;
}

export const byOwner = (a: OwnerPart, b: OwnerPart) => byText(a.owner, b.owner);

type Claims = ReadonlyMap<string, ClaimRecord>;

/** Who may stand at an address: the member that claimed it, else members, else static peers. */
function rankOf(claims: Claims, { claimed, nodeId }: Candidate): number {
  if (claimed === null) return 3;
  const claim = claims.get(claimed);
  if (claim === undefined) return 2;
  return claim.nodeId === nodeId ? 1 : 4;
}

/** Remembers where all stand while nobody stands in another's place. */
export class Standing {
  #isApart = false;
  #own = "";
  #claims: Claims = new Map();
  #present: readonly Present[] = [];
  readonly #at = new Map<string, Candidate>();
  /** By what each would claim. */
  readonly #claiming = new Map<string, Candidate>();

  /** Whether nobody stands where another does, at `own`, or where nobody may. */
  isApart(own: string, claims: Claims, present: readonly Present[]): boolean {
    const isKnown = this.#isApart && own === this.#own;
    const changed = isKnown ? changedKeys(this.#claims, claims) : null;
    const { gone, come } =
      changed === null ? this.#beginAnew(present) : differenceOf(this.#present, present, byOwner);
    this.#own = own;
    this.#claims = claims;
    this.#present = present;
    for (const { candidate } of gone) this.#remove(candidate);
    this.#isApart =
      come.every(({ candidate }) => this.#add(candidate)) &&
      (changed ?? []).every((key) => this.#isGood(this.#claiming.get(key)));
    return this.#isApart;
  }

  #beginAnew(present: readonly Present[]): { gone: readonly Present[]; come: readonly Present[] } {
    this.#at.clear();
    this.#claiming.clear();
    return { gone: [], come: present };
  }

  #remove({ address, claimed }: Candidate): void {
    this.#at.delete(address);
    if (claimed !== null) this.#claiming.delete(claimed);
  }

  /** False: it is in somebody's way. */
  #add(candidate: Candidate): boolean {
    const { address, claimed, isInPool } = candidate;
    if (isInPool || address === this.#own || this.#at.has(address)) return false;
    this.#at.set(address, candidate);
    if (claimed !== null) this.#claiming.set(claimed, candidate);
    return this.#isGood(candidate);
  }

  #isGood(candidate: Candidate | undefined): boolean {
    return candidate === undefined || rankOf(this.#claims, candidate) !== 4;
  }
}

function recordOf(candidate: Candidate): string {
  return candidate.kind === "member" ? `nodes.${candidate.nodeId}` : `peers.${candidate.name}`;
}

/**
 * Leaves one per underlay address, none at our own, and none inside a pool: its tunnel would run
 * through the tunnel. `present` is in the order of owners, and so is the result.
 */
export function settleAddresses(
  { claims }: MeshSnapshot,
  local: LocalFacts,
  present: readonly Present[],
  standing: Standing,
  report: Report,
): readonly Present[] {
  const own = canonicalAddress(local.underlay.address);
  if (standing.isApart(own, claims, present)) return present;
  const holders = new Map<string, string>([[own, "this node"]]);
  const ranked = present
    .map((one) => ({ one, rank: rankOf(claims, one.candidate) }))
    .sort((a, b) => a.rank - b.rank || byOwner(a.one, b.one));
  const settled = ranked.filter(({ one: { candidate }, rank }) => {
    const { address, name } = candidate;
    const holder = rank === 4 ? "another node" : holders.get(address);
    if (holder !== undefined) {
      const why = `${name}: underlay address ${address} belongs to ${holder}: not routed`;
      report("MESHD_ADDRESS_CLAIMED", recordOf(candidate), why);
      return false;
    }
    if (candidate.isInPool) {
      const why = `${name}: underlay address ${address} lies inside a pool: not routed`;
      report("MESHD_UNDERLAY_IN_POOL", recordOf(candidate), why);
      return false;
    }
    holders.set(address, name);
    return true;
  });
  return settled.map(({ one }) => one).sort(byOwner);
}
