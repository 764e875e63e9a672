// Addresses, prefixes and MAC addresses as the tables hold them: 32-bit words in host order.
import { isIP, SocketAddress } from "node:net";

export interface Address {
  family: 4 | 6;
  /** One word (IPv4) or four (IPv6), host order, most significant first. */
  words: number[];
}

export interface Prefix extends Address {
  length: number;
}

function word4(text: string): number {
  return text.split(".").reduce((sum, part) => ((sum << 8) | Number(part)) >>> 0, 0);
}

/** Replaces a dotted tail ("::ffff:192.0.2.1") by two groups. */
function withoutDots(text: string): string {
  const at = text.lastIndexOf(":") + 1;
  if (!text.includes(".", at)) return text;
  const value = word4(text.slice(at));
  return `${text.slice(0, at)}${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
}

function words6(text: string): number[] {
  const [left = "", right] = withoutDots(text).split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((g) => parseInt(g, 16)));
  const head = groups(left);
  const tail = groups(right ?? "");
  const zeros = new Array<number>(8 - head.length - tail.length).fill(0);
  const all = [...head, ...zeros, ...tail];
  return [0, 2, 4, 6].map((i) => (((all[i] ?? 0) << 16) | (all[i + 1] ?? 0)) >>> 0);
}

/** An address without zone, or undefined. */
export function parseAddress(text: string): Address | undefined {
  const family = isIP(text);
  if (family === 4) return { family, words: [word4(text)] };
  return family === 6 && !text.includes("%") ? { family, words: words6(text) } : undefined;
}

/** The words of an address with all bits after the first `length` cleared. */
export function maskWords(words: readonly number[], length: number): number[] {
  return words.map((word, i) => {
    const bits = Math.min(32, Math.max(0, length - 32 * i));
    return bits === 0 ? 0 : (word & (0xffffffff << (32 - bits))) >>> 0;
  });
}

/** A prefix "address/length" without host bits, or undefined. */
export function parsePrefix(text: string): Prefix | undefined {
  const at = text.indexOf("/");
  const digits = text.slice(at + 1);
  const address = at < 0 ? undefined : parseAddress(text.slice(0, at));
  if (address === undefined || !/^\d{1,3}$/.test(digits)) return undefined;
  const length = Number(digits);
  if (length > address.words.length * 32) return undefined;
  const masked = maskWords(address.words, length);
  return masked.every((word, i) => word === address.words[i]) ? { ...address, length } : undefined;
}

const ZERO = 48;
const SLASH = 47;
const COLON = 58;
const DOT = 46;

/** The number from `at` to the end, without signs and zeros before it; -1: none up to `most`. */
function readLength(text: string, at: number, most: number): number {
  if (at >= text.length || at + 3 < text.length) return -1;
  let value = 0;
  for (let index = at; index < text.length; index++) {
    const digit = text.charCodeAt(index) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = 10 * value + digit;
  }
  return value <= most ? value : -1;
}

/**
 * Reads "address/length" of IPv4 in its usual spelling into `words` and gives the length: for
 * tables of many thousand prefixes, ten times as fast as `parsePrefix`. -1: let that one decide.
 */
export function readPrefix4(text: string, words: Uint32Array): number {
  let word = 0;
  let part = -1;
  let dots = 0;
  let at = 0;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code >= ZERO && code < ZERO + 10) {
      if (part === 0) return -1;
      part = (part < 0 ? 0 : 10 * part) + code - ZERO;
      if (part > 255) return -1;
    } else if (code === DOT) {
      if (part < 0 || dots === 3) return -1;
      word = word * 256 + part;
      part = -1;
      dots++;
    } else if (code === SLASH) {
      break;
    } else {
      return -1;
    }
  }
  if (dots !== 3 || part < 0) return -1;
  word = word * 256 + part;
  const length = readLength(text, at + 1, 32);
  if (length < 0 || (length < 32 && (word & (0xffffffff >>> length)) !== 0)) return -1;
  words[0] = word;
  return length;
}

function hexDigit(code: number): number {
  if (code >= ZERO && code < ZERO + 10) return code - ZERO;
  const letter = (code | 32) - 97;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}

const groups = new Uint16Array(8);

/** Reads groups of an IPv6 address into `groups`; where the slash is, or -1. */
function readGroups(text: string): number {
  let count = 0;
  let gap = -1;
  let value = -1;
  let digits = 0;
  let at = 0;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    const digit = hexDigit(code);
    if (digit >= 0) {
      value = (value < 0 ? 0 : 16 * value) + digit;
      digits++;
      if (digits > 4 || count === 8) return -1;
    } else if (code === COLON) {
      if (value < 0 && at > 0) return -1;
      if (value >= 0) groups[count++] = value;
      value = -1;
      digits = 0;
      if (text.charCodeAt(at + 1) !== COLON) {
        if (at === 0 || text.charCodeAt(at + 1) === SLASH) return -1;
        continue;
      }
      if (gap >= 0) return -1;
      gap = count;
      at++;
    } else if (code === SLASH) {
      break;
    } else {
      return -1;
    }
  }
  if (value >= 0) groups[count++] = value;
  if (gap < 0 ? count !== 8 : count > 7) return -1;
  if (gap >= 0) {
    groups.copyWithin(8 - (count - gap), gap, count);
    groups.fill(0, gap, 8 - (count - gap));
  }
  return at;
}

/** As readPrefix4, for IPv6 without a dotted tail. */
export function readPrefix6(text: string, words: Uint32Array): number {
  const slash = readGroups(text);
  if (slash < 0) return -1;
  const length = readLength(text, slash + 1, 128);
  if (length < 0) return -1;
  for (let at = 0; at < 4; at++) {
    const word = (((groups[2 * at] ?? 0) << 16) | (groups[2 * at + 1] ?? 0)) >>> 0;
    const bits = Math.min(32, Math.max(0, length - 32 * at));
    if (bits < 32 && (word & (0xffffffff >>> bits)) !== 0) return -1;
    words[at] = word;
  }
  return length;
}

/** The six bytes of `aa:bb:cc:dd:ee:ff`, or undefined. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
}

/** The 16 bytes of D_PEER: network order, IPv4 in the first four. */
export function addressBytes(address: Address): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  address.words.forEach((word, i) => {
    view.setUint32(4 * i, word);
  });
  return bytes;
}

/** Four or sixteen bytes as text, as the system writes it (RFC 5952). */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => {
    return (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16);
  });
  return new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address;
}
