// When credentials count as given. nats-server ends a key's credentials by comparing their time of
// issue with the revocation's, and no two hosts' clocks agree. So both come from the key's record:
// all that is given for it until it is revoked has one time of issue, and the revocation has at
// least that.
import { keyOf } from "../keys.js";
import type { AdminRecord, MemberRecord } from "../records.js";
import type { Core, Ended } from "./core.js";

/** One that must be revoked at least up to `since_s`; where it is not, up to `at_s`. */
export interface Owed extends Ended {
  since_s: number;
}

/** Whom credentials are given to, by a record. */
export interface Holder {
  key: string;
  /** RFC 3339: when he became one. */
  began: string;
  isRemoved: boolean;
  /** Unix seconds: what was given until then is revoked. */
  revoked_s?: number;
}

/** Between two heartbeats of the controller with the fastest clock, and more. */
const unheard_s = 10;

export const secondsOf = (time: string) => Math.floor(Date.parse(time) / 1000);

export function holderOf(record: MemberRecord | AdminRecord): Holder {
  const isMember = "nodeId" in record;
  const began = isMember ? record.joined : record.created;
  const isRemoved = isMember ? record.state === "removed" : record.removed;
  const { key, revoked_s } = record;
  return { key, began, isRemoved, ...(revoked_s === undefined ? {} : { revoked_s }) };
}

/** Time of issue (unix seconds) of all that is given to one who is not removed. */
export function issuedTo(core: Core, { key, began, revoked_s }: Holder): number {
  const { revoked_s: before_s } = revokedBefore(core, key, { ...(revoked_s && { revoked_s }) });
  return Math.max(secondsOf(began), (before_s ?? 0) + 1);
}

/**
 * Up to when what somebody was given is to be revoked. Earlier versions gave credentials by the
 * clock of whichever controller: the heartbeat's serial follows the fastest of all that ever were.
 */
export function revocationOf(core: Core, holder: Holder): number {
  // Who is removed gets nothing more: what was revoked then is all there is.
  if (holder.isRemoved && holder.revoked_s !== undefined) return holder.revoked_s;
  const beat = core.store.ledgers.mesh.get(keyOf.heartbeat());
  const fastest_s = Math.floor((beat?.serial ?? 0) / 1000) + unheard_s;
  return Math.max(issuedTo(core, holder), Math.floor(Date.now() / 1000), fastest_s);
}

/** What is known of revocations of a key when its holder is given credentials anew. */
export function revokedBefore(
  core: Core,
  key: string,
  record: { revoked_s?: number } | null,
): { revoked_s?: number } {
  const revoked_s = Math.max(record?.revoked_s ?? 0, core.revokedAt(key) ?? 0);
  return revoked_s > 0 ? { revoked_s } : {};
}

/** What a record says must be revoked: a controller may have ended between its change and that. */
export function owedBy(core: Core, holder: Holder): Owed[] {
  const { key, began, isRemoved, revoked_s } = holder;
  if (revoked_s !== undefined) return [{ key, since_s: revoked_s, at_s: revoked_s }];
  // Removed by an earlier version, which did not write down when.
  return isRemoved ? [{ key, since_s: secondsOf(began), at_s: revocationOf(core, holder) }] : [];
}
