// Security identities of nodes' pods, by the index of the node's PodCIDR in its pool (ADR 0031):
// all nodes compute the same numbers from the same records. Pure.
import type { PrefixClaim } from "../overlap.js";
import { bitsOf, contains, type Prefix } from "../prefix.js";
import type { Report } from "./peers.js";

/** Numbers of one cluster; those below are reserved. */
const ALLOCATED_MIN = 256n;
const ALLOCATED_MAX = 65_535n;

/** Reserved: pods that have no number of their own. */
export const UNMANAGED = 3;

const firstOf = (prefix: Prefix): Prefix => ({ ...prefix, length: bitsOf(prefix.family) });

/** The number that pods of the node with these prefixes have; `pools` with IPv4's first. */
export function identityOf(claims: readonly PrefixClaim[], pools: readonly Prefix[]): number {
  const [pool] = pools;
  const lease = claims.find(({ kind, prefix }) => {
    return kind === "lease" && pool !== undefined && contains(pool, firstOf(prefix));
  })?.prefix;
  if (pool === undefined || lease === undefined) return UNMANAGED;
  const hostBits = BigInt(bitsOf(lease.family) - lease.length);
  const number = ALLOCATED_MIN + ((lease.value - pool.value) >> hostBits);
  return number <= ALLOCATED_MAX ? Number(number) : UNMANAGED;
}

/** As `identityOf`, where the mesh's own form carries it, else null; says when it is none. */
export function identityIn(
  { own, pools }: { own: { vni?: number | "identity" }; pools: readonly Prefix[] },
  claims: readonly PrefixClaim[],
  report: Report = () => undefined,
): number | null {
  if (own.vni !== "identity") return null;
  const identity = identityOf(claims, pools);
  if (identity === UNMANAGED) {
    const why = "this node's PodCIDR has no number of its own";
    report(
      "MESHD_IDENTITY",
      "config",
      `vni identity: ${why}: its pods say ${UNMANAGED}, unmanaged`,
    );
  }
  return identity;
}
