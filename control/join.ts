// Asking for membership with a token, and for new credentials with the key alone.
import { ask } from "./answer.js";
import { canonicalAddress } from "./cidr.js";
import { canonicalJson, open } from "./envelope.js";
import { ControlError, type ControlLog } from "./errors.js";
import type { Identity } from "./identity.js";
import { isLabel, keyOf } from "./keys.js";
import { checkMembership, type Membership } from "./membership.js";
import { Link, signingKey } from "./nats/index.js";
import type { MemberRecord } from "./records.js";
import { inboxOf, subjectsOf } from "./subjects.js";
import { fetchAuthority, type TrustedAuthorities } from "./tls/index.js";
import { openToken, type TokenSecrets } from "./token.js";
import { type Place, thisPlace } from "./twins.js";

export interface JoinOptions {
  identity: Identity;
  /** One DNS label. */
  name: string;
  /** Advertised underlay address and port, claimed for this node. */
  underlay: { address: string; port: number };
  /** Instead of the token's. */
  servers?: string[];
  /** Instead of the CA that the token names. */
  ca?: TrustedAuthorities;
  /** For the whole; default 30,000. */
  timeout_ms?: number;
  /** Instead of this process on this host. */
  place?: Place;
  log?: ControlLog;
}

const join_ms = 30_000;

export interface JoinRequest {
  nodeId: string;
  name: string;
  underlay: { address: string; port: number };
  /** Signatures over joinProof, base64url: by the node's key, and by the token's seed. */
  proof: string;
  tokenProof: string;
  /** Where the asker runs: no other may run with its key. Earlier versions do not say it. */
  place?: Place;
}

/** What is signed to prove node key and token, bound to mesh, token and wishes. */
export function joinProof(
  meshId: string,
  tokenId: string,
  request: Pick<JoinRequest, "nodeId" | "name" | "underlay" | "place">,
): Buffer {
  const { nodeId, name, underlay, place } = request;
  const wishes = { nodeId, name, underlay, ...(place === undefined ? {} : { place }) };
  return Buffer.from(`meshd join 1\n${canonicalJson({ meshId, tokenId, ...wishes })}`);
}

/** What a node asks with, signed by its key and the token's. */
export function joinRequest(token: TokenSecrets, options: JoinOptions): JoinRequest {
  const { name, identity, underlay, place = thisPlace(underlay.address) } = options;
  const wishes = { nodeId: identity.nodeId, name, underlay, place };
  const proof = joinProof(token.meshId, token.tokenId, wishes);
  const signed = (seed: string) => Buffer.from(signingKey(seed).sign(proof)).toString("base64url");
  return { ...wishes, proof: signed(identity.seed), tokenProof: signed(token.bootstrap.seed) };
}

/**
 * Asks a controller for membership. The same key gets the same leases again. Errors: MESHD_TOKEN_*,
 * MESHD_NAME_TAKEN, MESHD_POOL_EXHAUSTED, MESHD_ADDRESS_CLAIMED, MESHD_DUPLICATE_NODE,
 * MESHD_NO_NATS, MESHD_NO_CONTROLLER, MESHD_TIMEOUT; MESHD_TLS_MISMATCH and MESHD_TLS_MISSING,
 * before the token's credential was used, when who answers is no server of the token's mesh.
 */
export async function joinMesh(tokenText: string, options: JoinOptions): Promise<Membership> {
  const token = openToken(tokenText);
  const { name, identity } = options;
  const address = canonicalAddress(options.underlay.address);
  if (!isLabel(name)) {
    const what = `name ${JSON.stringify(name)} is not one DNS label; choose another with --name`;
    throw new ControlError("MESHD_BAD_REQUEST", what);
  }
  if (address === null) {
    const what = `underlay address ${JSON.stringify(options.underlay.address)} is no address`;
    throw new ControlError("MESHD_BAD_REQUEST", what);
  }
  const underlay = { ...options.underlay, address };
  const request = joinRequest(token, { ...options, underlay });
  options.log?.("join-asked", { mesh: token.mesh, name, nodeId: identity.nodeId });
  refuseEnded(token);
  const ca = await authoritiesFor(token, options);
  const answer = await askAsBootstrap(token, request, { ...options, ca });
  const membership = readGrants(answer, { ...token, nodeId: identity.nodeId });
  return ca === null || ca === "system" ? membership : { ...membership, ca };
}

/** The CA that the token's fingerprint stands for, unless somebody named another. */
async function authoritiesFor(
  token: TokenSecrets,
  { ca, servers = token.servers, timeout_ms = join_ms }: JoinOptions,
): Promise<TrustedAuthorities> {
  if (ca !== undefined) return ca;
  return token.ca === undefined ? null : fetchAuthority(servers, token.ca, timeout_ms);
}

