// The network numbers that a peer's packets may have: one, and while it changes the next one, too.
import { P_VNI, P_VNI_ALSO } from "./shared/tables";

/** Whether a number, in memory byte order, is accepted from a peer. */
export function isAccepted(peer: usize, vni: u32): bool {
  return vni === load<u32>(peer, P_VNI) || vni === load<u32>(peer, P_VNI_ALSO);
}
