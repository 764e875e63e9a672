// Join tokens as text: where the mesh is, what may be trusted there, and a credential that can ask
// to join and nothing else. Its seed is the only secret, and never crosses the wire.
import { ControlError } from "./errors.js";
import { isLabel, isTokenId } from "./keys.js";
import { isPublicKey, signingKey } from "./nats/index.js";
import { isFingerprint } from "./tls/index.js";

/** What a token says in clear. */
export interface TokenContents {
  meshId: string;
  mesh: string;
  tokenId: string;
  servers: string[];
  /** RFC 3339, or null = never. */
  expires: string | null;
}

/** With the seed, which is secret. */
export interface TokenSecrets extends TokenContents {
  bootstrap: { jwt: string; seed: string };
  accountKey: string;
  grantKey: string;
  /** Fingerprint of the CA of the mesh's servers; absent: it has none. */
  ca?: string;
}

const start = "meshd1.";

export function formatToken(token: TokenSecrets): string {
  return start + Buffer.from(JSON.stringify(token)).toString("base64url");
}

function invalid(why: string): ControlError {
  const what = `this is no join token (${why}); "meshd token create" makes one`;
  return new ControlError("MESHD_TOKEN_INVALID", what);
}

/** Whole contents of a token. MESHD_TOKEN_INVALID. */
export function openToken(token: string): TokenSecrets {
  const trimmed = token.trim();
  if (!trimmed.startsWith(start)) throw invalid(`it does not begin with ${start}`);
  if (trimmed.length > 16_384) throw invalid("it is too long");
  let fields: TokenSecrets;
  try {
    const text = trimmed.slice(start.length);
    const bytes = Buffer.from(text, "base64url");
    // It is read past what is no base64url, and past a letter that makes no whole byte.
    if (bytes.toString("base64url") !== text) throw new Error("not as it was written");
    fields = JSON.parse(bytes.toString("utf8")) as TokenSecrets;
  } catch {
    throw invalid("it is damaged");
  }
  const why = faultOf(fields);
  if (why !== null) throw invalid(why);
  return fields;
}

function faultOf(fields: TokenSecrets): string | null {
  if (typeof fields !== "object" || fields === null) return "it is empty";
  const { bootstrap, servers, expires } = fields;
  const texts = [fields.meshId, bootstrap?.jwt, bootstrap?.seed];
  if (!texts.every((one) => typeof one === "string" && one.length > 0)) return "it lacks a field";
  if (!isLabel(fields.mesh)) return "it names no mesh";
  if (!isTokenId(fields.tokenId)) return "it has no id";
  if (!Array.isArray(servers) || servers.length === 0) return "it names no server";
  if (!servers.every((one) => typeof one === "string")) return "it names no server";
  if (!isPublicKey(fields.accountKey, "A") || !isPublicKey(fields.grantKey, "A")) return "no keys";
  if (fields.ca !== undefined && !isFingerprint(fields.ca)) return "its CA is no fingerprint";
  if (expires !== null && Number.isNaN(Date.parse(expires))) return "its end is no time";
  try {
    signingKey(bootstrap.seed);
    return null;
  } catch {
    return "its key is damaged";
  }
}

/** What a token says in clear. MESHD_TOKEN_INVALID when it is none. */
export function parseToken(token: string): TokenContents {
  const { meshId, mesh, tokenId, servers, expires } = openToken(token);
  return { meshId, mesh, tokenId, servers, expires };
}