function refuseEnded(token: TokenSecrets): void {
  if (token.expires === null || Date.parse(token.expires) > Date.now()) return;
  const what = `the token ended at ${token.expires}; "meshd token create" makes a new one`;
  throw new ControlError("MESHD_TOKEN_EXPIRED", what);
}

async function askAsBootstrap(
  token: TokenSecrets,
  request: JoinRequest,
  options: JoinOptions & { ca: TrustedAuthorities },
): Promise<unknown> {
  const timeout_ms = options.timeout_ms ?? join_ms;
  const link = await Link.open(
    {
      servers: options.servers ?? token.servers,
      user: () => token.bootstrap,
      ca: () => options.ca,
      inbox: inboxOf.token(token.tokenId),
      name: `meshd join ${request.name}`,
    },
    timeout_ms,
  ).catch((error: unknown) => {
    if (!(error instanceof ControlError) || error.code !== "MESHD_PERMISSION") throw error;
    const what =
      "the server does not take this token: it was used up, revoked, has ended, or is of " +
      "another mesh";
    throw new ControlError("MESHD_TOKEN_REVOKED", what, { cause: error });
  });
  const done = new AbortController();
  try {
    const subject = subjectsOf(token.mesh).join(token.tokenId);
    const answer = ask(link, subject, request, timeout_ms, { again: true });
    return await Promise.race([answer, whenRevoked(link, done.signal)]);
  } catch (cause) {
    if (!(cause instanceof ControlError) || cause.code !== "MESHD_PERMISSION") throw cause;
    const what = 'the token\'s parts do not belong together; "meshd token create" makes a new one';
    throw new ControlError("MESHD_TOKEN_INVALID", what, { cause });
  } finally {
    done.abort();
    await link.close();
  }
}

/** A token that is revoked while a join is under way: nobody waits for the end of its time. */
async function whenRevoked(link: Link, signal: AbortSignal): Promise<never> {
  try {
    return await link.whenRefused(signal);
  } catch (cause) {
    const what = "the token was revoked or has ended meanwhile; make a new one";
    throw new ControlError("MESHD_TOKEN_REVOKED", what, { cause });
  }
}

/**
 * Believes an answer only as far as the mesh's grant key signed it: what it says of membership and
 * leases must stand in the grants. MESHD_PROOF_INVALID.
 */
function readGrants(
  answer: unknown,
  trust: { meshId: string; grantKey: string; nodeId: string },
): Membership {
  try {
    const membership = checkMembership(answer);
    const { meshId, grantKey, nodeId } = trust;
    if (membership.meshId !== meshId || membership.grantKey !== grantKey) throw new Error("mesh");
    if (membership.nodeId !== nodeId) throw new Error("another node's");
    const granted = new Map<string, unknown>();
    for (const { key, value } of membership.grants) {
      const opened = open({ meshId, grantKey }, key, value);
      if (typeof opened === "string") throw new Error(`${key}: ${opened}`);
      granted.set(key, opened.record);
    }
    const member = granted.get(keyOf.member(nodeId)) as MemberRecord | undefined;
    const { name, epoch, podCIDRs } = membership;
    const said = canonicalJson({ name, epoch, podCIDRs });
    const signed = member && { name: member.name, epoch: member.epoch, podCIDRs: member.podCIDRs };
    if (said !== canonicalJson(signed ?? null)) throw new Error("not what the grant says");
    return membership;
  } catch (cause) {
    const what = "the controller's answer is not signed by this mesh or damaged; do not trust it";
    throw new ControlError("MESHD_PROOF_INVALID", what, { cause });
  }
}

/**
 * New credentials with the key alone, over a connection of their own. MESHD_REMOVED when the node
 * was removed.
 */
export async function renewMembership(
  membership: Membership,
  identity: Identity,
  options: { servers?: string[]; ca?: TrustedAuthorities; timeout_ms?: number } = {},
): Promise<Membership> {
  const timeout_ms = options.timeout_ms ?? 10_000;
  const link = await Link.open(
    {
      servers: options.servers ?? membership.servers,
      user: () => ({ jwt: membership.renewalJwt, seed: identity.seed }),
      ca: () => options.ca ?? membership.ca ?? null,
      inbox: inboxOf.node(identity.nodeId),
      name: `meshd renew ${membership.name}`,
    },
    timeout_ms,
  );
  try {
    return await renewOver(link, membership, timeout_ms);
  } finally {
    await link.close();
  }
}

/** The same over a connection that is there. MESHD_PROOF_INVALID: the old ones are kept. */
export async function renewOver(
  link: Link,
  membership: Membership,
  timeout_ms: number,
): Promise<Membership> {
  const subject = subjectsOf(membership.mesh).member(membership.nodeId, "renew");
  const answer = await ask(link, subject, {}, timeout_ms, { again: true });
  const renewed = readGrants(answer, membership);
  return membership.ca === undefined ? renewed : { ...renewed, ca: membership.ca };
}
