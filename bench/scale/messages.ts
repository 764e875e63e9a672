// What the parent of a simulation and its crowds of agents say to one another (process messages).

/** What an agent's plan must show. */
export type Expected =
  | { kind: "peers"; count: number }
  | { kind: "address"; nodeId: string; address: string }
  | { kind: "gone"; nodeId: string }
  | { kind: "mtu"; mtu: number };

export type Order =
  /** Agents first..first+count-1 are made; nothing is sent yet. */
  | { order: "make"; first: number; count: number; token: string; shared: boolean }
  | { order: "join" }
  /** Answered by each agent's own time, once its plan shows this. */
  | { order: "expect"; expected: Expected }
  | { order: "move"; index: number; address: string }
  | { order: "leave"; index: number }
  | { order: "report" }
  /** Plans made until now, by all. */
  | { order: "count" }
  | { order: "end" };

export interface CrowdReport {
  agents: number;
  /** Bytes: V8's heap after a collection, and what is held outside of it. */
  heap: number;
  external: number;
  resident: number;
  /** Seconds of processor time since the process began. */
  cpu_s: number;
  plans: number;
  /** Milliseconds of processor in plans, and the longest. */
  planning_ms: number;
  planning_max_ms: number;
  /** Signature checks that were computed. */
  computed: number;
}

export type Answer =
  | { answer: "made"; nodeIds: string[] }
  | { answer: "joined"; nodeId: string; took_ms: number }
  | { answer: "failed"; what: string }
  /** Unix milliseconds, one for each agent that was to show it. */
  | { answer: "shown"; times: number[] }
  | { answer: "moved"; at: number }
  | { answer: "left"; at: number }
  | { answer: "counted"; plans: number }
  | { answer: "report"; report: CrowdReport }
  | { answer: "ended" };
