// The door: kernels of our own choice as the other end of a tunnel, and a BGP daemon.
export { peerTest, whyAbsent } from "./absence.js";
export { birdTest, startBird } from "./bird.js";
export { GuestError, type GuestFinished } from "./control.js";
export { type Card, KernelPeer, type PeerOptions } from "./peer.js";
export {
  type Account,
  type Dialled,
  dialLine,
  dialPptp,
  hangUp,
  NO_BUFFER,
  only,
  PppError,
  pppLog,
  type ServerOptions,
  servePptp,
} from "./pptp.js";
