// The door of the bench: measurements between two nodes of the running mesh. The agent has a desk,
// the command line asks two of them.
export {
  type AskNode,
  type BenchPlan,
  type BenchReport,
  type BenchRun,
  type NetworkAnswer,
  runBench,
} from "./ask.js";
export { BenchDesk, type BenchDeskOptions, type BenchEnd, type BenchOwn } from "./desk.js";
export { BenchError, type BenchErrorCode } from "./errors.js";
export { SECONDS_DEFAULT, SECONDS_MAX } from "./limits.js";
export { isMeasure, MEASURES, type MeasureName } from "./measures.js";
export { type BenchRule, isCongestion, type Network } from "./messages.js";
export { type BenchRow, benchRows } from "./report.js";
