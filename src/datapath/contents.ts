// Checks what the control side wants in the tables and turns text into numbers, before a byte is
// written. Two owners for one prefix or one underlay address are refused, never decided by order.
import { CALLS_MAX } from "../../assembly/shared/calls.js";
import { NEXT_LOCAL, NEXT_PEER } from "../../assembly/shared/tables.js";
import {
  type Address,
  maskWords,
  parseAddress,
  parseMac,
  parsePrefix,
  readPrefix4,
  readPrefix6,
} from "./address.js";
import { RouteList } from "./routes.js";
import { ENCAPSULATIONS } from "./templates.js";
import {
  type CallOptions,
  type GreOptions,
  type ProtocolName,
  SHADOWS_MAX,
  type TableContents,
  type TablePeer,
  type TableSelf,
} from "./types.js";

export type TableErrorCode = "MESHD_TABLE_FULL" | "MESHD_TABLE_CONFLICT" | "MESHD_TABLE_INVALID";

/** Tables that cannot be written. `message` is one line: what, why, what to do. */
export class TableError extends Error {
  override readonly name = "TableError";
  readonly code: TableErrorCode;

  constructor(code: TableErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export interface CheckedSelf {
  mac: Uint8Array;
  vni: number;
  mtu: number;
  udpPort: number;
  address4: Address | undefined;
  address6: Address | undefined;
}

export interface CheckedPeer {
  protocol: ProtocolName;
  receives: readonly ProtocolName[];
  address: Address;
  port: number;
  mac: Uint8Array;
  /** What is sent, and what is accepted. */
  vni: number;
  vnis: readonly number[];
  gre: GreOptions;
  greKeys: readonly (number | null)[];
  mtu: number;
  dscp: number | undefined;
  fragments: boolean;
  lone: boolean;
  identities: { receives: boolean; sends: boolean };
  isShadow: boolean;
  pptp: CallOptions;
  dialsIn: boolean;
  isForeign: boolean;
  /** What comes from its address is its. Not so where all that comes is known by its call. */
  isFoundBySource: boolean;
}

export interface CheckedContents {
  self: CheckedSelf;
  peers: CheckedPeer[];
  routes4: RouteList;
  routes6: RouteList;
}

export interface Capacities {
  peers: number;
  /** Of each family. */
  prefixes: number;
}

const VNI_MAX = 0xffffff;
const PORT_MAX = 65535;
const MTU_MAX = 65535;
/** The smallest packet every IPv4 link carries, RFC 791 section 3.2. */
const MTU_MIN = 68;
/** Below what any path leaves (576 less headers) nothing is cut: room for fragments is bounded. */
const PIECED_MTU_MIN = 512;
const DSCP_MAX = 63;
const GRE_KEY_MAX = 0xffffffff;
/** Network numbers, and GRE keys, that one peer's packets may have. */
const ACCEPTED_MAX = 2;

function invalid(what: string, value: unknown, allowed: string): TableError {
  return new TableError("MESHD_TABLE_INVALID", `${what} ${String(value)}: ${allowed}`);
}

function number(what: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw invalid(what, value, `give a whole number from ${least} to ${most}`);
}

function mac(what: string, text: string): Uint8Array {
  const bytes = parseMac(text);
  if (bytes !== undefined && ((bytes[0] ?? 0) & 1) === 0) return bytes;
  throw invalid(what, text, "give a unicast MAC address aa:bb:cc:dd:ee:ff");
}

function address(what: string, text: string): Address {
  const parsed = parseAddress(text);
  if (parsed !== undefined) return parsed;
  throw invalid(what, text, "give an IPv4 or IPv6 address without zone");
}

function checkSelf(self: TableSelf): CheckedSelf {
  const addresses = self.addresses.map((text) => address("node address", text));
  return {
    mac: mac("VTEP MAC", self.mac),
    vni: number("VNI", self.vni, 0, VNI_MAX),
    mtu: number("tunnel MTU", self.mtu, MTU_MIN, MTU_MAX),
    udpPort: number("UDP port", self.udpPort, 0, PORT_MAX),
    address4: addresses.find((one) => one.family === 4),
    address6: addresses.find((one) => one.family === 6),
  };
}

/** At most two things that are accepted; none where there are none. */
function few<T>(what: string, all: readonly T[]): readonly T[] {
  if (all.length <= ACCEPTED_MAX) return all;
  throw invalid(what, all.join(", "), `at most ${ACCEPTED_MAX} are accepted`);
}

/** MAC address and network numbers, where there are any. */
function checkFrames(
  who: string,
  peer: TablePeer,
  protocols: readonly ProtocolName[],
): Pick<CheckedPeer, "mac" | "vni" | "vnis"> {
  const hasNetwork = protocols.some((name) => ENCAPSULATIONS[name].hasFrames);
  const hasMac = hasNetwork || peer.gre?.frames === true;
  const check = (vni: number) => number(`VNI ${who}`, vni, 0, VNI_MAX);
  const vni = hasNetwork ? check(peer.vni ?? -1) : 0;
  const vnis = hasNetwork ? (peer.vnis ?? [vni]).map(check) : [0];
  return {
    mac: hasMac ? mac(`VTEP MAC ${who}`, peer.mac ?? "") : new Uint8Array(6),
    vni,
    vnis: few(`VNIs ${who}`, vnis),
  };
}

const PLAIN_GRE: GreOptions = { key: null, checksum: false, sequence: false };

function checkGre(who: string, peer: TablePeer): Pick<CheckedPeer, "gre" | "greKeys"> {
  const { gre = PLAIN_GRE } = peer;
  const { greKeys = [gre.key] } = peer;
  const keys = [gre.key, ...greKeys].filter((key) => key !== null);
  for (const key of keys) number(`GRE key ${who}`, key, 0, GRE_KEY_MAX);
  few(
    `GRE keys ${who}`,
    greKeys.filter((key) => key !== null),
  );
  return { gre, greKeys };
}

const NO_CALL: CallOptions = { slot: null, encrypted: true, acfc: false, pfc: false };

function checkCall(who: string, { pptp = NO_CALL }: TablePeer): CallOptions {
  if (pptp.slot !== null) number(`call ${who}`, pptp.slot, 0, CALLS_MAX - 1);
  return pptp;
}

function checkProtocol(who: string, name: string): void {
  if (Object.hasOwn(ENCAPSULATIONS, name)) return;
  const known = Object.keys(ENCAPSULATIONS).join(", ");
  throw invalid(`protocol ${who}`, name, `known are ${known}`);
}

function checkPeer(peer: TablePeer, selfMtu: number): CheckedPeer {
  const who = `of peer ${peer.address}`;
  const { protocol, receives = [protocol], dscp } = peer;
  const protocols = [protocol, ...receives];
  for (const name of protocols) checkProtocol(who, name);
  // Never more than our own device carries: what we announce to senders is the smaller of both.
  const mtu = Math.min(number(`MTU ${who}`, peer.mtu, MTU_MIN, MTU_MAX), selfMtu);
  return {
    protocol,
    receives,
    address: address("underlay address", peer.address),
    port: number(
      `port ${who}`,
      peer.port,
      ENCAPSULATIONS[protocol].socket === null ? 0 : 1,
      PORT_MAX,
    ),
    ...checkFrames(who, peer, protocols),
    ...checkGre(who, peer),
    mtu,
    dscp: dscp === undefined ? undefined : number(`DSCP ${who}`, dscp, 0, DSCP_MAX),
    fragments: peer.fragments === true && mtu >= PIECED_MTU_MIN,
    lone: peer.lone === true,
    identities: peer.identities ?? { receives: false, sends: false },
    isShadow: peer.shadow === true,
    pptp: checkCall(who, peer),
    dialsIn: peer.dialsIn === true,
    isForeign: peer.foreign === true,
    isFoundBySource: peer.shadow !== true && receives.some((name) => name !== "pptp"),
  };
}

/** Collects routes of both families; the same prefix for two owners is a conflict. */
class RouteSet {
  readonly routes4: RouteList;
  readonly routes6: RouteList;
  readonly #words = new Uint32Array(4);

  constructor(capacity: number) {
    this.routes4 = new RouteList(1, capacity);
    this.routes6 = new RouteList(4, capacity);
  }

  add(text: string, words: ArrayLike<number>, length: number, next: number, is6: boolean): void {
    if ((is6 ? this.routes6 : this.routes4).add(words, length, next)) return;
    const why = `prefix ${text} has two owners: take it from one of them`;
    throw new TableError("MESHD_TABLE_CONFLICT", why);
  }

  addPrefix(text: string, next: number): void {
    const words = this.#words;
    const is6 = text.includes(":");
    const length = is6 ? readPrefix6(text, words) : readPrefix4(text, words);
    if (length >= 0) this.add(text, words, length, next, is6);
    else this.#addUnusual(text, next);
  }

  /** In a spelling that is read slowly, or none at all. */
  #addUnusual(text: string, next: number): void {
    const prefix = parsePrefix(text);
    if (prefix === undefined) throw invalid("prefix", text, "give address/length, no host bits");
    this.add(text, prefix.words, prefix.length, next, prefix.family === 6);
  }

  /** A node address is local even where no own prefix covers it. */
  addAddress(text: string, next: number): void {
    const { words, family } = address("node address", text);
    this.add(text, words, words.length * 32, next, family === 6);
  }
}

function checkRoutes(contents: TableContents, most: number): RouteSet {
  const { self, peers } = contents;
  const own = self.prefixes.length + self.addresses.length;
  const set = new RouteSet(peers.reduce((sum, { prefixes }) => sum + prefixes.length, own));
  for (const prefix of self.prefixes) set.addPrefix(prefix, NEXT_LOCAL);
  for (const one of self.addresses) {
    if (!isCovered(one, self.prefixes)) set.addAddress(one, NEXT_LOCAL);
  }
  peers.forEach((peer, index) => {
    for (const prefix of peer.prefixes) set.addPrefix(prefix, NEXT_PEER + index);
  });
  const count = Math.max(set.routes4.count, set.routes6.count);
  if (count > most) {
    const why = `${count} prefixes, room for ${most}: raise prefixCapacity and restart`;
    throw new TableError("MESHD_TABLE_FULL", why);
  }
  return set;
}

function isCovered(text: string, prefixes: readonly string[]): boolean {
  const own = address("node address", text);
  return prefixes.some((candidate) => {
    const prefix = parsePrefix(candidate);
    if (prefix === undefined || prefix.family !== own.family) return false;
    return maskWords(own.words, prefix.length).every((word, i) => word === prefix.words[i]);
  });
}

function checkPeers(contents: TableContents, selfMtu: number, most: number): CheckedPeer[] {
  const shadows = contents.peers.filter(({ shadow }) => shadow === true).length;
  const count = contents.peers.length - shadows;
  if (count > most || shadows > SHADOWS_MAX) {
    const why = `${count} peers, room for ${most}: raise peerCapacity and restart`;
    throw new TableError("MESHD_TABLE_FULL", why);
  }
  const seen = new Set<string>();
  return contents.peers.map((peer) => {
    const checked = checkPeer(peer, selfMtu);
    const key = checked.address.words.join(".");
    if (!checked.isFoundBySource) return checked;
    if (seen.has(key)) {
      const why = `underlay address ${peer.address} belongs to two peers: remove one of them`;
      throw new TableError("MESHD_TABLE_CONFLICT", why);
    }
    seen.add(key);
    return checked;
  });
}

/**
 * Checks all of `contents` against the capacities the memory was laid out for.
 * @throws {TableError} with the first thing that is wrong.
 */
export function checkContents(contents: TableContents, capacities: Capacities): CheckedContents {
  const self = checkSelf(contents.self);
  const peers = checkPeers(contents, self.mtu, capacities.peers);
  const { routes4, routes6 } = checkRoutes(contents, capacities.prefixes);
  return { self, peers, routes4, routes6 };
}
