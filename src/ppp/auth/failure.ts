// Failure messages of MS-CHAP (RFC 2433 section 5, RFC 2759 section 6): E=, R=, C=, V=, M=.
import type { AuthMethod, Refusal } from "./types.js";

/** Numbers of E=. */
export const ErrorCode = {
  RESTRICTED_HOURS: 646,
  DISABLED: 647,
  PASSWORD_EXPIRED: 648,
  NO_DIAL_IN: 649,
  DENIED: 691,
  CHANGING_PASSWORD: 709,
} as const;

const ofRefusal: Record<Refusal, number> = {
  "restricted-hours": ErrorCode.RESTRICTED_HOURS,
  disabled: ErrorCode.DISABLED,
  expired: ErrorCode.PASSWORD_EXPIRED,
  "no-dial-in": ErrorCode.NO_DIAL_IN,
};

const sentences: Record<number, string> = {
  [ErrorCode.RESTRICTED_HOURS]: "not at this hour",
  [ErrorCode.DISABLED]: "the account is disabled",
  [ErrorCode.PASSWORD_EXPIRED]: "the account or its password has expired",
  [ErrorCode.NO_DIAL_IN]: "the account may not dial in",
  [ErrorCode.DENIED]: "wrong name or password",
  [ErrorCode.CHANGING_PASSWORD]: "passwords are not changed here",
};

/** What a number of E= means, in words of our own. */
export function errorSentence(code: number): string {
  return sentences[code] ?? `refused with error ${code}`;
}

export function errorOf(refusal: Refusal): number {
  return ofRefusal[refusal];
}

/** Text of a Failure: no retry is offered, a new call is a new try. */
export function failureText(method: AuthMethod, code: number, challenge: Uint8Array): string {
  if (method === "chap-md5" || method === "pap") return "access denied";
  const version = method === "ms-chap-v2" ? 3 : 2;
  const next = Buffer.from(challenge).toString("hex").toUpperCase();
  return `E=${code} R=0 C=${next} V=${version} M=${errorSentence(code)}`;
}

/** The number in a Failure's text, null where it has none. */
export function readErrorCode(text: string): number | null {
  const found = /(?:^|\s)E=(\d{1,10})(?:\s|$)/.exec(text);
  return found?.[1] === undefined ? null : Number(found[1]);
}
