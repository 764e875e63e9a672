// Writes a copy of the tables: checks everything, then fills the bytes that the hot path reads.
import { CALL_SIZE, CALLS_IDS, CALLS_MAX, CALLS_RECORDS } from "../../assembly/shared/calls.js";
import {
  C_CALLS_AT,
  C_PEER_CAPACITY,
  C_PREFIX_CAPACITY,
  C_TABLES_AT,
  CONTROL,
} from "../../assembly/shared/layout.js";
import {
  CALL_ENTRIES_SIZE,
  CALL_ENTRY_ID,
  CALL_ENTRY_PEER,
  DSCP_INHERIT,
  FIB_LENGTH_UNIT,
  FIB6_PREFIX,
  FIB6_SLOT_SIZE,
  FIB6_VALUE,
  KEY_ALSO,
  KEY_FIRST,
  KEY_NONE,
  P_ADDRESS,
  P_CALL_ID,
  P_DSCP,
  P_FAMILY,
  P_FLAGS,
  P_KEY,
  P_KEY_ALSO,
  P_KEYS,
  P_MAC,
  P_MTU,
  P_OVERHEAD,
  P_PORT,
  P_PROTOCOL,
  P_RECEIVES,
  P_SESSION,
  P_TEMPLATE,
  P_VNI,
  P_VNI_ALSO,
  PEER_DIALS_IN,
  PEER_ENCRYPTED,
  PEER_FOREIGN,
  PEER_FRAGMENTS,
  PEER_IDENTITIES,
  PEER_LONE,
  PEER_SAYS_IDENTITY,
  PEER_SIZE,
  SELF_HAS_4,
  SELF_HAS_6,
  SOURCE_ADDRESS,
  SOURCE_FAMILY,
  SOURCE_PEER,
  SOURCE_SLOT_SIZE,
  T_CALLS_AT,
  T_FIB6_AT,
  T_FIB6_COUNT,
  T_FIB6_LENGTHS,
  T_FIB6_MASK,
  T_PEER_COUNT,
  T_PEERS_AT,
  T_SELF_ADDRESS4,
  T_SELF_ADDRESS6,
  T_SELF_FLAGS,
  T_SELF_MAC,
  T_SELF_MTU,
  T_SELF_PORT,
  T_SELF_VNI,
  T_SOURCES_AT,
  T_SOURCES_MASK,
  TEMPLATE6_BEHIND,
} from "../../assembly/shared/tables.js";
import { addressBytes } from "./address.js";
import { clear } from "./clear.js";
import { type CheckedContents, type CheckedPeer, checkContents } from "./contents.js";
import { hash6, hashSource } from "./hash.js";
import type { RouteList } from "./routes.js";
import type { Sessions } from "./sessions.js";
import { ENCAPSULATIONS } from "./templates.js";
import { writeTrie } from "./trie.js";
import type { TableContents } from "./types.js";

/**
 * Bytes of one copy, addressed from the copy's begin or by absolute addresses from its directory.
 */
class CopyWriter {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly at: number;

  constructor(memory: Uint8Array, copy: 0 | 1) {
    this.bytes = memory;
    this.view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    this.at = this.view.getUint32(CONTROL + C_TABLES_AT + 4 * copy, true);
  }

  word(offset: number): number {
    return this.view.getUint32(this.at + offset, true);
  }

  setWord(offset: number, value: number): void {
    this.view.setUint32(this.at + offset, value, true);
  }
}

function writeSelf(copy: CopyWriter, contents: CheckedContents): void {
  const { self } = contents;
  copy.bytes.set(self.mac, copy.at + T_SELF_MAC);
  const flags = (self.address4 ? SELF_HAS_4 : 0) + (self.address6 ? SELF_HAS_6 : 0);
  copy.bytes[copy.at + T_SELF_FLAGS] = flags;
  copy.setWord(T_SELF_VNI, self.vni);
  copy.setWord(T_SELF_MTU, self.mtu);
  copy.setWord(T_SELF_PORT, self.udpPort);
  copy.setWord(T_SELF_ADDRESS4, self.address4?.words[0] ?? 0);
  const address6 = self.address6 ? addressBytes(self.address6) : new Uint8Array(16);
  copy.bytes.set(address6, copy.at + T_SELF_ADDRESS6);
}

/** Where a peer's packets carry numbers, its session's record. */
function sessionKey({ address }: CheckedPeer): string {
  return address.words.join(".");
}

