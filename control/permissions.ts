// Who may publish and subscribe what. Least privilege: no `$JS.API.>`, no `_INBOX.>` but for
// administrators; a consumer only under the user's own name.
import type { Permissions } from "./nats/index.js";
import { type AdminRole, namelessPaths, pathsOf } from "./roles.js";
import { agentServiceName, inboxOf, STOCK_INBOX, serviceName, subjectsOf } from "./subjects.js";

function service(name: string): string[] {
  const verbs = ["PING", "INFO", "STATS"];
  return verbs.flatMap((verb) => [
    `$SRV.${verb}`,
    `$SRV.${verb}.${name}`,
    `$SRV.${verb}.${name}.*`,
  ]);
}

/** One named consumer on a bucket: create, delete, flow control. */
function watching(bucket: string, consumer: string): string[] {
  return [
    `$JS.API.CONSUMER.CREATE.KV_${bucket}.${consumer}.>`,
    `$JS.API.CONSUMER.DELETE.KV_${bucket}.${consumer}`,
    `$JS.FC.KV_${bucket}.${consumer}.*`,
  ];
}

/** What a member may ask a controller for; PPTP accounts only where an administrator allows it. */
const memberVerbs = ["renew", "leave", "present", "pair", "feed"];

/** A member: its own records, heartbeat and requests, one consumer named after it. */
export function nodePermissions(
  mesh: string,
  nodeId: string,
  allowed: { pptpServer: boolean } = { pptpServer: false },
): Permissions {
  const subjects = subjectsOf(mesh);
  const verbs = [...memberVerbs, ...(allowed.pptpServer ? ["users"] : [])];
  return {
    publish: [
      `$KV.${subjects.bucket}.nodes.${nodeId}`,
      `$KV.${subjects.bucket}.endpoints.${nodeId}.*`,
      subjects.heartbeat(nodeId),
      // Whether another holds this node's key, too (twins.ts).
      subjects.agent(nodeId, "twin"),
      ...verbs.map((verb) => subjects.member(nodeId, verb)),
      ...watching(subjects.bucket, nodeId),
      // What the store has that the watch did not bring: one record from the stream's leader.
      `$JS.API.STREAM.MSG.GET.KV_${subjects.bucket}`,
    ],
    subscribe: [
      `${inboxOf.node(nodeId)}.>`,
      subjects.agent(nodeId, "*"),
      subjects.feed("*"),
      ...service(agentServiceName),
    ],
    replies: { max: 1, ttl_s: 30 },
  };
}

/** The key of a member whose credentials ended: it may ask for new ones and nothing else. */
export function renewalPermissions(mesh: string, nodeId: string): Permissions {
  return {
    publish: [subjectsOf(mesh).member(nodeId, "renew")],
    subscribe: [`${inboxOf.node(nodeId)}.>`],
  };
}

/** The holder of a join token: it may ask to join, and hear the answer. */
export function bootstrapPermissions(mesh: string, tokenId: string): Permissions {
  return {
    publish: [subjectsOf(mesh).join(tokenId)],
    subscribe: [`${inboxOf.token(tokenId)}.>`],
  };
}

