// How the authenticator checks a proof, one function a method. A wrong name costs the same work
// as a wrong password, and all comparisons take the same time whatever is wrong.
import { timingSafeEqual } from "node:crypto";
import { ErrorCode, errorOf } from "./failure.js";
import {
  authenticatorResponse,
  challengeResponse,
  chapMd5,
  type Exchange,
  nameWithoutDomain,
  ntHash,
  ntResponseV2,
} from "./ms-chap.js";
import type { Valued } from "./packets.js";
import { startKeysV1, startKeysV2 } from "./start-keys.js";
import type { Account, AuthSuccess, Verifier } from "./types.js";

/** A proof that was right, or the number of E= to answer. */
export type Checked = { keys: AuthSuccess["startKeys"]; message: string } | { error: number };

export interface Challenged {
  identifier: number;
  challenge: Uint8Array;
}

const noKeys = () => null;
/** Value sizes (RFC 2433 section 4, RFC 2759 section 4, RFC 1994 section 4.1). */
const MS_VALUE_SIZE = 49;
const MD5_SIZE = 16;
/** Stands for users that are not known. */
const nobody: Account = { ntHash: new Uint8Array(16), clear: "" };

export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** A name as text for look-ups and logs, without its domain. */
export function userOf(name: Uint8Array): string {
  const text = Buffer.from(nameWithoutDomain(name)).toString("utf8");
  return text.replace(/\p{C}/gu, "?");
}

/** Whether a right proof lets in: first the proof, so that only who knows it learns the rest. */
function admitted(account: Account | null, isRight: boolean, right: () => Checked): Checked {
  if (account === null || !isRight) return { error: ErrorCode.DENIED };
  if (account.refused !== undefined) return { error: errorOf(account.refused) };
  return right();
}

export function checkMsChapV2(asked: Challenged, said: Valued, verifier: Verifier): Checked {
  const account = verifier.lookup(userOf(said.name));
  if (said.value.length !== MS_VALUE_SIZE) return { error: ErrorCode.DENIED };
  const exchange: Exchange = {
    authenticatorChallenge: asked.challenge,
    peerChallenge: said.value.subarray(0, 16),
    name: said.name,
  };
  const response = said.value.slice(24, 48);
  const hash = (account ?? nobody).ntHash;
  return admitted(account, isEqual(ntResponseV2(exchange, hash), response), () => ({
    keys: (bits) => startKeysV2(hash, response, bits, true),
    message: `${authenticatorResponse(exchange, hash, response)} M=welcome`,
  }));
}

export function checkMsChapV1(asked: Challenged, said: Valued, verifier: Verifier): Checked {
  const account = verifier.lookup(userOf(said.name));
  // Flag 0: the LM answer alone, which gives the password away; not taken.
  const usesNt = said.value.length === MS_VALUE_SIZE && said.value[48] === 1;
  if (!usesNt) return { error: ErrorCode.DENIED };
  const known = account ?? nobody;
  const expected = challengeResponse(asked.challenge, known.ntHash);
  return admitted(account, isEqual(expected, said.value.subarray(24, 48)), () => ({
    keys: (bits) => startKeysV1(known, asked.challenge, bits),
    message: "welcome",
  }));
}

export function checkChapMd5(asked: Challenged, said: Valued, verifier: Verifier): Checked {
  const account = verifier.lookup(userOf(said.name));
  const expected = chapMd5(asked.identifier, (account ?? nobody).clear ?? "", asked.challenge);
  const isRight = said.value.length === MD5_SIZE && isEqual(expected, said.value);
  // Without its clear password an account cannot be checked, and an empty one proves nothing.
  const usable = account?.clear === undefined || account.clear === "" ? null : account;
  return admitted(usable, isRight, () => ({ keys: noKeys, message: "welcome" }));
}

export function checkPap(name: Uint8Array, password: Uint8Array, verifier: Verifier): Checked {
  const account = verifier.lookup(userOf(name));
  const hash = ntHash(Buffer.from(password).toString("utf8"));
  const isRight = isEqual(hash, (account ?? nobody).ntHash);
  return admitted(account, isRight, () => ({ keys: noKeys, message: "welcome" }));
}
