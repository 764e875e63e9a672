// Agents of one process share what the check of a record found: the same text under the same key is
// checked once a process. In truth each node has a processor of its own for it; here a few carry a
// thousand nodes. Also counts the signature checks that were computed.
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { rememberOpened } from "../../control/envelope.js";

/** Some ten thousand records are new while a thousand nodes join. */
const REMEMBERED = 20_000;

export const checks = { computed: 0 };

/** From now on checks are counted; `shared`: what they found is used again. */
export function countChecks(shared: boolean): void {
  rememberOpened(shared ? REMEMBERED : 0);
  const { verify } = crypto;
  const counted = (...argv: Parameters<typeof verify>) => {
    checks.computed++;
    return verify(...argv);
  };
  (crypto as { verify: unknown }).verify = counted;
  syncBuiltinESMExports();
}
