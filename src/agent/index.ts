// The door of the agent: the process on every node, and the only room where both planes meet.
// Its socket is `${runDir}/agent.sock`: ready when GET /status answers with ready:true.
export type { SessionView } from "../calls/index.js";
export type { Pod } from "../pods/index.js";
export { AgentError, type AgentErrorCode } from "./errors.js";
export type { MtuExplanation, MtuTerm, PathExplanation } from "./pmtu/report.js";
export { runAgent, startAgent } from "./run.js";
export type {
  AgentLog,
  AgentOptions,
  AgentStatus,
  ApiErrorBody,
  DropRow,
  FibRow,
  LeaveOptions,
  PeerStatus,
  Reachability,
  Refusal,
  RouteRow,
  RunningAgent,
  WorkerSummary,
} from "./types.js";