/** A controller: grants and settings but not the nodes' own records; both buckets; the service. */
export function controllerPermissions(mesh: string, key: string): Permissions {
  const subjects = subjectsOf(mesh);
  const kinds = ["members", "names", "leases", "claims", "peers"];
  const api = [subjects.bucket, subjects.secrets].flatMap((bucket) => [
    `$JS.API.STREAM.CREATE.KV_${bucket}`,
    `$JS.API.STREAM.INFO.KV_${bucket}`,
    // To raise the number of replicas when the cluster grows.
    `$JS.API.STREAM.UPDATE.KV_${bucket}`,
    `$JS.API.STREAM.MSG.GET.KV_${bucket}`,
    ...watching(bucket, "*"),
  ]);
  return {
    publish: [
      `$KV.${subjects.bucket}.config`,
      `$KV.${subjects.bucket}.heartbeat`,
      `$KV.${subjects.bucket}.accounts`,
      `$KV.${subjects.bucket}.servers`,
      `$KV.${subjects.bucket}.trust`,
      ...kinds.map((kind) => `$KV.${subjects.bucket}.${kind}.*`),
      `$KV.${subjects.secrets}.>`,
      subjects.creation,
      subjects.controllers,
      subjects.feed(key),
      subjects.agent("*", "twin"),
      ...api,
    ],
    subscribe: [
      `${inboxOf.controller(key)}.>`,
      subjects.creation,
      subjects.controllers,
      subjects.join("*"),
      subjects.member("*", "*"),
      subjects.heartbeat("*"),
      subjects.admin(">"),
      ...service(serviceName),
    ],
    replies: { max: 1, ttl_s: 60 },
  };
}

/** Requests of an administrator: in his own name alone; without one what changes nothing. */
function asking(mesh: string, name: string, role: AdminRole): string[] {
  const subjects = subjectsOf(mesh);
  const named = role === "admin" ? [">"] : pathsOf(role);
  return [
    ...named.map((path) => subjects.adminAs(name, path)),
    ...namelessPaths.map((path) => subjects.admin(path)),
    subjects.agent("*", "status"),
    ...(role === "observer" ? [] : [subjects.agent("*", "bench")]),
  ];
}

/**
 * What an administrator watches the members' bucket with. A server cannot tell whose a consumer is,
 * nor be told which names not to allow: who may delete any keeps nodes from hearing of changes, and
 * who may make any takes the account's room for them. So only role admin, which may remove the
 * nodes as well, has what the stock client's `kv watch` asks for; others one of their own key's.
 */
function adminWatching(bucket: string, key: string, role: AdminRole): string[] {
  if (role !== "admin") return watching(bucket, key);
  const stream = `KV_${bucket}`;
  return [
    `$JS.API.CONSUMER.CREATE.${stream}`,
    `$JS.API.CONSUMER.CREATE.${stream}.>`,
    `$JS.API.CONSUMER.DELETE.${stream}.*`,
    `$JS.FC.${stream}.>`,
  ];
}

/**
 * An administrator: the admin service as far as his role goes, the agents' status and bench, and
 * the members' bucket to read and to hear. Replies may also go where the stock `nats` client
 * expects them without being told; nobody else may listen there.
 */
export function adminPermissions(
  mesh: string,
  { name, key, role }: { name: string; key: string; role: AdminRole },
): Permissions {
  const { bucket } = subjectsOf(mesh);
  const stream = `KV_${bucket}`;
  return {
    publish: [
      ...asking(mesh, name, role),
      "$SRV.>",
      "$JS.API.INFO",
      "$JS.API.STREAM.NAMES",
      "$JS.API.STREAM.LIST",
      `$JS.API.STREAM.INFO.${stream}`,
      `$JS.API.STREAM.MSG.GET.${stream}`,
      `$JS.API.DIRECT.GET.${stream}.>`,
      `$JS.API.CONSUMER.INFO.${stream}.*`,
      ...adminWatching(bucket, key, role),
    ],
    // Writes as they come: a watch that needs no consumer.
    subscribe: [`${inboxOf.admin(key)}.>`, `${STOCK_INBOX}.>`, `$KV.${bucket}.>`],
  };
}

/**
 * The system account's user: sends changed account JWTs (revocations) to the servers, asks each how
 * its JetStream is, and takes one that is lost for good out of the cluster.
 */
export function systemPermissions(key: string): Permissions {
  return {
    publish: [
      "$SYS.REQ.CLAIMS.UPDATE",
      "$SYS.REQ.ACCOUNT.*.CLAIMS.LOOKUP",
      "$SYS.REQ.SERVER.PING.JSZ",
      "$JS.API.SERVER.REMOVE",
    ],
    subscribe: [`${inboxOf.controller(key)}.>`],
  };
}
