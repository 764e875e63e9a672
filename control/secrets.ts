// Secrets that are stored or handed on: AES-256-GCM under a key both sides have, and boxes for one
// reader's X25519 key (ECDH, HKDF, then the same). All of it node:crypto's.
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";

const keySize = 32;
const nonceSize = 12;
const tagSize = 16;
/** DER headers of RFC 8410 section 7 (private) and section 4 (public) for X25519. */
const privateHeader = Buffer.from("302e020100300506032b656e04220420", "hex");
const publicHeader = Buffer.from("302a300506032b656e032100", "hex");

function derive(secret: Uint8Array, salt: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, salt, `meshd ${purpose}`, keySize));
}

/** A key for one purpose, of a secret that all controllers of a mesh have (RFC 5869). */
export function derivedKey(secret: Uint8Array, meshId: string, purpose: string): Buffer {
  return derive(secret, Buffer.from(meshId), purpose);
}

/** Text that only holders of the key can read, and only as `context`: base64url. */
export function sealWith(key: Uint8Array, text: string, context: string): string {
  const nonce = randomBytes(nonceSize);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, body, cipher.getAuthTag()]).toString("base64url");
}

/** What sealWith sealed; null when it was not this key or context, or is damaged. */
export function openWith(key: Uint8Array, sealed: string, context: string): string | null {
  const bytes = Buffer.from(sealed, "base64url");
  if (key.length !== keySize || bytes.length < nonceSize + tagSize) return null;
  const nonce = bytes.subarray(0, nonceSize);
  const options = { authTagLength: tagSize };
  const cipher = createDecipheriv("aes-256-gcm", key, nonce, options);
  cipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(bytes.length - tagSize));
  try {
    const body = cipher.update(bytes.subarray(nonceSize, bytes.length - tagSize));
    return Buffer.concat([body, cipher.final()]).toString("utf8");
  } catch {
    return null;
  }
}

/** Opens boxes; `publicKey` (32 bytes, base64url) is what others put things in for. */
export interface BoxKey {
  publicKey: string;
  secret: KeyObject;
}

/** The box key of 32 secret bytes; fresh ones when none are given. */
export function boxKey(bytes: Uint8Array = randomBytes(keySize)): BoxKey {
  const key = Buffer.concat([privateHeader, bytes]);
  const secret = createPrivateKey({ key, format: "der", type: "pkcs8" });
  return { publicKey: rawPublic(secret).toString("base64url"), secret };
}

function rawPublic(secret: KeyObject): Buffer {
  const der = createPublicKey(secret).export({ format: "der", type: "spki" });
  return Buffer.from(der.subarray(publicHeader.length));
}

/** True for 32 bytes of base64url. */
export function isBoxPublicKey(text: unknown): text is string {
  return typeof text === "string" && /^[A-Za-z0-9_-]{43}$/.test(text);
}

/** The key of a box: of both public keys, so that it opens nowhere else. Throws on a bad key. */
function sharedKey(secret: KeyObject, other: Buffer, sender: Buffer, reader: Buffer): Buffer {
  const der = Buffer.concat([publicHeader, other]);
  const publicKey = createPublicKey({ key: der, format: "der", type: "spki" });
  const shared = diffieHellman({ privateKey: secret, publicKey });
  return derive(shared, Buffer.concat([sender, reader]), "box 1");
}

/** Text for the holder of a box key alone: a fresh public key and what is sealed with it. */
export function sealFor(reader: string, text: string, context: string): string {
  const sender = boxKey();
  const [own, other] = [sender.publicKey, reader].map((key) => Buffer.from(key, "base64url"));
  if (!own || !other) throw new Error("no keys");
  const sealed = sealWith(sharedKey(sender.secret, other, own, other), text, context);
  return `${sender.publicKey}.${sealed}`;
}

/** What sealFor sealed; null when it was for another, or is damaged. */
export function openBox(own: BoxKey, sealed: string, context: string): string | null {
  const [from = "", body = ""] = sealed.split(".");
  if (!isBoxPublicKey(from)) return null;
  const sender = Buffer.from(from, "base64url");
  const reader = Buffer.from(own.publicKey, "base64url");
  try {
    return openWith(sharedKey(own.secret, sender, sender, reader), body, context);
  } catch {
    return null;
  }
}
