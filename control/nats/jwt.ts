// NATS JWTs: operator, accounts and users, and the credentials file that the stock tools read.
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  Algorithms,
  decode,
  encodeAccount,
  encodeOperator,
  encodeUser,
  fmtCreds,
} from "@nats-io/jwt";
import { isPublicKey, type SigningKey, signingKey } from "./keys.js";

const algorithm = Algorithms.v2;

/** What a user may publish and subscribe; `replies`: it may answer requests it receives. */
export interface Permissions {
  publish: string[];
  subscribe: string[];
  replies?: { max: number; ttl_s: number };
}

/**
 * No stream but the two buckets: what a member makes the server write (ADR 0042) makes no other.
 * Consumers for thousands of nodes, but not without end.
 */
const bucketLimits = { streams: 2, consumer: 10_000 };

/** Whether an account JWT has today's limits. */
export function hasBucketLimits(jwt: string): boolean {
  const { limits } = decode<{ limits?: { streams?: number; consumer?: number } }>(jwt).nats;
  return limits?.streams === bucketLimits.streams && limits.consumer === bucketLimits.consumer;
}

export function operatorJwt(
  name: string,
  operator: SigningKey,
  signers: string[],
  systemAccount: string,
): Promise<string> {
  const claims = { signing_keys: signers, system_account: systemAccount };
  return encodeOperator(name, operator, claims, { algorithm });
}

/**
 * A JWT with another time of issue (unix seconds), by which servers compare: a user's with its
 * revocation, an account's with the one that they have. `given` keeps the clock's.
 */
function issuedAt(jwt: string, issued_s: number, signer: SigningKey): string {
  const [head = "", body = ""] = jwt.split(".");
  const { jti: _, ...claims } = JSON.parse(Buffer.from(body, "base64url").toString("utf8"));
  const dated = { ...claims, iat: issued_s, given: claims.iat };
  const jti = createHash("sha512").update(JSON.stringify(dated)).digest("base64");
  const signed = `${head}.${Buffer.from(JSON.stringify({ ...dated, jti })).toString("base64url")}`;
  const signature = Buffer.from(signer.sign(Buffer.from(signed))).toString("base64url");
  return `${signed}.${signature}`;
}

/**
 * Account JWT. `jetStream`: storage for the two buckets, else none. `revoked`: user key -> unix
 * seconds. `after`: unix seconds of the JWT that it is to replace, whatever the clock says.
 */
export async function accountJwt(account: {
  name: string;
  key: string;
  signers: string[];
  jetStream: boolean;
  revoked: Record<string, number>;
  after?: number;
  signer: SigningKey;
}): Promise<string> {
  const storage = account.jetStream ? -1 : 0;
  const limits = {
    subs: -1,
    data: -1,
    payload: -1,
    conn: -1,
    leaf: -1,
    imports: -1,
    exports: -1,
    wildcards: true,
    mem_storage: storage,
    disk_storage: storage,
    ...(account.jetStream ? bucketLimits : { streams: -1, consumer: -1 }),
  };
  const claims = { limits, signing_keys: account.signers, revocations: account.revoked };
  const { name, key, signer, after = 0 } = account;
  const jwt = await encodeAccount(name, key, claims, { algorithm, signer });
  return issuedAt(jwt, Math.max(Math.floor(Date.now() / 1000), after + 1), signer);
}

/**
 * User JWT signed by an account's signing key. `expires`: unix seconds, or absent for never.
 * `issued`: unix seconds that a revocation is compared with; absent: now.
 */
export async function userJwt(user: {
  name: string;
  key: string;
  account: string;
  signer: SigningKey;
  permissions: Permissions;
  expires?: number;
  issued?: number;
}): Promise<string> {
  const { publish, subscribe, replies } = user.permissions;
  const claims = {
    pub: publish.length > 0 ? { allow: publish } : { deny: [">"] },
    sub: subscribe.length > 0 ? { allow: subscribe } : { deny: [">"] },
    ...(replies ? { resp: { max: replies.max, ttl: replies.ttl_s * 1e9 } } : {}),
  };
  const options = { algorithm, signer: user.signer };
  const exp = user.expires === undefined ? {} : { exp: user.expires };
  const jwt = await encodeUser(user.name, user.key, user.account, claims, { ...options, ...exp });
  return user.issued === undefined ? jwt : issuedAt(jwt, user.issued, user.signer);
}

interface UserClaims {
  key: string;
  name: string;
  expires: number | null;
  /** When it was given, by the clock of who gave it. */
  issued: number;
  /** What a revocation is compared with. */
  since: number;
  /** Key that signed it. */
  issuer: string;
}

/**
 * User key, expiry (unix seconds or null) and issue times of a user JWT; null when it is none. Not
 * verified for us: the server does that. So the package's decode is no help: it verifies all the
 * same, in JavaScript and for milliseconds, and a member reads its own one at every heartbeat.
 */
export function readUserJwt(jwt: string): UserClaims | null {
  try {
    const body = Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString("utf8");
    const { sub, iss, name, iat, exp, given } = JSON.parse(body) as Record<string, unknown>;
    if (!isPublicKey(sub, "U") || typeof iat !== "number") return null;
    const expires = typeof exp === "number" ? exp : null;
    const issued = typeof given === "number" ? given : iat;
    const issuer = String(iss);
    const text = typeof name === "string" ? name : "";
    return { key: sub, name: text, expires, issued, since: iat, issuer };
  } catch {
    return null;
  }
}

/** Whether two user JWTs allow the same. */
export function haveSameRights(a: string, b: string): boolean {
  return isDeepStrictEqual(decode<unknown>(a).nats, decode<unknown>(b).nats);
}

export interface AccountClaims {
  /** User key -> unix seconds. */
  revoked: Record<string, number>;
  /** Unix seconds. */
  issued: number;
  /** Keys whose users the servers take. */
  signers: string[];
}

export function readAccountJwt(jwt: string): AccountClaims {
  const claims = decode<{ revocations?: Record<string, number>; signing_keys?: unknown }>(jwt);
  const { revocations, signing_keys: keys } = claims.nats;
  const signers = Array.isArray(keys) ? keys.filter((key) => typeof key === "string") : [];
  return { revoked: revocations ?? {}, issued: claims.iat, signers };
}

/** Text of a credentials file. */
export function credentialsText(jwt: string, seed: string): string {
  return Buffer.from(fmtCreds(jwt, signingKey(seed))).toString("utf8");
}

/** JWT and seed of a credentials file; throws when it holds none. */
export function parseCredentials(text: string): { jwt: string; seed: string } {
  const jwt = /-----BEGIN NATS USER JWT-----\s*(\S+)\s*-+END/.exec(text)?.[1];
  const seed = /-----BEGIN USER NKEY SEED-----\s*(\S+)\s*-+END/.exec(text)?.[1];
  if (!jwt || !seed) throw new Error("not a NATS credentials file");
  return { jwt, seed };
}
