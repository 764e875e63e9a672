// Keys that the records say are revoked: a controller may have ended between a removal and its
// revocation.
import type { Admins } from "./admins.js";
import type { Members } from "./members.js";
import type { Store } from "./store.js";

/** User keys with the unix seconds since when each must be revoked. */
export function owedRevocations(
  store: Store,
  admins: Admins,
  members: Members,
): { key: string; since_s: number }[] {
  const seconds = (time: string) => Math.floor(Date.parse(time) / 1000);
  const removed = members.all().filter((member) => member.state === "removed");
  const tokens = [...store.ledgers.secrets.records("tokens")];
  return [
    ...admins.owed(),
    ...removed.map((member) => ({ key: member.nodeId, since_s: seconds(member.joined) })),
    ...tokens
      .filter((token) => token.revoked)
      .map((token) => ({ key: token.bootstrapKey, since_s: seconds(token.created) })),
  ];
}
