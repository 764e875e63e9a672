// Foreign PPTP servers that this node is to be connected to: kept over restarts, 0600, because a
// password's hash is as good as the password.
import { type AuthMethod, type EncryptionRule, ntHash } from "../calls/index.js";
import { replaceFile } from "../host/index.js";
import { bad } from "./body.js";
import { readText } from "./files.js";
import { formatPrefix, parsePrefix } from "./prefix.js";

/** One of them, as it stands in the file. */
export interface SavedDial {
  /** Name or address, as it was given. */
  host: string;
  user: string;
  /** NT hash in hex; the password itself where another method than MS-CHAP needs it. */
  ntHash: string | null;
  clear: string | null;
  auth: AuthMethod[];
  encryption: EncryptionRule;
  routes: string[];
}

const AUTHS: readonly AuthMethod[] = ["ms-chap-v2", "ms-chap-v1", "chap-md5", "pap"];
const ENCRYPTIONS: readonly EncryptionRule[] = ["required-128", "required", "optional", "off"];
const TEXT_MAX = 255;
const ROUTES_MAX = 256;

function textIn(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (typeof value === "string" && value !== "" && value.length <= TEXT_MAX) return value;
  throw bad(`${name} must be text of 1 to ${TEXT_MAX} characters`);
}

function authsIn(value: unknown): AuthMethod[] {
  const list = value ?? ["ms-chap-v2"];
  const isKnown = (one: unknown): one is AuthMethod => AUTHS.includes(one as AuthMethod);
  if (Array.isArray(list) && list.length > 0 && list.every(isKnown)) return list;
  throw bad(`auth must be a list of ${AUTHS.join(", ")}`);
}

function encryptionIn(value: unknown): EncryptionRule {
  const wanted = (value ?? "required-128") as EncryptionRule;
  if (ENCRYPTIONS.includes(wanted)) return wanted;
  throw bad(`encryption must be one of ${ENCRYPTIONS.join(", ")}`);
}

function routesIn(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [null];
  if (list.length > ROUTES_MAX) throw bad(`at most ${ROUTES_MAX} routes`);
  return list.map((one) => {
    const prefix = typeof one === "string" ? parsePrefix(one) : null;
    if (prefix?.family === 4) return formatPrefix(prefix);
    throw bad(`route ${JSON.stringify(one)}: allowed is an IPv4 prefix without host bits`);
  });
}

/** Reads the body of a request to dial. @throws AgentError MESHD_BAD_REQUEST */
export function readDialRequest(fields: Record<string, unknown>): SavedDial {
  const [host, user, password] = ["host", "user", "password"].map((name) => textIn(fields, name));
  const auth = authsIn(fields.auth);
  const needsClear = auth.some((method) => method === "pap" || method === "chap-md5");
  return {
    ...{ host: host ?? "", user: user ?? "", auth },
    ntHash: needsClear ? null : Buffer.from(ntHash(password ?? "")).toString("hex"),
    clear: needsClear ? (password ?? "") : null,
    encryption: encryptionIn(fields.encryption),
    routes: routesIn(fields.routes),
  };
}

function isSaved(value: unknown): value is SavedDial {
  const one = value as Partial<SavedDial> | null;
  return (
    typeof one === "object" &&
    typeof one?.host === "string" &&
    typeof one.user === "string" &&
    (typeof one.clear === "string" || /^[0-9a-f]{32}$/.test(one.ntHash ?? "")) &&
    Array.isArray(one.auth) &&
    Array.isArray(one.routes) &&
    one.encryption !== undefined &&
    ENCRYPTIONS.includes(one.encryption)
  );
}

/** The file's list; what is damaged in it counts as not there. */
export async function readDials(path: string): Promise<SavedDial[]> {
  try {
    const parsed: unknown = JSON.parse((await readText(path)) ?? "[]");
    return Array.isArray(parsed) ? parsed.filter(isSaved) : [];
  } catch {
    return [];
  }
}

export function writeDials(path: string, dials: readonly SavedDial[]): Promise<void> {
  return replaceFile(path, `${JSON.stringify(dials)}\n`);
}
