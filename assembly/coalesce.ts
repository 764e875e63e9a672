// Joins consecutive packets of one flow into one super-packet for TUN, by the rules of Linux' GRO:
// what comes out can be cut again into what came in. Order within a flow is always kept.
//
// An open super-packet is a chain through the packets where they lie in their slots: the 4 bytes
// before an inner packet hold the address of the next. Nothing is copied until a chain closes, and
// a packet that stays alone is never copied. So the 10 bytes before a packet must be free (outer
// headers stood there), and it must stay where it is until the outputs are written.

import * as sum from "./checksum";
import { takeTun, toTun, tunArenaRoom } from "./output";
import {
  D_SEGMENTS,
  FEATURE_TUN_USO,
  MAX_SEGMENTS,
  W_COALESCE_STATE,
  W_FEATURES,
} from "./shared/layout";
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";
import * as tcp from "./wire/tcp";
import * as udp from "./wire/udp";
import * as vnet from "./wire/vnet";

// State: how many chains are open, which one makes room next, then the chains.
const OPEN: usize = 0;
const VICTIM: usize = 4;
const CHAINS: usize = 64;
/** Flows that may be open at once in a worker. */
const CHAIN_COUNT: u32 = 8;
const CHAIN_SIZE: usize = 64;
/** Packets held back at most: each may still need a TUN descriptor of its own at flush. */
export const HELD_MAX: u32 = CHAIN_COUNT * MAX_SEGMENTS;

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
const NO_OPTIONS: u32 = 0x45;
/** No super-packet begins with a smaller TCP payload: `segment` refuses to cut so finely. */
const TCP_PAYLOAD_MIN: u32 = 8;
/** Flags that end a super-packet; with CWR in an appended packet the chain ends before it. */
const ENDS: u32 = tcp.FIN | tcp.PSH;
/** As they stand in the word of offset, flags and window (memory order): flags are byte 1. */
const MAY_DIFFER: u32 = (tcp.FIN | tcp.PSH | tcp.CWR) << 8;
const NEVER_JOINED: u32 = tcp.SYN | tcp.RST | tcp.URG;

function isV4(at: usize): bool {
  return load<u8>(at) >> 4 == 4;
}

function transportOf(at: usize): usize {
  return at + (isV4(at) ? ipv4.SIZE : ipv6.SIZE);
}

function lengthOf(at: usize): u32 {
  return isV4(at) ? ipv4.totalLength(at) : ipv6.SIZE + ipv6.payloadLength(at);
}

function protocolOf(at: usize): u32 {
  return isV4(at) ? ipv4.protocol(at) : ipv6.nextHeader(at);
}

/** Bytes of headers of a TCP packet that carries data and may be joined, else 0. */
function tcpHeader(tcpAt: usize, offset: u32, length: u32): u32 {
  if (!tcp.fits(tcpAt, length - offset)) return 0;
  if (tcp.flags(tcpAt) & NEVER_JOINED) return 0;
  const header = offset + tcp.headerLength(tcpAt);
  return length > header ? header : 0;
}

/** Bytes of headers of a UDP packet that may be joined, else 0. */
function udpHeader(udpAt: usize, offset: u32, length: u32): u32 {
  const header = offset + udp.SIZE;
  if (length <= header || udp.length(udpAt) != length - offset) return 0;
  // Segmentation by the kernel would give every packet a checksum, so those without stay alone.
  return udp.checksum(udpAt) != 0 ? header : 0;
}

/** Bytes of IP and transport headers of a packet that may take part in a super-packet, else 0. */
function headerOf(worker: usize, at: usize, length: u32): u32 {
  const v4 = isV4(at);
  const offset = v4 ? ipv4.SIZE : ipv6.SIZE;
  if (length < offset + udp.SIZE || length != lengthOf(at)) return 0;
  if (v4 && (load<u8>(at) != NO_OPTIONS || ipv4.isFragment(at))) return 0;
  const protocol = protocolOf(at);
  if (protocol == tcp.PROTOCOL) return tcpHeader(at + offset, offset, length);
  if (protocol != udp.PROTOCOL) return 0;
  if ((load<u32>(worker, W_FEATURES) & FEATURE_TUN_USO) == 0) return 0;
  return udpHeader(at + offset, offset, length);
}

