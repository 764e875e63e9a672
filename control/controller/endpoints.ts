// The controller's endpoints: joins, members' requests, administrators' requests. Each answers only
// into the inbox of the one whose permissions allow the request's subject, so that nobody can make
// a controller write elsewhere.
import { ControlError } from "../errors.js";
import type { Endpoint, Message } from "../nats/index.js";
import { inboxOf, isOwnReply, subjectsOf } from "../subjects.js";
import { adminEndpoints } from "./admin-endpoints.js";
import { adminListRequests } from "./admin-list-requests.js";
import type { Admins } from "./admins.js";
import type { Admission } from "./admission.js";
import { Adoption } from "./adoption.js";
import { underItsAsk } from "./asks.js";
import type { ClusterStatus } from "./cluster-status.js";
import type { Confidant } from "./confidant.js";
import type { Core } from "./core.js";
import type { FeedServer } from "./feed.js";
import type { Members } from "./members.js";
import { adminRequests, type Requests, readArguments } from "./requests.js";
import type { Tokens } from "./tokens.js";
import { userRequests } from "./user-requests.js";
import type { Users } from "./users.js";
import type { Roster } from "./views.js";

export interface Parts {
  admission: Admission;
  members: Members;
  tokens: Tokens;
  admins: Admins;
  users: Users;
  confidant: Confidant;
  feed: FeedServer;
  roster: Roster;
  clusterStatus(): Promise<ClusterStatus>;
  /** Resolves when this controller has seen all that the store has now. */
  caughtUp(): Promise<void>;
}

export function endpointsOf(core: Core, parts: Parts): Endpoint[] {
  const subjects = subjectsOf(core.mesh.name);
  const refuseReply = (request: Message): undefined => {
    core.log("reply-refused", { subject: request.subject, reply: request.reply ?? "" });
    return undefined;
  };
  const caughtUp = afterCatchUp(parts, {
    ...adminRequests(core, parts.members, parts.tokens, parts.roster),
    ...userRequests(parts.users),
    ...adminListRequests(parts.admins, core.mesh),
  });
  // Asked when half of it is away: it waits for no store.
  const requests = { ...caughtUp, "cluster.status": () => parts.clusterStatus() };
  const adoption = new Adoption(core);
  const joining: Endpoint = {
    name: "join",
    subject: subjects.join("*"),
    handle: async (request) => {
      const tokenId = request.subject.split(".").at(-1) ?? "";
      if (!isOwnReply(request.reply, inboxOf.token(tokenId))) return refuseReply(request);
      return join(core, parts.admission, tokenId, request.text);
    },
  };
  const member: Endpoint = {
    name: "member",
    subject: subjects.member("*", "*"),
    handle: async (request) => {
      const [nodeId = "", verb = ""] = request.subject.split(".").slice(-2);
      if (!isOwnReply(request.reply, inboxOf.node(nodeId))) return refuseReply(request);
      if (verb === "renew") return JSON.stringify(await parts.admission.renew(nodeId));
      if (verb === "leave") return JSON.stringify(await parts.admission.leave(nodeId));
      if (verb === "present") return JSON.stringify(await adoption.adopt(nodeId, request.text));
      if (verb === "feed") return parts.feed.page(nodeId, readArguments(request.text));
      const { answers } = parts.confidant;
      const confided = Object.hasOwn(answers, verb) ? answers[verb] : undefined;
      if (confided) return JSON.stringify(await confided(nodeId, readArguments(request.text)));
      throw new ControlError("MESHD_BAD_REQUEST", `no member may ask for ${verb}`);
    },
  };
  return [joining, member, ...adminEndpoints(core, requests, parts.admins)].map(underItsAsk);
}

/** Each refusal is logged, those before the token was looked at, too. */
async function join(
  core: Core,
  admission: Admission,
  tokenId: string,
  text: string,
): Promise<string> {
  try {
    return JSON.stringify(await admission.join(tokenId, readArguments(text)));
  } catch (error) {
    const { nodeId = null, name = null } = readAsFar(text);
    core.log("join-refused", { tokenId, nodeId, name, reason: String(error).slice(0, 300) });
    throw error;
  }
}

/** What a request says of its sender, in the log alone; not checked. */
function readAsFar(text: string): { nodeId?: string; name?: string } {
  try {
    const { nodeId, name } = readArguments(text);
    const short = (value: unknown) => String(value).slice(0, 64);
    return { nodeId: short(nodeId), name: short(name) };
  } catch {
    return {};
  }
}

/** An administrator finds what he did a moment ago, whichever controller answers. */
function afterCatchUp(parts: Parts, requests: Requests): Requests {
  const waiting = Object.entries(requests).map(([path, answer]): [string, Requests[string]] => [
    path,
    async (...asked) => {
      await parts.caughtUp();
      return answer(...asked);
    },
  ]);
  return Object.fromEntries(waiting);
}
