// The agent's answers as the command line reads them: types only, so no agent code is loaded. JSON
// output passes every field on, so an agent that is newer loses nothing.
export type {
  AgentOptions,
  AgentStatus,
  DropRow,
  FibRow,
  MtuExplanation,
  PeerStatus,
  Pod,
  SessionView,
} from "../agent/index.js";
