// NKeys: ed25519 keys in NATS' base32 text form. Signing is node's own crypto: the package's is 30
// times slower, and a controller that admits hundreds of nodes does little else.
import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { fromPublic, type KeyPair } from "@nats-io/jwt";

export type KeyKind = "account" | "operator" | "user";

/** First byte of a key: its kind, chosen so that the text begins with A, O, U or (seeds) S. */
const kinds = { account: 0, operator: 14 << 3, user: 20 << 3 };
const seedByte = 18 << 3;
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/** DER header of RFC 8410 section 7: as JWK a private key would need its public half. */
const privateHeader = Buffer.from("302e020100300506032b657004220420", "hex");
/** A public key as RFC 8037 writes it: to read it as DER takes OpenSSL ten times as long. */
const publicForm = { kty: "OKP", crv: "Ed25519" };
const cacheSize = 16_384;
const publicKeys = new Map<string, KeyObject>();
const wellFormed = new Set<string>();

/** A new key's seed (`S...`), secret, with its public text. */
export function createKey(kind: KeyKind): { seed: string; publicKey: string } {
  const kindByte = kinds[kind];
  const head = Buffer.from([seedByte | (kindByte >> 5), (kindByte & 31) << 3]);
  const seed = checkedText(Buffer.concat([head, randomBytes(32)]));
  return { seed, publicKey: signingKey(seed).publicKey };
}

/**
 * True for a well-formed public NKey (checksum too) that begins with the letter: U user, A account,
 * O operator.
 */
export function isPublicKey(text: unknown, letter: "A" | "O" | "U"): text is string {
  if (typeof text !== "string" || !text.startsWith(letter)) return false;
  if (publicKeys.has(text) || wellFormed.has(text)) return true;
  if (!/^[A-Z2-7]{56}$/.test(text)) return false;
  try {
    fromPublic(text);
    if (wellFormed.size >= cacheSize) wellFormed.clear();
    wellFormed.add(text);
    return true;
  } catch {
    return false;
  }
}

/** A key that signs. Looks like a key pair of the nats package so that its JWT encoder takes it. */
export class SigningKey implements KeyPair {
  readonly #seed: string;
  readonly #secret: KeyObject;
  constructor(
    seed: string,
    secret: KeyObject,
    readonly publicKey: string,
  ) {
    this.#seed = seed;
    this.#secret = secret;
  }
  sign(data: Uint8Array): Uint8Array {
    return sign(null, data, this.#secret);
  }
  verify(data: Uint8Array, signature: Uint8Array): boolean {
    return verifySignature(this.publicKey, data, signature);
  }
  getPublicKey(): string {
    return this.publicKey;
  }
  getSeed(): Uint8Array {
    return Buffer.from(this.#seed, "ascii");
  }
  getPrivateKey(): Uint8Array {
    return this.getSeed();
  }
  clear(): void {}
  seal(): Uint8Array {
    throw new Error("a signing key does not encrypt");
  }
  open(): Uint8Array | null {
    throw new Error("a signing key does not decrypt");
  }
}

/** Key of a seed; the public half is computed. Throws on a damaged seed. */
export function signingKey(seed: string): SigningKey {
  const raw = base32Bytes(seed);
  if (raw.length !== 36) throw new Error("not an NKey seed");
  const secret = createPrivateKey({
    key: Buffer.concat([privateHeader, raw.subarray(2, 34)]),
    format: "der",
    type: "pkcs8",
  });
  const { x = "" } = createPublicKey(secret).export({ format: "jwk" });
  const kindByte = (((raw[0] ?? 0) & 7) << 5) | ((raw[1] ?? 0) >> 3);
  const half = Buffer.from(x, "base64url");
  const publicKey = checkedText(Buffer.concat([Buffer.from([kindByte]), half]));
  return new SigningKey(seed, secret, publicKey);
}

/** ed25519 check of a signature by a public NKey; false on anything malformed. */
export function verifySignature(key: string, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    return signature.length === 64 && verify(null, data, publicKeyOf(key), signature);
  } catch {
    return false;
  }
}

function publicKeyOf(text: string): KeyObject {
  const known = publicKeys.get(text);
  if (known) return known;
  fromPublic(text);
  const x = base32Bytes(text).subarray(1, 33).toString("base64url");
  const key = createPublicKey({ key: { ...publicForm, x }, format: "jwk" });
  if (publicKeys.size >= cacheSize) publicKeys.clear();
  publicKeys.set(text, key);
  return key;
}

/** Base32 of bytes with their checksum behind them. */
function checkedText(body: Buffer): string {
  const sum = crc16(body);
  return base32Text(Buffer.concat([body, Buffer.from([sum & 0xff, sum >> 8])]));
}

/** CRC-16/XMODEM, little-endian at the end of every NKey. */
function crc16(data: Uint8Array): number {
  let crc = 0;
  for (const byte of data) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
}

function base32Bytes(text: string): Buffer {
  const bytes: number[] = [];
  let held = 0;
  let bits = 0;
  for (const letter of text) {
    const value = alphabet.indexOf(letter);
    if (value < 0) throw new Error("not base32");
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
    }
  }
  return Buffer.from(bytes);
}

function base32Text(data: Uint8Array): string {
  let text = "";
  let held = 0;
  let bits = 0;
  for (const byte of data) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet[(held >> bits) & 31];
    }
  }
  return bits > 0 ? text + alphabet[(held << (5 - bits)) & 31] : text;
}
