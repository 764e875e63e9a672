// The functions of MS-CHAPv1 (RFC 2433 appendix A) and MS-CHAPv2 (RFC 2759 section 8): pure, each
// named as there. All of them are broken by today's standards.
import { createHash } from "node:crypto";
import { desEncrypt, parityKey } from "./des.js";
import { md4 } from "./md4.js";

export function sha1(...parts: Uint8Array[]): Uint8Array {
  const hash = createHash("sha1");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

const ascii = (text: string) => Buffer.from(text, "ascii");

/** MD4 over the password in UTF-16LE. As good as the password itself to who has it. */
export function ntHash(password: string): Uint8Array {
  return md4(Buffer.from(password, "utf16le"));
}

export function ntHashHash(hash: Uint8Array): Uint8Array {
  return md4(hash);
}

/**
 * DES of a constant under 14 upper-case letters of the password (RFC 2433 A.2). Never sent; the 40
 * and 56 bit keys of MS-CHAPv1 are made of it (RFC 3079 section 2.1 and 2.2), and nothing else.
 */
export function lmHash(password: string): Uint8Array {
  const letters = Buffer.alloc(14);
  letters.write(password.toUpperCase(), "latin1");
  return Buffer.concat(
    [0, 7].map((at) => desEncrypt(parityKey(letters.subarray(at, at + 7)), ascii("KGS!@#$%"))),
  );
}

/** 24 bytes: the challenge of 8 bytes under three keys cut of a 16 byte hash. */
export function challengeResponse(challenge: Uint8Array, hash: Uint8Array): Uint8Array {
  const keys = Buffer.alloc(21);
  keys.set(hash.subarray(0, 16));
  return Buffer.concat(
    [0, 7, 14].map((at) => desEncrypt(parityKey(keys.subarray(at, at + 7)), challenge)),
  );
}

/** Bytes of the user's name that enter hashes: what stands behind `DOMAIN\`. */
export function nameWithoutDomain(name: Uint8Array): Uint8Array {
  return name.subarray(name.lastIndexOf(0x5c) + 1);
}

/** The two challenges of MS-CHAPv2, 16 bytes each, and the name as it was sent. */
export interface Exchange {
  authenticatorChallenge: Uint8Array;
  peerChallenge: Uint8Array;
  name: Uint8Array;
}

/** 8 bytes (RFC 2759 8.2). */
export function challengeHash({ peerChallenge, authenticatorChallenge, name }: Exchange) {
  return sha1(peerChallenge, authenticatorChallenge, nameWithoutDomain(name)).subarray(0, 8);
}

/** 24 bytes (RFC 2759 8.1). */
export function ntResponseV2(exchange: Exchange, hash: Uint8Array): Uint8Array {
  return challengeResponse(challengeHash(exchange), hash);
}

const signing = ascii("Magic server to client signing constant");
const padding = ascii("Pad to make it do more than one iteration");

/** `S=` and 40 digits by which the authenticator proves that it knows the hash (RFC 2759 8.7). */
export function authenticatorResponse(
  exchange: Exchange,
  hash: Uint8Array,
  ntResponse: Uint8Array,
): string {
  const inner = sha1(ntHashHash(hash), ntResponse, signing);
  const digest = sha1(inner, challengeHash(exchange), padding);
  return `S=${Buffer.from(digest).toString("hex").toUpperCase()}`;
}

/** The value of CHAP with MD5 (RFC 1994 section 4.1). */
export function chapMd5(identifier: number, secret: string, challenge: Uint8Array): Uint8Array {
  return createHash("md5")
    .update(Uint8Array.of(identifier))
    .update(secret)
    .update(challenge)
    .digest();
}
