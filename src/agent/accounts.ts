// Users of PPTP and secrets of pairs as calls want them, out of the member's session.
import type { MemberSession } from "../../control/index.js";
import type { AccountSource } from "./call-keeper.js";

export function accountsOf(session: MemberSession): AccountSource {
  return {
    users: () => session.pptpUsers(),
    onUsers: (handler) => void session.on("pptp-users", handler),
    isAllowed: (snapshot) => snapshot?.members.get(session.nodeId)?.pptpServer === true,
    pairSecret: (nodeId) => session.pairSecret(nodeId),
  };
}