function writeGre(copy: CopyWriter, at: number, peer: CheckedPeer, sessions: Sessions): void {
  const [first, also] = peer.greKeys.filter((key) => key !== null);
  const accepted = [
    ...(peer.greKeys.includes(null) ? [KEY_NONE] : []),
    ...(first === undefined ? [] : [KEY_FIRST]),
    ...(also === undefined ? [] : [KEY_ALSO]),
  ];
  copy.bytes[at + P_KEYS] = accepted.reduce((bits, bit) => bits | bit, 0);
  copy.view.setUint32(at + P_KEY, first ?? 0, true);
  copy.view.setUint32(at + P_KEY_ALSO, also ?? 0, true);
  const session = peer.gre.sequence ? sessions.of(sessionKey(peer)) : 0;
  copy.view.setUint32(at + P_SESSION, session, true);
}

/** Id and record of the call in a slot; an id of 0 where there is none. */
function callOf({ view }: CopyWriter, slot: number): { id: number; record: number } {
  const calls = view.getUint32(CONTROL + C_CALLS_AT, true);
  const id = view.getUint16(calls + CALLS_IDS + 2 * slot, true);
  return { id, record: calls + CALLS_RECORDS + slot * CALL_SIZE };
}

/** The call that carries a peer's packets. */
function writeCall(copy: CopyWriter, at: number, { protocol, pptp }: CheckedPeer): void {
  if (protocol !== "pptp" || pptp.slot === null) return;
  const { id, record } = callOf(copy, pptp.slot);
  copy.view.setUint16(at + P_CALL_ID, id, true);
  copy.view.setUint32(at + P_SESSION, id === 0 ? 0 : record, true);
}

/**
 * Says whose the packets of each call are: of the entry with the slot, or, of another way to a
 * peer, of the peer's own entry.
 */
function writeCallEntries(copy: CopyWriter, peers: readonly CheckedPeer[]): void {
  const entries = copy.word(T_CALLS_AT);
  clear(copy.bytes, entries, entries + CALL_ENTRIES_SIZE);
  const owners = new Map<string, number>();
  peers.forEach((peer, index) => {
    if (!peer.isShadow && !peer.dialsIn) owners.set(sessionKey(peer), index);
  });
  peers.forEach((peer, index) => {
    const { slot } = peer.pptp;
    if (slot === null) return;
    const owner = peer.isShadow ? owners.get(sessionKey(peer)) : index;
    const { id } = callOf(copy, slot);
    if (owner === undefined || id === 0) return;
    const entry = id * CALL_ENTRY_ID + (owner + 1) * CALL_ENTRY_PEER;
    copy.view.setUint32(entries + 4 * (slot % CALLS_MAX), entry, true);
  });
}

function flagsOf({ protocol, pptp, dialsIn, ...peer }: CheckedPeer): number {
  const { fragments, lone, identities } = peer;
  const { receives, sends } = identities;
  const flags: [boolean, number][] = [
    [fragments, PEER_FRAGMENTS],
    [lone, PEER_LONE],
    [receives, PEER_IDENTITIES],
    [sends, PEER_SAYS_IDENTITY],
    [dialsIn, PEER_DIALS_IN],
    [peer.isForeign, PEER_FOREIGN],
    [protocol === "pptp" && pptp.encrypted, PEER_ENCRYPTED],
  ];
  return flags.reduce((sum, [isSet, flag]) => sum + (isSet ? flag : 0), 0);
}

function writePeer(copy: CopyWriter, at: number, peer: CheckedPeer, selfMac: Uint8Array): void {
  const { bytes, view } = copy;
  bytes.fill(0, at, at + PEER_SIZE);
  const encapsulation = ENCAPSULATIONS[peer.protocol];
  bytes[at + P_PROTOCOL] = encapsulation.number;
  bytes[at + P_FAMILY] = peer.address.family;
  bytes[at + P_DSCP] = peer.dscp ?? DSCP_INHERIT;
  bytes[at + P_RECEIVES] = peer.receives.reduce((bits, name) => {
    return bits | (1 << ENCAPSULATIONS[name].number);
  }, 0);
  bytes[at + P_FLAGS] = flagsOf(peer);
  // A raw IPv6 socket refuses to send to a port.
  view.setUint16(at + P_PORT, encapsulation.socket === null ? 0 : peer.port, true);
  const [vni = 0, also = vni] = peer.vnis;
  view.setUint32(at + P_VNI, vni << 8);
  view.setUint32(at + P_VNI_ALSO, also << 8);
  view.setUint32(at + P_MTU, peer.mtu, true);
  bytes.set(addressBytes(peer.address), at + P_ADDRESS);
  bytes.set(peer.mac, at + P_MAC);
  const parts = { peerMac: peer.mac, selfMac, vni: peer.vni, gre: peer.gre, pptp: peer.pptp };
  const template = encapsulation.template({ ...parts, version: 4 });
  bytes.set(template, at + P_TEMPLATE);
  bytes.set(encapsulation.template({ ...parts, version: 6 }), at + P_TEMPLATE + TEMPLATE6_BEHIND);
  bytes[at + P_OVERHEAD] = template.length;
}

