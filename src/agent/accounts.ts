// Users of PPTP and secrets of pairs as calls want them, out of the member's session.
import type { MemberSession } from "../../control/index.js";
import type { AccountSource } from "./call-keeper.js";
import { AgentError } from "./errors.js";

/** What the session hands to this node; a controller of an earlier version hands out nothing. */
export function accountsOf({ nodeId }: Pick<MemberSession, "nodeId">): AccountSource {
  return {
    users: () => [],
    onUsers: () => undefined,
    isAllowed: () => false,
    pairSecret: (other) => {
      const why = `no controller gives ${nodeId} a secret for calls with ${other}`;
      return Promise.reject(new AgentError("MESHD_NO_NATS", why));
    },
  };
}
