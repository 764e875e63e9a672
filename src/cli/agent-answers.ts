// The agent's answers as the command line reads them. The fields are the agent's; JSON output
// passes them on, so an agent that is newer loses nothing.

export interface PeerStatus {
  name: string;
  nodeId: string;
  kind: string;
  underlay: string;
  port: number;
  podCIDRs: string[];
  reachable: string;
  rtt_us: number | null;
  lastSeen_ms: number | null;
}

export interface AgentStatus {
  ready: boolean;
  pid: number;
  version: string;
  startedAt: string;
  node: { id: string; name: string; addresses: string[]; state: string };
  mesh: { id: string; name: string };
  nats: {
    connected: boolean;
    url: string | null;
    viewAge_ms: number | null;
    revision: number;
    error: string | null;
  };
  routingMode: string;
  tunnelProtocol: string;
  tunnelPort: number;
  device: string;
  mtu: number;
  underlay: { address: string; port: number; interface: string; mtu: number };
  lease: { podCIDRs: string[]; epoch: number };
  peers: PeerStatus[];
  peersReachable: number;
  peersTotal: number;
  pods: number;
  workers: { index: number; state: string; restarts: number; generation: number }[];
  packets: { egress: number; ingress: number };
  bytes: { egress: number; ingress: number };
  drops: number;
  refused: { key: string; revision: number; reason: string }[];
  warnings: string[];
}

export interface FibRow {
  prefix: string;
  peer: string;
  nextHop: string;
  protocol: string;
  port: number;
}

export interface DropRow {
  reason: string;
  direction: string;
  packets: number;
  bytes: number;
}

export interface PodAnswer {
  name: string;
  netns: string;
  labels: Record<string, string>;
  addresses: string[];
  hostDevice: string;
  createdAt: string;
}
