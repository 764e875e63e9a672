// This node's entry of the tables, as the copy this run works with has it.

import { W_TABLES } from "./shared/layout";
import {
  SELF_HAS_4,
  SELF_HAS_6,
  T_SELF_ADDRESS4,
  T_SELF_ADDRESS6,
  T_SELF_FLAGS,
  T_SELF_MAC,
  T_SELF_MTU,
} from "./shared/tables";
import { worker } from "./worker";

function tables(): usize {
  return load<u32>(worker, W_TABLES);
}

/** Bytes of inner IP packet our tunnel carries. */
export function mtu(): u32 {
  return load<u32>(tables(), T_SELF_MTU);
}

/** Whether the node has an overlay IPv4 address. */
export function hasAddress4(): bool {
  return (load<u8>(tables(), T_SELF_FLAGS) & SELF_HAS_4) != 0;
}

/** Whether the node has an overlay IPv6 address. */
export function hasAddress6(): bool {
  return (load<u8>(tables(), T_SELF_FLAGS) & SELF_HAS_6) != 0;
}

/** The node's overlay IPv4 address in host order; 0 without one. */
export function address4(): u32 {
  return load<u32>(tables(), T_SELF_ADDRESS4);
}

/** Where the 16 bytes of the node's overlay IPv6 address stand, in network order. */
export function address6At(): usize {
  return tables() + T_SELF_ADDRESS6;
}

/** Where the six bytes of our VTEP's MAC address stand. */
export function macAt(): usize {
  return tables() + T_SELF_MAC;
}
