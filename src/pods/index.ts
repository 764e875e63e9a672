// The door of the pods room: network namespaces on this node with an address out of its PodCIDR.
//   Pods.open(options: PodsOptions): Promise<Pods>   reads the state, touches no network
//   pods.restore(): Promise<number>                  mends what is missing; 0 = nothing was
//   pods.add(request: PodRequest): Promise<Pod>      pods.remove(name): Promise<Pod>     pods.list(): Pod[]
//   pods.setMtu(mtu): Promise<number>                pods.setPodCidrs(cidrs): void
//   pods.devices(): string[]                         host ends, for findPoolConflicts' `own`
//   pods.removeAll(): Promise<number>                also takes away the gateway route
export { PodError, type PodErrorCode } from "./errors.js";
export type { Pod, PodRequest, PodsOptions } from "./types.js";
