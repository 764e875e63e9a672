// What an agent answers administrators by way of NATS: its status, and the verbs it was given.
import { answerAdmin, serviceError } from "../answer.js";
import type { Membership } from "../membership.js";
import { type Link, serve } from "../nats/index.js";
import { agentServiceName, subjectsOf } from "../subjects.js";
import type { MemberSessionOptions } from "./session-options.js";

/** @returns ends the service. */
export function serveAgent(
  link: Link,
  membership: Membership,
  options: Pick<MemberSessionOptions, "status" | "answers" | "version">,
): Promise<() => Promise<void>> {
  const { mesh, name, nodeId } = membership;
  const status = async () => options.status?.() ?? {};
  const answers = Object.entries({ ...options.answers, status });
  return serve(link, {
    name: agentServiceName,
    version: options.version ?? "0.1.0",
    description: `agent of node ${name}`,
    metadata: { nodeId, name, mesh },
    endpoints: answers.map(([verb, answer]) => ({
      name: verb,
      subject: subjectsOf(mesh).agent(nodeId, verb),
      handle: (request) => answerAdmin(request, answer),
    })),
    toError: serviceError,
  });
}
