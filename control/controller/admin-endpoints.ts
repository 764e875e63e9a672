// Administrators' requests: `<mesh>.admin.<name>.<path>` in a name that the server lets nobody else
// use, and `<mesh>.admin.<path>` without one for what changes nothing. Each change is logged with
// who asked for it.
import type { Fields } from "../check.js";
import { ControlError } from "../errors.js";
import type { Endpoint, Message } from "../nats/index.js";
import { isReading } from "../roles.js";
import { isAdminReply, subjectsOf } from "../subjects.js";
import type { Admins, Asker } from "./admins.js";
import type { Core } from "./core.js";
import { type Requests, readArguments } from "./requests.js";

/** Arguments that the log may have: no secret is among them. */
const logged = [
  ...["node", "name", "on", "cidr", "tokenId", "nodes", "role", "uses", "expires_s", "key"],
  ...["endpoint", "podCIDRs", "protocol", "value", "address", "expires", "disabled", "pptpServer"],
];

const nameless: Asker = { name: null, role: "observer" };

export function adminEndpoints(core: Core, requests: Requests, admins: Admins): Endpoint[] {
  const subjects = subjectsOf(core.mesh.name);
  const refuseReply = (request: Message): undefined => {
    core.log("reply-refused", { subject: request.subject, reply: request.reply ?? "" });
    return undefined;
  };
  const nameOnly = Object.keys(requests).map((path) => ({
    name: path.replace(".", "-"),
    subject: subjects.admin(path),
    handle: async (request: Message) => {
      if (!isAdminReply(request.reply)) return refuseReply(request);
      if (isReading(path)) return answerTo(requests, path, request, nameless);
      const wanted = subjects.adminAs("<your name>", path);
      const what = `${path} changes something: ask on ${wanted}, so that it is known who asked`;
      core.log("admin-refused", { path, by: null, reason: what });
      throw new ControlError("MESHD_NOT_ALLOWED", what);
    },
  }));
  const named: Endpoint = {
    name: "named",
    subject: subjects.admin("*.*.*"),
    handle: async (request) => {
      if (!isAdminReply(request.reply)) return refuseReply(request);
      const [name = "", ...words] = request.subject.split(".").slice(-3);
      return answerNamed(core, { requests, admins }, { name, path: words.join("."), request });
    },
  };
  return [...nameOnly, named];
}

/** The answer to a request in somebody's name; a change and a refusal are logged with it. */
async function answerNamed(
  core: Core,
  { requests, admins }: { requests: Requests; admins: Admins },
  { name, path, request }: { name: string; path: string; request: Message },
): Promise<string> {
  const about = { by: name, path, ...(isReading(path) ? {} : argumentsOf(request)) };
  try {
    const asker = await admins.authorize(name, path, request.reply);
    const answer = await answerTo(requests, path, request, asker);
    if (!isReading(path))
      core.log("admin-change", { ...about, byRole: asker.role, ...madeIn(answer) });
    return answer;
  } catch (error) {
    core.log("admin-refused", { ...about, reason: String(error).slice(0, 300) });
    throw error;
  }
}

async function answerTo(
  requests: Requests,
  path: string,
  request: Message,
  asker: Asker,
): Promise<string> {
  const answer = Object.hasOwn(requests, path) ? requests[path] : undefined;
  if (answer === undefined) {
    throw new ControlError("MESHD_NOT_FOUND", `no controller here knows the request ${path}`);
  }
  return JSON.stringify((await answer(readArguments(request.text), asker)) ?? null);
}

/** The id of a token that was made: by it is found who made it. */
function madeIn(answer: string): { made?: string } {
  const made = JSON.parse(answer)?.contents?.tokenId;
  return typeof made === "string" ? { made } : {};
}

function argumentsOf(request: Message): Fields {
  try {
    const fields = readArguments(request.text);
    return Object.fromEntries(
      logged.filter((one) => fields[one] !== undefined).map((one) => [one, fields[one]]),
    );
  } catch {
    return {};
  }
}
