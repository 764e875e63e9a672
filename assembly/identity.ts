// What this node says of itself by the network number, where that is a security identity: VXLAN's
// and Geneve's headers have it at the same place.
import * as network from "./network";
import * as output from "./output";
import * as route from "./route";
import { D_ADDRESS } from "./shared/layout";
import { P_FLAGS, PEER_SAYS_IDENTITY } from "./shared/tables";

const VNI: usize = 4;

/** Whether that peer is told identities. */
function isTold(peer: usize): bool {
  return (load<u8>(peer, P_FLAGS) & PEER_SAYS_IDENTITY) !== 0;
}

/** Whether packets of this node itself, not of its pods, need another number for that peer. */
export function isToBeNamed(peer: usize, innerAt: usize): bool {
  return isTold(peer) && route.isFromSelf(innerAt);
}

/** Writes over the number of the headers at `at`: a node sent this. */
export function nameNode(at: usize): void {
  store<u32>(at, network.REMOTE_NODE, VNI);
}

/** As `nameNode`, of the answer to a neighbour's question that was made last. */
export function nameAnswer(peer: usize): void {
  if (isTold(peer)) nameNode(load<u32>(output.latestToWire(), D_ADDRESS));
}
