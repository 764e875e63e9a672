// The peers of this run's tables: by index, and by the underlay address a datagram came from.

import { W_TABLES } from "./shared/layout";
import {
  PEER_SIZE,
  SOURCE_ADDRESS,
  SOURCE_FAMILY,
  SOURCE_PEER,
  SOURCE_SLOT_SIZE,
  T_PEER_COUNT,
  T_PEERS_AT,
  T_SOURCES_AT,
  T_SOURCES_MASK,
  TEMPLATE6_BEHIND,
} from "./shared/tables";
import { worker } from "./worker";

// The same numbers as in src/datapath/hash.ts.
const SPREAD: u32 = 0x9e3779b1;

/** Address of a peer's entry. */
export function at(index: u32): usize {
  return <usize>load<u32>(load<u32>(worker, W_TABLES), T_PEERS_AT) + <usize>index * PEER_SIZE;
}

/** How many entries there are. */
export function count(): u32 {
  return load<u32>(load<u32>(worker, W_TABLES), T_PEER_COUNT);
}

function hash(addressAt: usize, family: u32): u32 {
  let value = family;
  value = (value ^ load<u32>(addressAt)) * SPREAD;
  value = (rotl<u32>(value, 15) ^ load<u32>(addressAt, 4)) * SPREAD;
  value = (rotl<u32>(value, 15) ^ load<u32>(addressAt, 8)) * SPREAD;
  value = (rotl<u32>(value, 15) ^ load<u32>(addressAt, 12)) * SPREAD;
  return value ^ (value >> 16);
}

/**
 * Index of the peer with the underlay address whose 16 bytes (as D_PEER) stand at `addressAt`, or
 * -1. The port plays no part: a peer's datagrams come from many ports, for entropy.
 */
export function find(addressAt: usize, family: u32): i32 {
  const tables: usize = load<u32>(worker, W_TABLES);
  const slots: usize = load<u32>(tables, T_SOURCES_AT);
  const mask = load<u32>(tables, T_SOURCES_MASK);
  let index = hash(addressAt, family) & mask;
  for (let i: u32 = 0; i < mask; i++) {
    const slot = slots + <usize>index * SOURCE_SLOT_SIZE;
    const peer = load<u32>(slot, SOURCE_PEER);
    if (peer === 0) return -1;
    const same =
      load<u64>(slot, SOURCE_ADDRESS) === load<u64>(addressAt) &&
      load<u64>(slot, SOURCE_ADDRESS + 8) === load<u64>(addressAt, 8);
    if (same && load<u32>(slot, SOURCE_FAMILY) === family) return <i32>peer - 1;
    index = (index + 1) & mask;
  }
  return -1;
}

/**
 * Address from which P_TEMPLATE leads to the peer's template for a checked packet that begins with
 * `first`. Nothing is compared.
 */
export function templateBase(peer: usize, first: u32): usize {
  return peer + (first & <u32>TEMPLATE6_BEHIND);
}
