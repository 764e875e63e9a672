// The door of the agent: the process on every node, and the only room where both planes meet.
//   runAgent(options: AgentOptions): Promise<number>        foreground; resolves to an exit code
//   startAgent(options: AgentOptions): Promise<RunningAgent> same, without signal handlers
//   agent.sock is at `${runDir}/agent.sock`; ready when GET /status answers with ready:true
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