/** Whether source and destination addresses are the same. */
function sameAddresses(a: usize, b: usize): bool {
  if (load<u8>(a) >> 4 != load<u8>(b) >> 4) return false;
  if (isV4(a)) return load<u64>(a, 12) == load<u64>(b, 12);
  return (
    ipv6.equal(ipv6.sourceAt(a), ipv6.sourceAt(b)) &&
    ipv6.equal(ipv6.destinationAt(a), ipv6.destinationAt(b))
  );
}

/** A hash of the 5-tuple, to look at one word per chain; equality is checked after it. */
function tupleOf(at: usize): u32 {
  const ports = load<u32>(transportOf(at)) ^ protocolOf(at);
  if (isV4(at)) return ports ^ load<u32>(at, 12) ^ rotl<u32>(load<u32>(at, 16), 7);
  const words = load<u64>(at, 8) ^ load<u64>(at, 16) ^ load<u64>(at, 24) ^ load<u64>(at, 32);
  return ports ^ <u32>(words ^ (words >> 32));
}

/** The open chain of this packet's flow, or 0. */
function findChain(state: usize, at: usize, tuple: u32): usize {
  let chain = state + CHAINS;
  for (let i: u32 = 0; i < CHAIN_COUNT; i++, chain += CHAIN_SIZE) {
    const first: usize = load<u32>(chain, FIRST);
    if (first == 0 || load<u32>(chain, TUPLE) != tuple || !sameAddresses(first, at)) continue;
    const ports = load<u32>(transportOf(first)) == load<u32>(transportOf(at));
    if (ports && protocolOf(first) == protocolOf(at)) return chain;
  }
  return 0;
}

/** Whether the IPv4 header and the transport checksum of a packet are right. */
function isIntact(at: usize, length: u32): bool {
  const protocol = protocolOf(at);
  if (isV4(at)) {
    if (sum.partial(at, ipv4.SIZE, 0) != 0xffff) return false;
    const bytes = length - ipv4.SIZE;
    return sum.partial(at + ipv4.SIZE, bytes, sum.pseudo4(at, protocol, bytes)) == 0xffff;
  }
  const bytes = length - ipv6.SIZE;
  return sum.partial(at + ipv6.SIZE, bytes, sum.pseudo6(at, protocol, bytes)) == 0xffff;
}

/** Whether the IP headers allow both packets in one super-packet; `count` = packets before `b`. */
function sameIp(a: usize, b: usize, count: u32): bool {
  if (!isV4(a)) {
    // Version, traffic class and flow label; then hop limit.
    return load<u32>(a) == load<u32>(b) && ipv6.hopLimit(a) == ipv6.hopLimit(b);
  }
  if (load<u16>(a) != load<u16>(b) || ipv4.ttl(a) != ipv4.ttl(b)) return false;
  if (ipv4.fragment(a) != ipv4.fragment(b)) return false;
  // With don't-fragment the identification means nothing (RFC 6864 section 4.1); else it must count up.
  if (ipv4.fragment(a) & ipv4.DONT_FRAGMENT) return true;
  return ((ipv4.identification(a) + count) & 0xffff) == ipv4.identification(b);
}

/** Whether both TCP headers differ in nothing but sequence, checksum, FIN, PSH and the first's CWR. */
function sameTcp(a: usize, b: usize): bool {
  if ((tcp.flagsAndWindow(a) ^ tcp.flagsAndWindow(b)) & ~MAY_DIFFER) return false;
  if (tcp.flags(b) & tcp.CWR || tcp.acknowledgment(a) != tcp.acknowledgment(b)) return false;
  const end = tcp.headerLength(a);
  for (let i = tcp.SIZE; i < end; i += 4) {
    if (load<u32>(a + i) != load<u32>(b + i)) return false;
  }
  return true;
}

