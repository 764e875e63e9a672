// Signed values. A value in the store is {record, serial, signature}: the writer's key signs mesh,
// key, serial and record. Why everything is signed: the server publishes replies and deliveries to
// any subject that a client names, so a member can make it write on other keys (tested in
// test/control/attack.test.ts); with signatures such a write is refused, whatever the server let
// through.
import { Refused } from "./check.js";
import { parseKey, type RecordKind } from "./keys.js";
import { type SigningKey, verifySignature } from "./nats/index.js";
import { checkRecord, type RecordOfKind } from "./validate.js";

/** Longest value accepted, in bytes; the streams refuse longer ones too. */
export const valueLength_max = 65_536;

export interface Trust {
  meshId: string;
  /** Public key that grants must be signed with. */
  grantKey: string;
}

/** A checked value: its record, or null when it was taken away (a signed removal). */
export interface Opened<K extends RecordKind = RecordKind> {
  kind: K;
  record: RecordOfKind[K] | null;
  serial: number;
  signature: string;
  /** The value. Readers of one process that got the same hold one text. */
  raw: string;
}

/** JSON with sorted keys: one text for one value, whoever wrote it. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((one) => canonicalJson(one)).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const fields = Object.entries(value).filter(([, one]) => one !== undefined);
    fields.sort(([a], [b]) => (a < b ? -1 : 1));
    const texts = fields.map(([key, one]) => `${JSON.stringify(key)}:${canonicalJson(one)}`);
    return `{${texts.join(",")}}`;
  }
  return JSON.stringify(value);
}

/** `text`: the record as canonical JSON. */
function signedBytes(meshId: string, key: string, serial: number, text: string): Buffer {
  return Buffer.from(`meshd record 1\n${meshId}\n${key}\n${serial}\n${text}`);
}

/** The signature is not part of what is signed. */
function withoutSignature(record: object): object {
  const { signature: _, ...rest } = record as { signature?: string };
  return rest;
}

/**
 * A serial above the previous one. It follows the clock, so that a key written anew after its
 * history was lost is still newer than what readers remember.
 */
export function nextSerial(previous: number): number {
  return Math.max(previous + 1, Date.now());
}

/** Text to store under a key. `record` null is a signed removal. */
export function seal(
  meshId: string,
  key: string,
  record: object | null,
  serial: number,
  signer: SigningKey,
): string {
  // What is signed stands in it as it is, so that readers need not write it anew to check it.
  const text = canonicalJson(record === null ? null : withoutSignature(record));
  const signature = signer.sign(signedBytes(meshId, key, serial, text));
  return `${HEAD}${text}${tailOf(serial, Buffer.from(signature).toString("base64url"))}`;
}

const HEAD = '{"record":';

function tailOf(serial: number, signature: string): string {
  return `,"serial":${serial},"signature":"${signature}"}`;
}

/** What is signed in a value, as it stands there; null where it stands in another form. */
function signedText(value: string, serial: number, signature: string): string | null {
  const tail = tailOf(serial, signature);
  if (!value.startsWith(HEAD) || !value.endsWith(tail)) return null;
  return value.slice(HEAD.length, value.length - tail.length);
}

/**
 * Good values as they were found, the last two of each key: a controller reads each several times.
 * By the key, not by the value: that one is long, and to compare it costs less than to hash it.
 */
interface Known extends Trust {
  opened: Opened;
  /** Found before it. Readers of one process that are not equally far have the one or the other. */
  earlier: Known | null;
}

const known = new Map<string, Known>();
let known_max = 128;

/**
 * Of how many keys this process remembers good values: for one that holds many ledgers of one mesh,
 * as a simulation does.
 */
export function rememberOpened(count: number): void {
  known_max = count;
}

function isOf({ meshId, grantKey, opened }: Known, trust: Trust, value: string): boolean {
  return meshId === trust.meshId && grantKey === trust.grantKey && opened.raw === value;
}

function remembered(trust: Trust, key: string, value: string): Opened | null {
  const last = known.get(key);
  if (last === undefined) return null;
  if (isOf(last, trust, value)) return last.opened;
  return last.earlier && isOf(last.earlier, trust, value) ? last.earlier.opened : null;
}

function remember({ meshId, grantKey }: Trust, key: string, opened: Opened): void {
  if (known_max === 0) return;
  const before = known.get(key) ?? null;
  const [oldest] = before === null && known.size >= known_max ? known.keys() : [];
  if (oldest !== undefined) known.delete(oldest);
  const earlier = before && { ...before, earlier: null };
  known.set(key, { meshId, grantKey, opened, earlier });
}

/**
 * Checks a stored value wholly: form, signature by the key that may write there, record, place.
 * Returns the reason as text when it is refused; never throws. Records are not to be changed.
 */
export function open(trust: Trust, key: string, value: string): Opened | string {
  const before = remembered(trust, key, value);
  if (before !== null) return before;
  try {
    const opened = openOrRefuse(trust, key, value);
    remember(trust, key, opened);
    return opened;
  } catch (error) {
    if (error instanceof Refused) return error.message;
    return `it cannot be read (${error instanceof Error ? error.name : "unknown"})`;
  }
}

function openOrRefuse(trust: Trust, key: string, value: string): Opened {
  const place = parseKey(key);
  if (!place) throw new Refused("no record has such a key");
  if (value.length > valueLength_max) throw new Refused(`it is longer than ${valueLength_max}`);
  const { record, serial, signature } = parseEnvelope(value);
  const writer = place.writer ?? trust.grantKey;
  const isSigned = (text: string) => {
    const signed = signedBytes(trust.meshId, key, serial, text);
    return verifySignature(writer, signed, Buffer.from(signature, "base64url"));
  };
  const text = signedText(value, serial, signature);
  // Others write their fields in another order: what was signed is the canonical one.
  if (!(text !== null && isSigned(text)) && !isSignedAnew(record, text, isSigned)) {
    throw new Refused(`it is not signed by ${place.writer ? "its node" : "the mesh's grant key"}`);
  }
  const found = { kind: place.kind, serial, signature, raw: value };
  if (record === null) return { ...found, record: null };
  const checked = checkRecord(place.kind, key, record);
  const signs = place.kind === "members" || place.kind === "leases";
  return { ...found, record: signs ? { ...checked, signature } : checked };
}

/** By the record written anew, where that is another text than the one that was tried. */
function isSignedAnew(
  record: unknown,
  tried: string | null,
  isSigned: (text: string) => boolean,
): boolean {
  const text = canonicalJson(record);
  return text !== tried && isSigned(text);
}

function parseEnvelope(value: string): { record: unknown; serial: number; signature: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    throw new Refused("it is no JSON");
  }
  if (typeof parsed !== "object" || parsed === null) throw new Refused("it is no object");
  const { record, serial, signature } = parsed as Record<string, unknown>;
  if (!Number.isSafeInteger(serial) || typeof signature !== "string" || record === undefined) {
    throw new Refused("it has no record, serial and signature");
  }
  return { record, serial: serial as number, signature };
}
