// The network numbers that a peer's packets may have: one, and while it changes the next one, too.
// Where they are security identities, a node's own number besides.
import { Drop } from "./shared/drop";
import { IDENTITY_REMOTE_NODE, P_FLAGS, P_VNI, P_VNI_ALSO, PEER_IDENTITIES } from "./shared/tables";

/** Identity 6 as it stands in memory, as an entry has it: its fourth byte is zero. */
export const REMOTE_NODE: u32 = IDENTITY_REMOTE_NODE << 16;

/** Whether a number, in memory byte order, is accepted from a peer. */
export function isAccepted(peer: usize, vni: u32): bool {
  return vni === load<u32>(peer, P_VNI) || vni === load<u32>(peer, P_VNI_ALSO) || isNode(peer, vni);
}

/** Whether it says that the peer itself sent the packet, and may. */
function isNode(peer: usize, vni: u32): bool {
  return vni === REMOTE_NODE && (load<u8>(peer, P_FLAGS) & PEER_IDENTITIES) !== 0;
}

/** Why a number that is not accepted ends a packet. */
export function reason(peer: usize): i32 {
  const isIdentity = (load<u8>(peer, P_FLAGS) & PEER_IDENTITIES) !== 0;
  return isIdentity ? Drop.FOREIGN_IDENTITY : Drop.WRONG_VNI;
}