/** Whether the packet continues the chain: headers, order, size, and checksums of both. */
function continues(chain: usize, at: usize, length: u32, header: u32): bool {
  const first: usize = load<u32>(chain, FIRST);
  const count = load<u32>(chain, COUNT);
  const payload = length - header;
  if (count >= MAX_SEGMENTS) return false;
  if (header != load<u32>(chain, HEADER) || payload > load<u32>(chain, SIZE)) return false;
  if (load<u32>(chain, LENGTH) + payload > LENGTH_MAX || !sameIp(first, at, count)) return false;
  if (protocolOf(at) == tcp.PROTOCOL) {
    const tcpAt = transportOf(at);
    if (tcp.sequence(tcpAt) != load<u32>(chain, SEQUENCE)) return false;
    if (!sameTcp(transportOf(first), tcpAt)) return false;
  }
  return isIntact(at, length) && (count > 1 || isIntact(first, load<u32>(chain, LENGTH)));
}

/** Appends a packet that continues the chain. */
function append(chain: usize, at: usize, length: u32, header: u32): void {
  const payload = length - header;
  store<u32>(<usize>load<u32>(chain, LAST) - LINK, at);
  store<u32>(chain, at, LAST);
  store<u32>(chain, load<u32>(chain, LENGTH) + payload, LENGTH);
  store<u32>(chain, load<u32>(chain, CARRIED) + length, CARRIED);
  store<u32>(chain, load<u32>(chain, COUNT) + 1, COUNT);
  if (protocolOf(at) != tcp.PROTOCOL) return;
  store<u32>(chain, load<u32>(chain, SEQUENCE) + payload, SEQUENCE);
  store<u32>(chain, load<u32>(chain, FLAGS) | (tcp.flags(transportOf(at)) & ENDS), FLAGS);
}

/** A free chain; when there is none, the next in turn is closed for it. */
function freeChain(state: usize): usize {
  let chain = state + CHAINS;
  for (let i: u32 = 0; i < CHAIN_COUNT; i++, chain += CHAIN_SIZE) {
    if (load<u32>(chain, FIRST) == 0) return chain;
  }
  const victim: usize = load<u32>(state, VICTIM) % CHAIN_COUNT;
  store<u32>(state, victim + 1, VICTIM);
  chain = state + CHAINS + victim * CHAIN_SIZE;
  close(state, chain);
  return chain;
}

/** Opens a chain with its first packet. */
function open(state: usize, at: usize, length: u32, header: u32, direction: u32, tuple: u32): void {
  const chain = freeChain(state);
  store<u32>(chain, at, FIRST);
  store<u32>(chain, at, LAST);
  store<u32>(chain, tuple, TUPLE);
  store<u32>(chain, direction, DIRECTION);
  store<u32>(chain, header, HEADER);
  store<u32>(chain, length - header, SIZE);
  store<u32>(chain, length, LENGTH);
  store<u32>(chain, length, CARRIED);
  store<u32>(chain, 1, COUNT);
  store<u32>(chain, tcp.sequence(transportOf(at)) + length - header, SEQUENCE);
  store<u32>(chain, 0, FLAGS);
  store<u32>(state, load<u32>(state, OPEN) + 1, OPEN);
}

/** Emits one packet where it lies, for the kernel to check as any other. */
function emitAlone(at: usize, length: u32, direction: u32): void {
  const address = at - vnet.SIZE;
  vnet.clear(address);
  toTun(address, vnet.SIZE + length, length, direction);
}

/** Emits the packets of a chain one by one: the arena has no room for their super-packet. */
function emitEach(chain: usize): void {
  const direction = load<u32>(chain, DIRECTION);
  let at: usize = load<u32>(chain, FIRST);
  for (let left = load<u32>(chain, COUNT); left > 0; left--) {
    // The vnet header overwrites the link: read it first.
    const next: usize = left > 1 ? <usize>load<u32>(at - LINK) : 0;
    emitAlone(at, lengthOf(at), direction);
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
    const payload = lengthOf(at) - header;
    sum.copy(to, at + header, payload);
    to += payload;
    at = left > 1 ? <usize>load<u32>(at - LINK) : 0;
  }
}

