// The door: kernels of our own choice as the other end of a tunnel.
export { peerTest, whyAbsent } from "./absence.js";
export { GuestError, type GuestFinished } from "./control.js";
export { type Card, KernelPeer, type PeerOptions } from "./peer.js";
