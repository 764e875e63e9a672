// Start keys of MPPE from an authentication (RFC 3079). What becomes of them is the hot path's.
import { lmHash, ntHashHash, sha1 } from "./ms-chap.js";
import type { StartKeys } from "./types.js";

type Bits = 40 | 56 | 128;

const pad1 = Buffer.alloc(40, 0x00);
const pad2 = Buffer.alloc(40, 0xf2);
const masterMagic = Buffer.from("This is the MPPE Master Key");
const clientSends = Buffer.from(
  "On the client side, this is the send key; on the server side, it is the receive key.",
);
const serverSends = Buffer.from(
  "On the client side, this is the receive key; on the server side, it is the send key.",
);

/** 16 bytes; of 40 and 56 bit keys the first 8 count, the rest is 0. */
function cut(key: Uint8Array, bits: Bits): Uint8Array {
  const whole = new Uint8Array(16);
  whole.set(key.subarray(0, bits === 128 ? 16 : 8));
  return whole;
}

/** GetMasterKey (RFC 3079 section 3.4). */
export function masterKey(hash: Uint8Array, ntResponse: Uint8Array): Uint8Array {
  return sha1(ntHashHash(hash), ntResponse, masterMagic).subarray(0, 16);
}

/** GetAsymmetricStartKey for both directions (RFC 3079 section 3.4), MS-CHAPv2. */
export function startKeysV2(
  hash: Uint8Array,
  ntResponse: Uint8Array,
  bits: Bits,
  isServer: boolean,
): StartKeys {
  const master = masterKey(hash, ntResponse);
  const keyOf = (magic: Uint8Array) => cut(sha1(master, pad1, magic, pad2), bits);
  const [server, client] = [keyOf(serverSends), keyOf(clientSends)];
  return isServer ? { send: server, receive: client } : { send: client, receive: server };
}

/**
 * MS-CHAPv1: one key for both directions. 128 bit: of the NT hash and the challenge (RFC 3079
 * section 2.3). 40 and 56 bit: of the LM hash, so the password is needed; null without it.
 */
export function startKeysV1(
  account: { ntHash: Uint8Array; clear?: string },
  challenge: Uint8Array,
  bits: Bits,
): StartKeys | null {
  if (bits !== 128) {
    if (account.clear === undefined) return null;
    const hash = lmHash(account.clear);
    return { send: cut(hash, bits), receive: cut(hash, bits) };
  }
  const twice = ntHashHash(account.ntHash);
  const key = sha1(twice, twice, challenge);
  return { send: cut(key, bits), receive: cut(key, bits) };
}