/** Enters a peer's underlay address into the hash of sources. */
function writeSource(copy: CopyWriter, peer: CheckedPeer, index: number): void {
  const address = addressBytes(peer.address);
  const view = new DataView(address.buffer);
  const words = [0, 4, 8, 12].map((offset) => view.getUint32(offset, true));
  const slots = copy.word(T_SOURCES_AT);
  const mask = copy.word(T_SOURCES_MASK);
  let slot = hashSource(words, peer.address.family) & mask;
  const at = () => slots + slot * SOURCE_SLOT_SIZE;
  while (copy.view.getUint32(at() + SOURCE_PEER, true) !== 0) slot = (slot + 1) & mask;
  copy.bytes.set(address, at() + SOURCE_ADDRESS);
  copy.view.setUint32(at() + SOURCE_FAMILY, peer.address.family, true);
  copy.view.setUint32(at() + SOURCE_PEER, index + 1, true);
}

function writePeers(copy: CopyWriter, contents: CheckedContents, sessions: Sessions): void {
  const sourcesAt = copy.word(T_SOURCES_AT);
  const sourcesEnd = sourcesAt + (copy.word(T_SOURCES_MASK) + 1) * SOURCE_SLOT_SIZE;
  clear(copy.bytes, sourcesAt, sourcesEnd);
  const numbered = contents.peers.filter(({ gre }) => gre.sequence);
  sessions.keep(new Set(numbered.map(sessionKey)));
  contents.peers.forEach((peer, index) => {
    const at = copy.word(T_PEERS_AT) + index * PEER_SIZE;
    writePeer(copy, at, peer, contents.self.mac);
    writeGre(copy, at, peer, sessions);
    writeCall(copy, at, peer);
    if (peer.isFoundBySource) writeSource(copy, peer, index);
  });
  writeCallEntries(copy, contents.peers);
  copy.setWord(T_PEER_COUNT, contents.peers.length);
}

/** Lengths that occur, longest first: the order in which the hot path tries them. */
function writeLengths(copy: CopyWriter, { lengths, count }: RouteList): void {
  const occurring = [...new Set(lengths.subarray(0, count))].sort((a, b) => b - a);
  copy.bytes.set(occurring, copy.at + T_FIB6_LENGTHS);
  copy.setWord(T_FIB6_COUNT, occurring.length);
}

function writeFib6(copy: CopyWriter, routes: RouteList): void {
  const at = copy.word(T_FIB6_AT);
  const mask = copy.word(T_FIB6_MASK);
  clear(copy.bytes, at, at + (mask + 1) * FIB6_SLOT_SIZE);
  const { words: from, lengths, next, count } = routes;
  const slots = new Uint32Array(copy.bytes.buffer, copy.bytes.byteOffset);
  const [slotWords, first] = [FIB6_SLOT_SIZE / 4, at / 4];
  for (let index = 0; index < count; index++) {
    const [a, b] = [from[4 * index] as number, from[4 * index + 1] as number];
    const [c, d] = [from[4 * index + 2] as number, from[4 * index + 3] as number];
    const length = lengths[index] as number;
    let slot = hash6(a, b, c, d, length) & mask;
    while (slots[first + slot * slotWords + FIB6_VALUE / 4] !== 0) slot = (slot + 1) & mask;
    const word = first + slot * slotWords;
    // Two 64-bit numbers, high half first, each little-endian: the words of a half change places.
    const prefix = word + FIB6_PREFIX / 4;
    slots[prefix] = b;
    slots[prefix + 1] = a;
    slots[prefix + 2] = d;
    slots[prefix + 3] = c;
    slots[word + FIB6_VALUE / 4] = length * FIB_LENGTH_UNIT + (next[index] as number);
  }
  writeLengths(copy, routes);
}

/**
 * Writes `contents` into one copy of the tables, which no worker may be using. `memory` views the
 * whole shared memory, `sessions` gives out its records. Publishing the copy is the caller's.
 * @throws {TableError} MESHD_TABLE_FULL, MESHD_TABLE_CONFLICT or MESHD_TABLE_INVALID; nothing was
 *   written then.
 */
export function writeTables(
  memory: Uint8Array,
  copy: 0 | 1,
  contents: TableContents,
  sessions: Sessions,
): void {
  const writer = new CopyWriter(memory, copy);
  const checked = checkContents(contents, {
    peers: writer.view.getUint32(CONTROL + C_PEER_CAPACITY, true),
    prefixes: writer.view.getUint32(CONTROL + C_PREFIX_CAPACITY, true),
  });
  writeSelf(writer, checked);
  writePeers(writer, checked, sessions);
  writeTrie(memory, writer.at, checked.routes4);
  writeFib6(writer, checked.routes6);
}
