// An open super-packet: a chain of blocks where they lie in their slots. A block is a packet, and
// behind it the payloads of those that `follow` has moved there. The 4 bytes before a block hold
// the address of the next. One block is emitted where it lies, several are gathered in the arena.
import * as sum from "./checksum";
import * as joinable from "./joinable";
import { takeTun, toTun, tunArenaRoom } from "./output";
import { D_SEGMENTS, MAX_SEGMENTS } from "./shared/layout";
import * as tcp from "./wire/tcp";
import * as udp from "./wire/udp";
import * as vnet from "./wire/vnet";

export const CHAIN_SIZE: usize = 64;
const FIRST: usize = 0; //     address of the first block, 0 = free
const LAST: usize = 4; //      address of the last
const TUPLE: usize = 8; //     hash of addresses, ports and protocol
const DIRECTION: usize = 12;
const HEADER: usize = 16; //   bytes of IP and transport headers
const SIZE: usize = 20; //     payload bytes of every packet but the last
const LENGTH: usize = 24; //   bytes of the super-packet: header and all payload
const CARRIED: usize = 28; //  bytes of the inner packets as they were on the wire
const COUNT: usize = 32;
const SEQUENCE: usize = 36; // TCP: the one that continues the chain
const FLAGS: usize = 40; //    TCP: FIN and PSH of any packet
const END: usize = 44; //      address behind the last block
const BLOCKS: usize = 48;

/** Address of the next block of a chain: this far before a block. */
const LINK: usize = 4;
const LENGTH_MAX: u32 = 65535;
/** Half of that. */
const LARGE: u32 = 32768;
/** Vnet header and alignment: what a super-packet takes of the arena beside its own bytes. */
const ARENA_EXTRA: u32 = 128;

/** Address of the chain's first packet, 0 when the chain is free. */
export function first(chain: usize): usize {
  return load<u32>(chain, FIRST);
}

/** Payload bytes of every packet but the last. */
export function size(chain: usize): u32 {
  return load<u32>(chain, SIZE);
}

/** Bytes of IP and transport headers of every packet. */
export function header(chain: usize): u32 {
  return load<u32>(chain, HEADER);
}

/** Where the last block stands. */
export function last(chain: usize): usize {
  return load<u32>(chain, LAST);
}

/** Packets in the chain. */
export function count(chain: usize): u32 {
  return load<u32>(chain, COUNT);
}

/** TCP: the sequence number that continues the chain. */
export function sequence(chain: usize): u32 {
  return load<u32>(chain, SEQUENCE);
}

/** Where the last block ends. */
export function end(chain: usize): usize {
  return load<u32>(chain, END);
}

/** Makes the chain free without emitting it. */
export function clear(chain: usize): void {
  store<u32>(chain, 0, FIRST);
}

/** Whether the chain is open, of this packet's flow. */
export function isOf(chain: usize, at: usize, tuple: u32): bool {
  const start = first(chain);
  return start != 0 && load<u32>(chain, TUPLE) == tuple && joinable.sameFlow(start, at);
}

/** Starts a free chain with its first packet, `length` bytes of which `header` are headers. */
export function start(
  chain: usize,
  at: usize,
  length: u32,
  header: u32,
  direction: u32,
  tuple: u32,
): void {
  store<u32>(chain, at, FIRST);
  store<u32>(chain, at, LAST);
  store<u32>(chain, tuple, TUPLE);
  store<u32>(chain, direction, DIRECTION);
  store<u32>(chain, header, HEADER);
  store<u32>(chain, length - header, SIZE);
  store<u32>(chain, length, LENGTH);
  store<u32>(chain, length, CARRIED);
  store<u32>(chain, 1, COUNT);
  store<u32>(chain, tcp.sequence(joinable.transportOf(at)) + length - header, SEQUENCE);
  store<u32>(chain, 0, FLAGS);
  store<u32>(chain, at + length, END);
  store<u32>(chain, 1, BLOCKS);
}

/** Whether there is room for one packet more of `payload` bytes. */
export function hasRoom(chain: usize, payload: u32): bool {
  return (
    load<u32>(chain, COUNT) < MAX_SEGMENTS &&
    payload <= load<u32>(chain, SIZE) &&
    load<u32>(chain, LENGTH) + payload <= LENGTH_MAX
  );
}

