// The door of the datapath: one class, its options and its plain-value types.

export type {
  CallEnd,
  CallEvent,
  CallPort,
  CallSettings,
  CallStatistics,
  MppeKeys,
  WindowMode,
} from "./call-types.js";
export {
  type DirectionCounters,
  type DropCount,
  type DropName,
  droppedPackets,
  packetsInFlight,
  type WorkerCounters,
} from "./counters.js";
export type { WorkerState, WorkerStatus } from "./crew.js";
export { Datapath } from "./datapath.js";
export type { DropRecord } from "./drop-records.js";
export { DatapathError, type DatapathErrorCode } from "./errors.js";
export type { GrantedOffloads } from "./handle-set.js";
export type { WorkerHeap } from "./heap.js";
export type { DatapathEvents, DatapathOptions } from "./options.js";
export type { PeerSign, SignReader } from "./peer-packets.js";
export { type PuntHandler, RING_PACKET_MAX } from "./punt.js";
export {
  type ListeningPort,
  rawProtocolsOf,
  type UdpChecksums,
  type UnderlayAddress,
} from "./sockets.js";
export type { SourceFilterStatus } from "./source-filter.js";
export type { Steering, SteeringStatus } from "./steering.js";
export {
  type CallOptions,
  type GreOptions,
  type ProtocolName,
  SHADOWS_MAX,
  type TableContents,
  type TablePeer,
  type TableSelf,
} from "./types.js";
