// The bytes of a feed: a stretch of a bucket's history, from one revision to another, with the last
// value of each key that was written in it. A batch is one that a controller publishes, signed; a
// page is one that it answers a question with.
import { Refused } from "../check.js";
import { type Entry, isPublicKey, type SigningKey, verifySignature } from "../nats/index.js";

/** Bytes of values in one message. */
const stretch_max = 262_144;
/** Of a signature, a first line, and what a server adds. */
const around_max = 1_024;
const HEAD = "meshd-feed 1";
const [NEWLINE, SPACE, PLUS, MINUS, ZERO] = [10, 32, 43, 45, 48];
const DIGITS_MAX = 16;
/** Base64url of 64 bytes. */
const signatureLength = 86;
const digestForm = /^[0-9a-f]{16}$/;

export interface Stretch {
  controllerId: string;
  /** Revisions: what was written after `from`, up to `to`. */
  from: number;
  to: number;
  /** Of all the store has at `to`; null where more follows at once. */
  digest: string | null;
}

/** A stored value as it stands in a stretch: made once, sent to many. */
export interface Row {
  revision: number;
  text: string;
  /** Of the text. */
  bytes: number;
}

export function rowOf({ key, revision, value, deleted, time_ms = 0 }: Entry): Row {
  const length = Buffer.byteLength(value);
  const head = `${revision} ${Math.round(time_ms)} ${length} ${deleted ? "-" : "+"} ${key}`;
  return { revision, text: `${head}\n${value}\n`, bytes: Buffer.byteLength(head) + length + 2 };
}

export function stretchText({ controllerId, from, to, digest }: Stretch, rows: Row[]): string {
  const head = `${HEAD} ${controllerId} ${from} ${to} ${digest ?? "-"} ${rows.length}\n`;
  return head + rows.map(({ text }) => text).join("");
}

/**
 * Rows in the order of their revisions, cut where a message would be too long for readers, or for a
 * server that takes `payload_max` bytes. One row is never cut: it was a message of the store's.
 */
export function* cutRows(rows: Iterable<Row>, payload_max: number): Generator<Row[]> {
  const most = Math.min(stretch_max, payload_max - around_max);
  let part: Row[] = [];
  let length = 0;
  for (const row of rows) {
    if (length > 0 && length + row.bytes > most) {
      yield part;
      part = [];
      length = 0;
    }
    part.push(row);
    length += row.bytes;
  }
  yield part;
}

function signedBytes(meshId: string, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`meshd feed 1\n${meshId}\n`), body]);
}

/** Text of a batch: the signature of the mesh's grant key, then what it signs. */
export function sealBatch(meshId: string, text: string, signer: SigningKey): string {
  const signature = signer.sign(signedBytes(meshId, Buffer.from(text)));
  return `${Buffer.from(signature).toString("base64url")}\n${text}`;
}

/** The part of a batch that is signed. @throws Refused when it is not. */
export function openBatch(trust: { meshId: string; grantKey: string }, bytes: Buffer): Buffer {
  if (bytes[signatureLength] !== NEWLINE) throw new Refused("it begins with no signature");
  const signature = Buffer.from(bytes.toString("latin1", 0, signatureLength), "base64url");
  const body = bytes.subarray(signatureLength + 1);
  if (!verifySignature(trust.grantKey, signedBytes(trust.meshId, body), signature)) {
    throw new Refused("it is not signed by the mesh's grant key");
  }
  return body;
}

/** A number as it is written here: digits alone. */
function whole(text: string | undefined, what: string): number {
  const value = /^\d{1,16}$/.test(text ?? "") ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new Refused(`${what} is no number`);
}

function readHead(line: string): { stretch: Stretch; count: number } {
  if (!line.startsWith(`${HEAD} `)) throw new Refused("it does not begin as a feed does");
  const [controllerId, from, to, digest = "", count, ...rest] = line
    .slice(HEAD.length + 1)
    .split(" ");
  if (!isPublicKey(controllerId, "U")) throw new Refused("it names no controller");
  if (rest.length > 0) throw new Refused("its first line is too long");
  if (digest !== "-" && !digestForm.test(digest)) throw new Refused("its digest is none");
  const stretch = {
    controllerId,
    from: whole(from, "from"),
    to: whole(to, "to"),
    digest: digest === "-" ? null : digest,
  };
  if (stretch.from > stretch.to) throw new Refused("it ends before it begins");
  return { stretch, count: whole(count, "the count") };
}

/** `bytes` from `at`: one value, and where the next one begins. */
function readEntry(bytes: Buffer, at: number): { entry: Entry; next: number } {
  const end = bytes.indexOf(NEWLINE, at);
  if (end < 0) throw new Refused("it ends within an entry");
  const revision = readNumber(bytes, at, "a revision");
  const time = readNumber(bytes, revision.next, "a time");
  const length = readNumber(bytes, time.next, "a length");
  const mark = bytes[length.next];
  const keyAt = length.next + 2;
  const isMarked = (mark === PLUS || mark === MINUS) && bytes[keyAt - 1] === SPACE;
  const key = bytes.toString("utf8", keyAt, Math.max(keyAt, end));
  if (!isMarked || key === "" || key.includes(" ")) throw new Refused("an entry is malformed");
  const next = end + 1 + length.value;
  if (bytes[next] !== NEWLINE) throw new Refused("a length is wrong");
  const entry = {
    key,
    revision: revision.value,
    value: bytes.toString("utf8", end + 1, next),
    deleted: mark === MINUS,
    time_ms: time.value,
  };
  return { entry, next: next + 1 };
}

/** Digits from `at` up to a space, and what is behind it. No text is made: there are thousands. */
function readNumber(bytes: Buffer, at: number, what: string): { value: number; next: number } {
  let value = 0;
  let next = at;
  for (; next < at + DIGITS_MAX; next++) {
    const digit = (bytes[next] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  const isNumber = next > at && bytes[next] === SPACE && Number.isSafeInteger(value);
  if (!isNumber) throw new Refused(`${what} is no number`);
  return { value, next: next + 1 };
}

/** Entries rise by revision within from..to. @throws Refused */
export function readStretch(bytes: Buffer): { stretch: Stretch; entries: Entry[] } {
  const end = bytes.indexOf(NEWLINE);
  if (end < 0 || end > 256) throw new Refused("it has no first line");
  const { stretch, count } = readHead(bytes.toString("latin1", 0, end));
  const entries: Entry[] = [];
  let at = end + 1;
  let last = stretch.from;
  while (at < bytes.length) {
    const { entry, next } = readEntry(bytes, at);
    if (entry.revision <= last) throw new Refused("revisions do not rise");
    last = entry.revision;
    entries.push(entry);
    at = next;
  }
  if (last > stretch.to) throw new Refused("a revision lies beyond its end");
  if (entries.length !== count) throw new Refused("it has not as many entries as it says");
  return { stretch, entries };
}
