// Keys that the records say are revoked: a controller may have ended between a removal and its
// revocation.
import type { Admins } from "./admins.js";
import type { Core } from "./core.js";
import { holderOf, type Owed, owedBy, secondsOf } from "./issue.js";
import type { Members } from "./members.js";
import { revocationOfToken } from "./tokens.js";

export function owedRevocations(core: Core, admins: Admins, members: Members): Owed[] {
  const tokens = [...core.store.ledgers.secrets.records("tokens")];
  return [
    ...admins.owed(),
    ...members.all().flatMap((member) => owedBy(core, holderOf(member))),
    ...tokens
      .filter((token) => token.revoked)
      .map((token) => ({
        key: token.bootstrapKey,
        since_s: secondsOf(token.created),
        at_s: revocationOfToken(core, token),
      })),
  ];
}