/** Makes the headers at `at` those of the super-packet; the kernel completes the checksum. */
function writeHeaders(chain: usize, at: usize, vnetAt: usize): void {
  const length = load<u32>(chain, LENGTH);
  const transportAt = transportOf(at);
  const offset = <u32>(transportAt - at);
  const bytes = length - offset;
  const protocol = protocolOf(at);
  let pseudo: u32 = 0;
  if (isV4(at)) {
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
    type = isV4(at) ? vnet.GSO_TCP4 : vnet.GSO_TCP6;
    if (flags & tcp.CWR) type |= vnet.GSO_ECN;
  } else {
    udp.setLength(transportAt, bytes);
    udp.setChecksum(transportAt, pseudo);
  }
  const field = protocol == tcp.PROTOCOL ? tcp.CHECKSUM : udp.CHECKSUM;
  vnet.write(vnetAt, type, load<u32>(chain, HEADER), load<u32>(chain, SIZE), offset, field);
}

/** Emits what a chain holds and frees it. */
function close(state: usize, chain: usize): void {
  const length = load<u32>(chain, LENGTH);
  const count = load<u32>(chain, COUNT);
  const direction = load<u32>(chain, DIRECTION);
  if (count == 1) {
    emitAlone(load<u32>(chain, FIRST), length, direction);
  } else if (tunArenaRoom() < vnet.SIZE + length) {
    emitEach(chain);
  } else {
    const at = takeTun(vnet.SIZE + length);
    gather(chain, at + vnet.SIZE);
    writeHeaders(chain, at + vnet.SIZE, at);
    const descriptor = toTun(at, vnet.SIZE + length, load<u32>(chain, CARRIED), direction);
    store<u16>(descriptor, count, D_SEGMENTS);
  }
  store<u32>(chain, 0, FIRST);
  store<u32>(state, load<u32>(state, OPEN) - 1, OPEN);
}

/** Closes what is open between the addresses of a packet that cannot be joined. */
function closeRelated(state: usize, at: usize): void {
  let chain = state + CHAINS;
  for (let i: u32 = 0; i < CHAIN_COUNT; i++, chain += CHAIN_SIZE) {
    const first: usize = load<u32>(chain, FIRST);
    if (first != 0 && sameAddresses(first, at)) close(state, chain);
  }
}

/**
 * Takes an inner packet (checked by `ipv4.check` or `ipv6.check`) for TUN: it goes out at once,
 * or with what follows it, at the latest by `flush`. Appends at most 1 descriptor per packet given
 * so far, HELD_MAX of them later than its own call. Returns 0.
 */
export function deliver(worker: usize, innerAt: usize, length: u32, direction: u32): i32 {
  const state = worker + W_COALESCE_STATE;
  const header = headerOf(worker, innerAt, length);
  if (header == 0) {
    if (load<u32>(state, OPEN) != 0) closeRelated(state, innerAt);
    emitAlone(innerAt, length, direction);
    return 0;
  }
  const payload = length - header;
  const isTcp = protocolOf(innerAt) == tcp.PROTOCOL;
  const ends = isTcp && (tcp.flags(transportOf(innerAt)) & ENDS) != 0;
  const tuple = tupleOf(innerAt);
  const chain = load<u32>(state, OPEN) != 0 ? findChain(state, innerAt, tuple) : 0;
  if (chain != 0) {
    const same = load<u32>(chain, DIRECTION) == direction;
    if (same && continues(chain, innerAt, length, header)) {
      append(chain, innerAt, length, header);
      if (ends || payload < load<u32>(chain, SIZE)) close(state, chain);
      return 0;
    }
    close(state, chain);
  }
  const isTiny = isTcp && payload < TCP_PAYLOAD_MIN;
  if (ends || isTiny) emitAlone(innerAt, length, direction);
  else open(state, innerAt, length, header, direction, tuple);
  return 0;
}

/** Emits everything that is still open; called at the end of a run. */
export function flush(worker: usize): void {
  const state = worker + W_COALESCE_STATE;
  if (load<u32>(state, OPEN) == 0) return;
  let chain = state + CHAINS;
  for (let i: u32 = 0; i < CHAIN_COUNT; i++, chain += CHAIN_SIZE) {
    if (load<u32>(chain, FIRST) != 0) close(state, chain);
  }
}