/** Whether the packet's headers continue the chain; `header` are its bytes of headers. */
export function continues(chain: usize, at: usize, header: u32): bool {
  const begin = first(chain);
  if (header != load<u32>(chain, HEADER)) return false;
  if (!joinable.sameIp(begin, at, load<u32>(chain, COUNT))) return false;
  if (!joinable.isTcp(at)) return true;
  const tcpAt = joinable.transportOf(at);
  if (tcp.sequence(tcpAt) != load<u32>(chain, SEQUENCE)) return false;
  return joinable.sameTcp(joinable.transportOf(begin), tcpAt);
}

/** Whether ports and sequence are those that the chain waits for, if it is of its protocol. */
export function mayTake(chain: usize, at: usize): bool {
  const begin = first(chain);
  if (!joinable.samePorts(begin, at)) return false;
  return !joinable.isTcp(begin) || tcp.sequence(joinable.transportOf(at)) == sequence(chain);
}

/**
 * Whether the chain is one large block: to put it out as it is costs less than to gather it for the
 * sake of a few packets more.
 */
export function isLargeBlock(chain: usize): bool {
  return load<u32>(chain, BLOCKS) == 1 && load<u32>(chain, LENGTH) > LARGE;
}

/** Whether the checksums of what the chain holds are right: a first packet is looked at late. */
export function isIntact(chain: usize): bool {
  return load<u32>(chain, COUNT) > 1 || joinable.isIntact(first(chain), load<u32>(chain, LENGTH));
}

/** Whether the packet continues the chain: headers, order, size, and checksums of both. */
export function takes(chain: usize, at: usize, length: u32, header: u32, direction: u32): bool {
  return (
    direction == load<u32>(chain, DIRECTION) &&
    hasRoom(chain, length - header) &&
    continues(chain, at, header) &&
    joinable.isIntact(at, length) &&
    isIntact(chain)
  );
}

/** Arena bytes that the chain will take; a lone block takes none. */
export function held(chain: usize): u32 {
  return load<u32>(chain, BLOCKS) > 1 ? load<u32>(chain, LENGTH) + ARENA_EXTRA : 0;
}

/** Arena bytes that the chain will take with a block more, of `payload` bytes. */
export function heldWith(chain: usize, payload: u32): u32 {
  return load<u32>(chain, LENGTH) + payload + ARENA_EXTRA;
}

/** Arena bytes that the chain will take more when its last block grows by `payload`. */
export function heldMore(chain: usize, payload: u32): u32 {
  return load<u32>(chain, BLOCKS) > 1 ? payload : 0;
}

/** Counts a packet of `payload` bytes with these TCP flags, whose bytes are in their place. */
export function extend(chain: usize, payload: u32, end: usize, flags: u32): void {
  store<u32>(chain, load<u32>(chain, LENGTH) + payload, LENGTH);
  store<u32>(chain, load<u32>(chain, CARRIED) + payload + load<u32>(chain, HEADER), CARRIED);
  store<u32>(chain, load<u32>(chain, COUNT) + 1, COUNT);
  store<u32>(chain, load<u32>(chain, SEQUENCE) + payload, SEQUENCE);
  store<u32>(chain, load<u32>(chain, FLAGS) | (flags & joinable.ENDS), FLAGS);
  store<u32>(chain, end, END);
}

/** Whether nothing may follow the chain's last packet: FIN, PSH, or it is shorter. */
export function isEnded(chain: usize): bool {
  const payload = load<u32>(chain, LENGTH) - load<u32>(chain, HEADER);
  return (
    load<u32>(chain, FLAGS) != 0 || payload != load<u32>(chain, COUNT) * load<u32>(chain, SIZE)
  );
}

/** The last block says its own length, for when another one follows. */
function seal(chain: usize): void {
  const at: usize = load<u32>(chain, LAST);
  joinable.setLength(at, <u32>(end(chain) - at));
}

/** Appends a packet that the chain takes, as a block of its own. */
export function append(chain: usize, at: usize, length: u32, header: u32): void {
  seal(chain);
  store<u32>(<usize>load<u32>(chain, LAST) - LINK, at);
  store<u32>(chain, at, LAST);
  store<u32>(chain, load<u32>(chain, BLOCKS) + 1, BLOCKS);
  extend(chain, length - header, at + length, joinable.flagsOf(at));
}

