// The agent's own files: all it needs to start again without NATS, and its socket.
import { join } from "node:path";

export interface AgentPaths {
  lock: string;
  /** NKey seed of this node. */
  key: string;
  /** Credentials and grants. */
  membership: string;
  /** What was found of another host with this key. */
  duplicate: string;
  /** CAs of the mesh's servers, written with the membership. */
  ca: string;
  /** Last good view of the cluster, with its stream revision. */
  snapshot: string;
  /** What was changed below /proc/sys. */
  host: string;
  /** In which form packets to each member arrive. */
  flips: string;
  /** Accounts of PPTP users and secrets of pairs, written by the session. */
  secrets: string[];
  /** Foreign PPTP servers to be connected to. */
  dials: string;
  /** Pods of this node. */
  pods: string;
  socket: string;
}

export function pathsOf(stateDir: string, runDir: string): AgentPaths {
  return {
    lock: join(stateDir, "agent.lock"),
    key: join(stateDir, "node.key"),
    membership: join(stateDir, "membership.json"),
    duplicate: join(stateDir, "duplicate.json"),
    ca: join(stateDir, "ca.pem"),
    snapshot: join(stateDir, "snapshot.json"),
    host: join(stateDir, "host.json"),
    flips: join(stateDir, "forms.json"),
    secrets: ["pptp-accounts.json", "pptp-pairs.json"].map((name) => join(stateDir, name)),
    dials: join(stateDir, "dials.json"),
    pods: join(stateDir, "pods.json"),
    socket: join(runDir, "agent.sock"),
  };
}
