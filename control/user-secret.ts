// What an account is checked with, as it is sealed: the NT hash, and for CHAP-MD5 the password.
import { openWith, sealWith } from "./secrets.js";

export interface UserSecret {
  /** MD4 of the password in UTF-16LE, 32 hexadecimal digits. As good as the password. */
  ntHash: string;
  /** The password, for CHAP-MD5 alone. */
  clear?: string;
}

/** A password is at most 256 characters (RFC 2759 section 8.1). */
const clear_max = 256;

/** The fields of a secret; null when they are none. */
export function readUserSecret(value: unknown): UserSecret | null {
  if (typeof value !== "object" || value === null) return null;
  const { ntHash, clear } = value as Record<string, unknown>;
  if (typeof ntHash !== "string" || !/^[0-9a-f]{32}$/.test(ntHash)) return null;
  if (clear === undefined) return { ntHash };
  const isPassword = typeof clear === "string" && clear !== "" && clear.length <= clear_max;
  return isPassword ? { ntHash, clear } : null;
}

/** As `readUserSecret`, of JSON text. */
export function parseUserSecret(text: string): UserSecret | null {
  try {
    return readUserSecret(JSON.parse(text));
  } catch {
    return null;
  }
}

/** A sealed secret is of one account in one mesh, and of no other. */
const contextOf = (meshId: string, name: string) => `${meshId} user ${name}`;

export function sealUserSecret(
  key: Uint8Array,
  meshId: string,
  name: string,
  secret: UserSecret,
): string {
  return sealWith(key, JSON.stringify(secret), contextOf(meshId, name));
}

export function openUserSecret(
  key: Uint8Array,
  meshId: string,
  name: string,
  sealed: string,
): UserSecret | null {
  const text = openWith(key, sealed, contextOf(meshId, name));
  return text === null ? null : parseUserSecret(text);
}