/** Emits one packet where it lies, for the kernel to check as any other. */
export function emitAlone(at: usize, length: u32, direction: u32): void {
  const address = at - vnet.SIZE;
  vnet.clear(address);
  toTun(address, vnet.SIZE + length, length, direction);
}

/** Copies the first block and the payloads of the others to `to`. */
function gather(chain: usize, to: usize): void {
  const header = load<u32>(chain, HEADER);
  let at: usize = load<u32>(chain, FIRST);
  sum.copy(to, at, header);
  to += header;
  for (let left = load<u32>(chain, BLOCKS); left > 0; left--) {
    const payload = joinable.lengthOf(at) - header;
    sum.copy(to, at + header, payload);
    to += payload;
    at = left > 1 ? <usize>load<u32>(at - LINK) : 0;
  }
}

/** Makes TCP's header that of a super-packet; returns the vnet header's type. */
function writeTcp(at: usize, tcpAt: usize, more: u32, pseudo: u32): u32 {
  const flags = tcp.flags(tcpAt) | more;
  tcp.setFlags(tcpAt, flags);
  tcp.setChecksum(tcpAt, pseudo);
  const type = joinable.isV4(at) ? vnet.GSO_TCP4 : vnet.GSO_TCP6;
  return flags & tcp.CWR ? type | vnet.GSO_ECN : type;
}

/** Makes UDP's header that of a super-packet; returns the vnet header's type. */
function writeUdp(udpAt: usize, bytes: u32, pseudo: u32): u32 {
  udp.setLength(udpAt, bytes);
  udp.setChecksum(udpAt, pseudo);
  return vnet.GSO_UDP;
}

/**
 * Emits `length` bytes at `at` as a super-packet; the 10 bytes before are free. `flags` are added
 * to its TCP header. The kernel completes the checksum.
 */
function emitSuper(chain: usize, at: usize, length: u32, flags: u32): void {
  const header = load<u32>(chain, HEADER);
  const transportAt = joinable.transportOf(at);
  const offset = <u32>(transportAt - at);
  const isTcp = joinable.isTcp(at);
  joinable.setLength(at, length);
  const pseudo = joinable.finishIp(at, length - offset);
  const type = isTcp
    ? writeTcp(at, transportAt, flags, pseudo)
    : writeUdp(transportAt, length - offset, pseudo);
  const field = isTcp ? tcp.CHECKSUM : udp.CHECKSUM;
  vnet.write(at - vnet.SIZE, type, header, load<u32>(chain, SIZE), offset, field);
  const count = (length - header + load<u32>(chain, SIZE) - 1) / load<u32>(chain, SIZE);
  const carried = length + (count - 1) * header;
  const direction = load<u32>(chain, DIRECTION);
  const descriptor = toTun(at - vnet.SIZE, vnet.SIZE + length, carried, direction);
  store<u16>(descriptor, count, D_SEGMENTS);
}

/** Emits a block where it lies: one packet as it is, several as a super-packet. */
function emitBlock(chain: usize, at: usize, length: u32, flags: u32): void {
  if (length - load<u32>(chain, HEADER) > load<u32>(chain, SIZE)) {
    emitSuper(chain, at, length, flags);
  } else {
    emitAlone(at, length, load<u32>(chain, DIRECTION));
  }
}

/** Emits the blocks of a chain one by one: somebody else has taken the room in the arena. */
function emitEach(chain: usize): void {
  let at: usize = load<u32>(chain, FIRST);
  for (let left = load<u32>(chain, BLOCKS); left > 1; left--) {
    // The vnet header overwrites the link: read it first.
    const next: usize = load<u32>(at - LINK);
    emitBlock(chain, at, joinable.lengthOf(at), 0);
    at = next;
  }
  emitBlock(chain, at, <u32>(end(chain) - at), load<u32>(chain, FLAGS));
}

/** Emits what the chain holds, as one packet where the arena has room, and frees it. */
export function emit(chain: usize): void {
  const length = load<u32>(chain, LENGTH);
  if (load<u32>(chain, BLOCKS) == 1 || tunArenaRoom() < vnet.SIZE + length) {
    emitEach(chain);
  } else {
    seal(chain);
    const at = takeTun(vnet.SIZE + length) + vnet.SIZE;
    gather(chain, at);
    emitSuper(chain, at, length, load<u32>(chain, FLAGS));
  }
  clear(chain);
}
