// Every subject and bucket name of a mesh, and the inbox prefix of each kind of user.

export const serviceName = "meshd";
export const agentServiceName = "meshd-agent";

/** Subjects of one mesh; `mesh` is its name (one DNS label). */
export function subjectsOf(mesh: string) {
  return {
    /** Bucket that members may read. */
    bucket: mesh,
    /** Bucket for controllers alone. */
    secrets: `${mesh}-secrets`,
    /** Where controllers agree on who makes the buckets. */
    creation: `${mesh}.creation`,
    /** Where controllers tell one another that they live. */
    controllers: `${mesh}.controllers`,
    join: (tokenId: string) => `${mesh}.join.${tokenId}`,
    /** What a controller publishes of the members' bucket. */
    feed: (controllerId: string) => `${mesh}.feed.${controllerId}`,
    /** Requests of a member to the controllers: renew, leave. */
    member: (nodeId: string, verb: string) => `${mesh}.node.${nodeId}.${verb}`,
    heartbeat: (nodeId: string) => `${mesh}.heartbeat.${nodeId}`,
    agent: (nodeId: string, verb: string) => `${mesh}.agent.${nodeId}.${verb}`,
    /** Without a name: what changes nothing. */
    admin: (path: string) => `${mesh}.admin.${path}`,
    /** In the name of an administrator, who alone may publish it. */
    adminAs: (name: string, path: string) => `${mesh}.admin.${name}.${path}`,
  };
}

/** Inbox prefixes name their owner, so that nobody can read another's replies. */
export const inboxOf = {
  node: (nodeId: string) => `_INBOX_${nodeId}`,
  token: (tokenId: string) => `_INBOX_TOKEN_${tokenId}`,
  controller: (key: string) => `_INBOX_CTL_${key}`,
  admin: (key: string) => `_INBOX_ADMIN_${key}`,
};

/** Where the stock `nats` client wants its replies; administrators alone may listen there. */
export const STOCK_INBOX = "_INBOX";

const plainReply = /^[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)+$/;

/**
 * True when a reply subject lies below the inbox of the one who may publish the request: a
 * responder that answers anywhere else can be made to write on its requester's behalf (a confused
 * deputy).
 */
export function isOwnReply(reply: string | undefined, inbox: string): boolean {
  return reply !== undefined && plainReply.test(reply) && reply.startsWith(`${inbox}.`);
}

/** True when a reply subject lies below some controller's inbox. */
export function isControllerReply(reply: string | undefined): boolean {
  return reply !== undefined && plainReply.test(reply) && reply.startsWith(inboxOf.controller("U"));
}

/** True when a reply subject lies below some administrator's inbox. */
export function isAdminReply(reply: string | undefined): boolean {
  if (reply === undefined || !plainReply.test(reply)) return false;
  return reply.startsWith(`${STOCK_INBOX}.`) || /^_INBOX_ADMIN_U[A-Z2-7]{55}\./.test(reply);
}
