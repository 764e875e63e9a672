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
