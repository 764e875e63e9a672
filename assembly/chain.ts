// An open super-packet: a chain through the packets where they lie in their slots. The 4 bytes
// before an inner packet hold the address of the next; nothing is copied until the chain is
// emitted, and a packet that stays alone is never copied.
import * as sum from "./checksum";
import * as joinable from "./joinable";
import { takeTun, toTun, tunArenaRoom } from "./output";
import { D_SEGMENTS, MAX_SEGMENTS } from "./shared/layout";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import * as tcp from "./wire/tcp";
import * as udp from "./wire/udp";
import * as vnet from "./wire/vnet";

export const CHAIN_SIZE: usize = 64;
const FIRST: usize = 0; //     address of the first inner packet, 0 = free
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

/** Address of the next packet of a chain: this far before a packet. */
const LINK: usize = 4;
const LENGTH_MAX: u32 = 65535;
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
}

/** Whether the packet continues the chain: headers, order, size, and checksums of both. */
export function takes(chain: usize, at: usize, length: u32, header: u32, direction: u32): bool {
  const begin = first(chain);
  const count = load<u32>(chain, COUNT);
  const payload = length - header;
  if (count >= MAX_SEGMENTS || direction != load<u32>(chain, DIRECTION)) return false;
  if (header != load<u32>(chain, HEADER) || payload > load<u32>(chain, SIZE)) return false;
  if (load<u32>(chain, LENGTH) + payload > LENGTH_MAX) return false;
  if (!joinable.sameIp(begin, at, count)) return false;
  if (joinable.isTcp(at)) {
    const tcpAt = joinable.transportOf(at);
    if (tcp.sequence(tcpAt) != load<u32>(chain, SEQUENCE)) return false;
    if (!joinable.sameTcp(joinable.transportOf(begin), tcpAt)) return false;
  }
  if (!joinable.isIntact(at, length)) return false;
  return count > 1 || joinable.isIntact(begin, load<u32>(chain, LENGTH));
}

/** Arena bytes that the chain will take; a lone packet takes none. */
export function held(chain: usize): u32 {
  return load<u32>(chain, COUNT) > 1 ? load<u32>(chain, LENGTH) + ARENA_EXTRA : 0;
}

/** Arena bytes that the chain will take with `payload` bytes more. */
export function heldWith(chain: usize, payload: u32): u32 {
  return load<u32>(chain, LENGTH) + payload + ARENA_EXTRA;
}

/** Appends a packet that the chain takes. */
export function append(chain: usize, at: usize, length: u32, header: u32): void {
  const payload = length - header;
  store<u32>(<usize>load<u32>(chain, LAST) - LINK, at);
  store<u32>(chain, at, LAST);
  store<u32>(chain, load<u32>(chain, LENGTH) + payload, LENGTH);
  store<u32>(chain, load<u32>(chain, CARRIED) + length, CARRIED);
  store<u32>(chain, load<u32>(chain, COUNT) + 1, COUNT);
  if (!joinable.isTcp(at)) return;
  store<u32>(chain, load<u32>(chain, SEQUENCE) + payload, SEQUENCE);
  const flags = tcp.flags(joinable.transportOf(at)) & joinable.ENDS;
  store<u32>(chain, load<u32>(chain, FLAGS) | flags, FLAGS);
}

/** Emits one packet where it lies, for the kernel to check as any other. */
export function emitAlone(at: usize, length: u32, direction: u32): void {
  const address = at - vnet.SIZE;
  vnet.clear(address);
  toTun(address, vnet.SIZE + length, length, direction);
}

/** Emits the packets of a chain one by one: somebody else has taken the room in the arena. */
function emitEach(chain: usize): void {
  const direction = load<u32>(chain, DIRECTION);
  let at: usize = load<u32>(chain, FIRST);
  for (let left = load<u32>(chain, COUNT); left > 0; left--) {
    // The vnet header overwrites the link: read it first.
    const next: usize = left > 1 ? <usize>load<u32>(at - LINK) : 0;
    emitAlone(at, joinable.lengthOf(at), direction);
    at = next;
  }
}

/** Copies the first packet and the payloads of the others to `to`. */
function gather(chain: usize, to: usize): void {
  const header = load<u32>(chain, HEADER);
  let at: usize = load<u32>(chain, FIRST);
  sum.copy(to, at, header);
  to += header;
  for (let left = load<u32>(chain, COUNT); left > 0; left--) {
    const payload = joinable.lengthOf(at) - header;
    sum.copy(to, at + header, payload);
    to += payload;
    at = left > 1 ? <usize>load<u32>(at - LINK) : 0;
  }
}

/** Makes the headers at `at` those of the super-packet; the kernel completes the checksum. */
function writeHeaders(chain: usize, at: usize, vnetAt: usize): void {
  const length = load<u32>(chain, LENGTH);
  const transportAt = joinable.transportOf(at);
  const offset = <u32>(transportAt - at);
  const bytes = length - offset;
  const protocol = joinable.protocolOf(at);
  let pseudo: u32 = 0;
  if (joinable.isV4(at)) {
    ipv4.setTotalLength(at, length);
    ipv4.setChecksum(at, 0);
    ipv4.setChecksum(at, sum.finish(sum.partial(at, ipv4.SIZE, 0)));
    pseudo = sum.pseudo4(at, protocol, bytes);
  } else {
    ipv6.setPayloadLength(at, bytes);
    pseudo = sum.pseudo6(at, protocol, bytes);
  }
  let type = vnet.GSO_UDP;
  if (protocol == tcp.PROTOCOL) {
    const flags = tcp.flags(transportAt) | load<u32>(chain, FLAGS);
    tcp.setFlags(transportAt, flags);
    tcp.setChecksum(transportAt, pseudo);
    type = joinable.isV4(at) ? vnet.GSO_TCP4 : vnet.GSO_TCP6;
    if (flags & tcp.CWR) type |= vnet.GSO_ECN;
  } else {
    udp.setLength(transportAt, bytes);
    udp.setChecksum(transportAt, pseudo);
  }
  const field = protocol == tcp.PROTOCOL ? tcp.CHECKSUM : udp.CHECKSUM;
  vnet.write(vnetAt, type, load<u32>(chain, HEADER), load<u32>(chain, SIZE), offset, field);
}

/** Emits what the chain holds, as one packet where the arena has room, and frees it. */
export function emit(chain: usize): void {
  const length = load<u32>(chain, LENGTH);
  const count = load<u32>(chain, COUNT);
  const direction = load<u32>(chain, DIRECTION);
  if (count == 1) {
    emitAlone(first(chain), length, direction);
  } else if (tunArenaRoom() < vnet.SIZE + length) {
    emitEach(chain);
  } else {
    const at = takeTun(vnet.SIZE + length);
    gather(chain, at + vnet.SIZE);
    writeHeaders(chain, at + vnet.SIZE, at);
    const descriptor = toTun(at, vnet.SIZE + length, load<u32>(chain, CARRIED), direction);
    store<u16>(descriptor, count, D_SEGMENTS);
  }
  clear(chain);
}
