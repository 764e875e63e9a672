// The door of the pods room: network namespaces on this node with an address out of its PodCIDR.
//   Pods.open(options) reads the state; pods.restore() mends what is missing; pods.add(), remove(),
//   list(), setMtu(), setPodCidrs(), devices(), removeAll().
export { PodError, type PodErrorCode } from "./errors.js";
export { POD_DEVICE } from "./namespace.js";
export { Pods } from "./pods.js";
export type { Pod, PodRequest, PodsOptions, RestoreResult } from "./types.js";
export { GATEWAY4, GATEWAY6 } from "./wiring.js";
