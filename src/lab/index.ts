// The door of the lab: many hosts on one machine, made of network namespaces, each a real member.
export { type CheckFailure, type CheckReport, checkPods } from "./check.js";
export { runDemo } from "./demo.js";
export { LabError } from "./error.js";
export { type LabWire, labClear, labImpair, labWires } from "./impair.js";
export { type LabWish, labDown, labUp } from "./lifecycle.js";
export { LAB_NODES_MAX, LAB_PODS_MAX, LAB_SUBNETS_MAX } from "./plan.js";
export {
  type LabStatus,
  type LabStatusNode,
  type LabStatusPod,
  labEnvironment,
  labMtu,
  labStatus,
} from "./status.js";
export { type LabRoots, labNames } from "./store.js";
export { type Impairment, UNIMPAIRED, type WireSettings } from "./wire/impairment.js";
export type { LaneCounts } from "./wire/lane.js";
