// Outer fragments of our own over IPv6 (RFC 8200 section 4.5), out of a raw socket: the kernel cuts
// only what does not fit its route, which knows nothing of a path that is narrow further on.
import * as checksum from "./checksum";
import * as output from "./output";
import * as peers from "./peers";
import * as send from "./send";
import {
  C_SECRET,
  C_UNDERLAY6,
  C_WORKER_STRIDE,
  C_WORKERS_AT,
  CONTROL,
  D_PORT,
  D_SEGMENTS,
  FRAGMENT_SOCKETS,
  PROTOCOL_GRE,
  PROTOCOL_IPIP,
  W_PIECES,
} from "./shared/layout";
import { P_ADDRESS, P_FAMILY, P_PORT, P_PROTOCOL } from "./shared/tables";
import * as fragment from "./wire/fragment";
import * as gre from "./wire/gre";
import * as ipv6 from "./wire/ipv6";
import * as udp from "./wire/udp";
import { worker } from "./worker";

/** Bytes of a packet that one fragment carries where a link carries the least: units of 8. */
const PART: u32 = (ipv6.MTU_MIN - ipv6.SIZE - fragment.SIZE) & ~7;
/** Of an identification that is the worker's own: the others are its number. */
const COUNT_BITS: u32 = 27;

/** Whether the kernel's fragments will not do on the way to a peer. */
export function areOwn(peer: usize): bool {
  return load<u8>(peer, P_FAMILY) === 6;
}

/** IP protocol of what stands at `at`, in the datagram to a peer. */
function protocolOf(peer: usize, at: usize): u32 {
  const protocol: u32 = load<u8>(peer, P_PROTOCOL);
  if (protocol < PROTOCOL_IPIP) return udp.PROTOCOL;
  if (protocol >= PROTOCOL_GRE) return gre.PROTOCOL;
  return load<u8>(at) >> 4 === 6 ? ipv6.IN_IP : ipv6.IPV4_IN_IP;
}

/** Spreads a number over all bits, each number to one of its own: murmur3's last step. */
function mix(number: u32): u32 {
  number = (number ^ (number >> 16)) * 0x85ebca6b;
  number = (number ^ (number >> 13)) * 0xc2b2ae35;
  return number ^ (number >> 16);
}

/**
 * An identification that no worker gave in its last 2^27, and that is hard to guess for who does
 * not see our packets (RFC 7739 section 5): forged fragments would spoil what they are joined to.
 */
function identification(): u32 {
  const count = load<u32>(worker, W_PIECES);
  store<u32>(worker, count + 1, W_PIECES);
  const first: usize = load<u32>(CONTROL, C_WORKERS_AT);
  const index = <u32>(worker - first) / load<u32>(CONTROL, C_WORKER_STRIDE);
  const number = (index << COUNT_BITS) | (count & ((1 << COUNT_BITS) - 1));
  return mix(number ^ load<u32>(CONTROL, C_SECRET));
}

/** UDP's header before `length` bytes at `from`: both ports are the peer's, as flannel has it. */
function writeUdp(to: usize, peer: usize, from: usize, length: u32): void {
  const port: u32 = load<u16>(peer, P_PORT);
  const total = udp.SIZE + length;
  udp.write(to, port, port, total);
  // Addresses, length and protocol of the pseudo-header (RFC 8200 section 8.1), then UDP's own.
  const addresses = checksum.partial(CONTROL + C_UNDERLAY6, 16, 0);
  const pseudo = checksum.partial(peer + P_ADDRESS, 16, addresses);
  const rest = <u64>bswap<u16>(<u16>total) + (udp.PROTOCOL << 8);
  const header = checksum.partial(to, udp.SIZE, checksum.fold(rest + pseudo));
  udp.setChecksum(to, checksum.finishNonZero(checksum.partial(from, length, header)));
}

/** Hands over a fragment; the last one stands for the packet, whether it left or not. */
function handOver(
  at: usize,
  length: u32,
  innerLength: u32,
  isLast: bool,
  peerIndex: u32,
  tos: u32,
  direction: u32,
): void {
  const descriptor = output.toWire(at, length, isLast ? innerLength : 0, direction);
  store<u16>(descriptor, isLast ? 1 : 0, D_SEGMENTS);
  send.direct(descriptor, peerIndex, FRAGMENT_SOCKETS, tos);
  // A raw IPv6 socket refuses to send to a port.
  store<u16>(descriptor, 0, D_PORT);
}

/**
 * Sends one datagram of `length` bytes at `at` in fragments that every IPv6 link carries; they are
 * copies. `innerLength` is what of it is the inner packet.
 */
export function datagram(
  peerIndex: u32,
  at: usize,
  length: u32,
  innerLength: u32,
  tos: u32,
  direction: u32,
): void {
  const peer = peers.at(peerIndex);
  const next = protocolOf(peer, at);
  const header: u32 = next === udp.PROTOCOL ? udp.SIZE : 0;
  const total = header + length;
  const number = identification();
  for (let done: u32 = 0; done < total; done += PART) {
    const bytes = min<u32>(PART, total - done);
    const isLast = done + bytes === total;
    const piece = output.takeWire(fragment.SIZE + bytes);
    const data = piece + fragment.SIZE;
    fragment.write(piece, next, done, isLast, number);
    if (done > 0) checksum.copy(data, at + done - header, bytes);
    else {
      if (header > 0) writeUdp(data, peer, at, length);
      checksum.copy(data + header, at, bytes - header);
    }
    const size = fragment.SIZE + bytes;
    handOver(piece, size, innerLength, isLast, peerIndex, tos, direction);
  }
}

/**
 * Sends datagrams of `stride` bytes that stand one behind the other at `at`, `length` bytes in all,
 * each in fragments. The last may be shorter: one that fits every link goes as it is. `overhead` of
 * each is not the inner packet.
 */
export function train(
  peerIndex: u32,
  at: usize,
  length: u32,
  stride: u32,
  overhead: u32,
  tos: u32,
  hash: u32,
  direction: u32,
): void {
  for (let done: u32 = 0; done < length; done += stride) {
    const bytes = min<u32>(stride, length - done);
    const inner = bytes - overhead;
    if (ipv6.SIZE + udp.SIZE + bytes > ipv6.MTU_MIN) {
      datagram(peerIndex, at + done, bytes, inner, tos, direction);
    } else {
      send.datagram(peerIndex, at + done, bytes, inner, tos, hash, direction);
    }
  }
}
