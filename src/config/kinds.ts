// The kinds of values settings have: each reads what YAML, variable or flag gave, or refuses it.
import { isIP, isIPv4, isIPv6 } from "node:net";

/** One kind of value. `parse` gives the value in its canonical form, or undefined: refused. */
export interface Kind<T> {
  /** What is allowed, to stand after "allowed:". */
  allowed: string;
  parse(given: unknown): T | undefined;
}

/** One of a few words. */
export function oneOf<const T extends string>(...words: T[]): Kind<T> {
  return {
    allowed: words.join(", "),
    parse: (given) => words.find((word) => word === given),
  };
}

/** true or false; variables and flags give them as text. */
export const boolean: Kind<boolean> = {
  allowed: "true, false",
  parse(given) {
    if (given === true || given === "true") return true;
    if (given === false || given === "false") return false;
    return undefined;
  },
};

/** A whole decimal number from `min` to `max`. */
export function integer(min: number, max: number): Kind<number> {
  return {
    allowed: `a whole number from ${min} to ${max}`,
    parse(given) {
      const number = typeof given === "string" && /^\d{1,15}$/.test(given) ? Number(given) : given;
      if (typeof number !== "number" || !Number.isInteger(number)) return undefined;
      return number >= min && number <= max ? number : undefined;
    },
  };
}

/** `word`, or what `other` allows. */
export function wordOr<const W extends string, T>(word: W, other: Kind<T>): Kind<W | T> {
  return {
    allowed: `${word}, or ${other.allowed}`,
    parse: (given) => (given === word ? word : other.parse(given)),
  };
}

/**
 * Several values of a kind, each once, in the order given; text has commas between them, and "" or
 * "none" is none of them.
 */
export function listOf<T extends string>(one: Kind<T>, min: number, max: number): Kind<T[]> {
  const count = min === 0 ? `at most ${max}` : `${min} to ${max}`;
  return {
    allowed: `${count} of: ${one.allowed}; commas between them${min === 0 ? ", or none" : ""}`,
    parse(given) {
      const words = given === "" || given === "none" ? [] : splitWords(given);
      if (!Array.isArray(words) || words.length < min || words.length > max) return undefined;
      const values = words.map((word) => one.parse(word)).filter((value) => value !== undefined);
      return new Set(values).size === words.length ? values : undefined;
    },
  };
}

function splitWords(given: unknown): unknown {
  return typeof given === "string" ? given.split(",").map((word) => word.trim()) : given;
}

/** Text that fits a pattern. */
export function text(allowed: string, fits: (given: string) => boolean): Kind<string> {
  return {
    allowed,
    parse: (given) => (typeof given === "string" && fits(given) ? given : undefined),
  };
}

/** An IPv4 or IPv6 address without a zone. */
export const address: Kind<string> = text(
  "an IPv4 or IPv6 address",
  (given) => isIP(given) !== 0 && !given.includes("%"),
);

/** An IPv4 address. */
export const address4: Kind<string> = text("an IPv4 address", isIPv4);

/** A path; relative ones, of flags and variables, were made absolute before. */
export const path: Kind<string> = text(
  "a path, in a file an absolute one",
  (given) => given.startsWith("/") && !/\p{Cc}/u.test(given) && given.length < 4096,
);

/** What `other` allows, or null: off. Variables and flags say "null" or "none". */
export function orNull<T>(other: Kind<T>): Kind<T | null> {
  return {
    allowed: `${other.allowed}, or null for none`,
    parse(given) {
      if (given === null || given === "null" || given === "none") return null;
      return other.parse(given);
    },
  };
}

/** A network in CIDR form whose host bits are zero. */
export function cidr(family: 4 | 6): Kind<string> {
  const example = family === 4 ? "10.244.0.0/16" : "fd00:10:244::/48";
  return text(
    `an IPv${family} network such as ${example}`,
    (given) => networkOf(family, given) !== undefined,
  );
}

/** A network of either family. */
export const anyCidr: Kind<string> = {
  allowed: "an IPv4 or IPv6 network such as 10.9.0.0/24",
  parse: (given) => cidr(4).parse(given) ?? cidr(6).parse(given),
};

/** The text itself when it is a network of that family with no host bits set. */
function networkOf(family: 4 | 6, given: string): string | undefined {
  const found = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(given);
  if (!found?.[1] || !found[2]) return undefined;
  const length = Number(found[2]);
  const bits = family === 4 ? 32 : 128;
  if (length > bits || !(family === 4 ? isIPv4(found[1]) : isIPv6(found[1]))) return undefined;
  const value = addressBits(found[1]);
  const hostBits = BigInt(bits - length);
  if (value & ((1n << hostBits) - 1n)) return undefined;
  return given;
}

const ZERO = 48;

/** The address as one number. The text must have passed isIP. */
export function addressBits(given: string): bigint {
  if (isIPv4(given)) {
    return BigInt(ipv4Bits(given));
  }
  const [head = "", tail] = ipv4TailAsGroups(given).split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...new Array<string>(zeros).fill("0"), ...after];
  return groups.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

/** Digit by digit: plans read thousands, and need neither big numbers nor parts of the text. */
function ipv4Bits(given: string): number {
  let [sum, part] = [0, 0];
  for (let at = 0; at < given.length; at++) {
    const digit = given.charCodeAt(at) - ZERO;
    if (digit >= 0) part = part * 10 + digit;
    else [sum, part] = [sum * 256 + part, 0];
  }
  return sum * 256 + part;
}

/** "::ffff:10.0.0.1" ends in dotted form (RFC 4291, 2.2); as two groups it reads like the rest. */
function ipv4TailAsGroups(given: string): string {
  const at = given.lastIndexOf(":") + 1;
  const dotted = given.slice(at);
  if (!dotted.includes(".")) return given;
  const bits = addressBits(dotted);
  return `${given.slice(0, at)}${(bits >> 16n).toString(16)}:${(bits & 0xffffn).toString(16)}`;
}

/** "host:port" or "[v6]:port" that a server listens on. */
export const listenAddress: Kind<string> = text("ADDRESS:PORT such as 127.0.0.1:9477", (given) => {
  const found = splitHostPort(given);
  return found !== undefined && isIP(found.host) !== 0;
});

/** Splits "1.2.3.4:80" and "[fd00::1]:80"; undefined when it is neither. */
export function splitHostPort(given: string): { host: string; port: number } | undefined {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(given);
  const host = found?.[1] ?? found?.[2];
  const port = Number(found?.[3]);
  return host === undefined || port < 1 || port > 65535 ? undefined : { host, port };
}

/** One or more NATS server URLs, separated by commas. YAML may give a list. */
export const natsServers: Kind<string[]> = {
  allowed: "nats://HOST:PORT or tls://HOST:PORT, several separated by commas",
  parse(given) {
    const list = typeof given === "string" ? given.split(",") : given;
    if (!Array.isArray(list)) return undefined;
    const servers = list.map((item) => (typeof item === "string" ? item.trim() : ""));
    if (servers.length === 1 && servers[0] === "") return [];
    return servers.every(isNatsServer) ? servers : undefined;
  },
};

function isNatsServer(given: string): boolean {
  return /^(?:(?:nats|tls):\/\/)?(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::\d{1,5})?\/?$/.test(
    given,
  );
}
