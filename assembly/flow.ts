// The flow an inner packet belongs to, as one number: for the outer source port (RFC 7348 section
// 5). Fragments carry no ports, so that all pieces of a packet take one way.
import * as ipv4 from "./wire/ipv4";
import * as ipv6 from "./wire/ipv6";

const TCP: u32 = 6;
const UDP: u32 = 17;
const SCTP: u32 = 132;
const SPREAD: u32 = 0x9e3779b1;

function hasPorts(protocol: u32): bool {
  return protocol === TCP || protocol === UDP || protocol === SCTP;
}

function finish(value: u32): u32 {
  value = (value ^ (value >> 16)) * SPREAD;
  return value ^ (value >> 15);
}

function hash4(innerAt: usize, length: u32): u32 {
  const protocol = ipv4.protocol(innerAt);
  const header = ipv4.headerLength(innerAt);
  let value = ipv4.source(innerAt) * SPREAD;
  value = (rotl<u32>(value, 13) ^ ipv4.destination(innerAt)) * SPREAD;
  value ^= protocol;
  if (hasPorts(protocol) && !ipv4.isFragment(innerAt) && header + 4 <= length) {
    value = (rotl<u32>(value, 13) ^ load<u32>(innerAt + header)) * SPREAD;
  }
  return finish(value);
}

/** Both addresses' halves are turned against each other, so that equal parts do not cancel out. */
function fold6(at: usize): u32 {
  const value = load<u64>(at) ^ rotl<u64>(load<u64>(at, 8), 23);
  return (<u32>value * SPREAD) ^ <u32>(value >> 32);
}

function hash6(innerAt: usize, length: u32): u32 {
  const protocol = ipv6.nextHeader(innerAt);
  let value = fold6(ipv6.sourceAt(innerAt)) * SPREAD;
  value = (rotl<u32>(value, 13) ^ fold6(ipv6.destinationAt(innerAt))) * SPREAD;
  value ^= protocol;
  if (hasPorts(protocol) && ipv6.SIZE + 4 <= length) {
    value = (rotl<u32>(value, 13) ^ load<u32>(innerAt + ipv6.SIZE)) * SPREAD;
  }
  return finish(value);
}

/** Hash of a packet whose header was checked; `length` is the IP packet's. */
export function hash(innerAt: usize, length: u32): u32 {
  return load<u8>(innerAt) >> 4 === 4 ? hash4(innerAt, length) : hash6(innerAt, length);
}
