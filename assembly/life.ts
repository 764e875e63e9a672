// What each peer lets us hear, counted for the control thread: so it knows who lives, without
// asking, and who does not hear us. One writer, the worker, so no atomics.
import { W_PEER_ASKED, W_PEER_HEARD, W_PEER_SAID } from "./shared/layout";
import { worker } from "./worker";

function slot(peerIndex: u32): usize {
  return worker + ((<usize>peerIndex) << 2);
}

/** Counts a datagram or a train of a peer that brought something for the host. */
export function brought(peerIndex: u32): void {
  const at = slot(peerIndex);
  store<u32>(at, load<u32>(at, W_PEER_HEARD) + 1, W_PEER_HEARD);
}

/** Counts a peer's question, and keeps what it says of hearing us; 0: nothing. */
export function asked(peerIndex: u32, said: u32): void {
  const at = slot(peerIndex);
  store<u32>(at, load<u32>(at, W_PEER_ASKED) + 1, W_PEER_ASKED);
  if (said === 0) return;
  store<u32>(at, ((load<u32>(at, W_PEER_SAID) & ~0xff) + 0x100) | said, W_PEER_SAID);
}
