// What the agent is given, what it answers: options of runAgent and the JSON shapes of its socket.
import type { Ends, TunnelForm } from "../../control/index.js";
import type { BenchRule } from "../bench/index.js";
import type { SessionView } from "../calls/index.js";
import type {
  GrantedOffloads,
  SourceFilterStatus,
  Steering,
  SteeringStatus,
  WorkerHeap,
} from "../datapath/index.js";
import type { RefusedCounts } from "../host/index.js";
import type { Form } from "./plan/forms.js";
import type { Way } from "./plan/types.js";
import type { PathPhase, PathTimers } from "./pmtu/search.js";
import type { RawStatus } from "./raw-guard.js";

/** Writes one structured log line; `event` is a stable dotted name, `fields` are flat values. */
export type AgentLog = (event: string, fields?: Record<string, unknown>) => void;

/** Options of {@link runAgent}. Cluster settings come from the `config` record, not from here. */
export interface AgentOptions {
  /** Keys, credentials, last good snapshot, pods. Created 0700. One agent at a time. */
  stateDir: string;
  /** Holds agent.sock (0600). Created 0700. */
  runDir: string;
  /** Join token. Absent: start again as the member whose key is in stateDir. */
  token?: string;
  /** Name wanted when joining (one DNS label). Default: the host name's first label. */
  name?: string;
  /** NATS servers to use instead of those in the token or the saved credentials. */
  servers?: string[];
  /** PEM of CAs, or "system", to believe instead of those of the token or the membership. */
  ca?: string;
  /** TUN device name, default "mesh0". */
  deviceName?: string;
  /** Worker threads and TUN queues, default 1. */
  workers?: number;
  /** Besides, one worker per CPU for calm flows. Default "auto". */
  steering?: Steering;
  /** Keep the host's CPUs from deep sleep while packets flow. Default false. */
  lowLatency?: boolean;
  /**
   * Address other nodes send to and outer source. Default: of underlayInterface or default route.
   */
  underlayAddress?: string;
  underlayInterface?: string;
  underlayProtocol?: "ipv4" | "ipv6" | "auto";
  /** This node's own port instead of the mesh's `tunnelPort` (several agents on one host). */
  tunnelPort?: number;
  /** This node's own tunnel MTU instead of the mesh's `mtu`. */
  mtu?: number;
  /** Room in the tables of the hot path, taken at start. Default 4096 peers, 65536 prefixes. */
  peerCapacity?: number;
  prefixCapacity?: number;
  /** Bytes of send and receive buffer of each underlay socket. */
  socketBuffer?: number;
  /** What `meshd bench` may measure here, instead of the mesh's `bench`. */
  bench?: BenchRule;
  /** Take PPTP calls of users here, once an administrator allows it. Insecure. Default false. */
  pptpServer?: boolean;
  /** Interface that takes nothing in but PPTP. Default: none. */
  pptpFilter?: string;
  /** With `pptpFilter`: the mesh's own packets come in there, too. Default false. */
  withMesh?: boolean;
  /** When paths are asked what they carry; tests hurry here. */
  pathTimers?: Partial<PathTimers>;
  /** Also serve Prometheus text on this TCP address, e.g. {host:"127.0.0.1", port:9477}. */
  metricsListen?: { host: string; port: number };
  /** Version text for status and the node record. */
  version?: string;
  log?: AgentLog;
  /** Called once when the agent forwards and its socket answers with ready:true. */
  onReady?: (status: AgentStatus) => void;
}

/** A started agent: what `startAgent` gives to tests and to runAgent. */
export interface RunningAgent {
  status(): AgentStatus;
  /** Stops the process' part: TUN stays persistent, routes and pods stay (no leak). */
  stop(): Promise<void>;
  /** Gives the lease back and takes out everything: see POST /leave. */
  leave(options?: LeaveOptions): Promise<void>;
  /** Settles when the agent ended by stop, leave or a fatal error (then it rejects). */
  ended: Promise<"stopped" | "left">;
}

/** Body of POST /leave. */
export interface LeaveOptions {
  /** Also remove this node's pods; without it leave is refused while pods exist. */
  force?: boolean;
}

export type Reachability = "reachable" | "unreachable" | "unknown";

/** What is known of one way between this node and a peer. */
export type WayState = "ok" | "lost" | "unknown";

/** Who hears whom: a peer that is heard and does not hear us is lost to one side alone. */
export interface PathState {
  toPeer: WayState;
  fromPeer: WayState;
}

export interface PeerStatus {
  name: string;
  /** "" for a static peer, which has no identity. */
  nodeId: string;
  kind: "member" | "static";
  underlay: string;
  /** What is sent to it, at `port`. */
  protocol: string;
  port: number;
  /** Both, and the words of the headers. */
  form: TunnelForm;
  podCIDRs: string[];
  /** Security identity of its pods; null where packets carry none. */
  identity: number | null;
  reachable: Reachability;
  rtt_us: number | null;
  /** Since anything of it was heard: an answer, a question of its own, data. */
  lastSeen_ms: number | null;
  path: PathState;
  /** How its PodCIDRs are reached; null where it has none of the family. */
  ways: { ipv4: Way | null; ipv6: Way | null };
  /** What nftables counted of its bare packets; null when everything is encapsulated. */
  direct: BareTraffic | null;
  /** Bytes of inner packet that go to it at most. */
  mtu: number;
  /** What of the search for its path's MTU is done; null: it is not searched for. */
  pathState: PathPhase | null;
  /** One line for what is not as it should be on the way to it; else null. */
  problem: string | null;
}

/** Packets without an outer header, as the kernel hands them over: a super-packet counts once. */
export interface BareTraffic {
  egress: { packets: number; bytes: number };
  ingress: { packets: number; bytes: number };
}

export interface ProbeCounts {
  questions: number;
  answers: number;
}

export interface WorkerSummary {
  index: number;
  state: string;
  restarts: number;
  generation: number;
  /** What the thread holds in JavaScript; null when it has not said it yet. */
  heap: WorkerHeap | null;
}

export interface Refusal {
  key: string;
  revision: number;
  reason: string;
}

/** What status says while a change is under way. */
export interface ChangeStatus extends Form {
  // What the mesh asks for, and:
  /** Members that get packets so, of all. */
  done: number;
  total: number;
  /** Names of members that have not opened it yet. */
  waiting: string[];
  /** Names of members that did not answer in it: packets to them stay in the old form. */
  staying: string[];
  /** What is still open for those that send in an older form. */
  kept: Form[];
}

/** Reply of GET /status; also the agent's status over NATS. Field names are stable. */
export interface LowLatencyStatus {
  /** It was asked for. */
  wanted: boolean;
  /** The CPUs are kept awake now. */
  held: boolean;
  /** Why it cannot be had though it was asked for; "" when it can, or was not asked for. */
  reason: string;
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
    /** TLS protects the connection. */
    encrypted: boolean;
    /** When credentials, the CA and the server's certificate end. */
    ends: Ends;
    /** null: there is no view yet. */
    viewAge_ms: number | null;
    /** "disk": the last good one, since the agent started without NATS. */
    viewFrom: "nats" | "disk" | null;
    /** RFC 3339, when it was last known to be current. */
    viewAt: string | null;
    revision: number;
    error: string | null;
  };
  routingMode: string;
  encapMode: string;
  tunnelProtocol: string;
  tunnelPort: number;
  device: string;
  mtu: number;
  /** Largest `mtu` that the underlay's interface carries, in the mesh's encapsulation. */
  mtuFits: number;
  underlay: { address: string; port: number; interface: string; mtu: number };
  lease: { podCIDRs: string[]; epoch: number };
  /** Security identity of our pods; null where packets carry none. */
  identity: number | null;
  peers: PeerStatus[];
  peersReachable: number;
  peersTotal: number;
  /** Questions of the data path's prober since the start, and their answers. */
  probes: ProbeCounts;
  pods: number;
  workers: WorkerSummary[];
  steering: SteeringStatus;
  lowLatency: LowLatencyStatus;
  packets: { egress: number; ingress: number };
  bytes: { egress: number; ingress: number };
  drops: number;
  offloads: GrantedOffloads;
  /** null while no raw socket is open. */
  raw: (RawStatus & { strangers: SourceFilterStatus }) | null;
  refused: Refusal[];
  /** While the mesh's encapsulation or port changes, else null. */
  change: ChangeStatus | null;
  /** null: no calls are taken or made. */
  pptp: PptpStatus | null;
  /** null: no interface is filtered. */
  pptpFilter: PptpFilterStatus | null;
  warnings: string[];
  churn: { published: number; hostChanges: number; reconciles: number };
}

/** Calls of this node. PPTP is insecure: `warning` says so wherever this is shown. */
export interface PptpStatus {
  warning: string;
  /** Users may dial in here. */
  serves: boolean;
  /** Calls that are up, and all that are wanted or under way. */
  up: number;
  sessions: SessionView[];
  /** All packets of the node go to this one worker, as calls are numbered. */
  worker: string;
}

/** An interface that takes nothing in but PPTP. */
export interface PptpFilterStatus {
  interface: string;
  withMesh: boolean;
  /** Addresses with a control connection that is up; GRE of these comes in. */
  callers: string[];
  /** What was refused, by kind; null: not known. */
  refused: RefusedCounts | null;
  /** The nftables table, while it stands. */
  table: string | null;
  problem: string | null;
}

/** Every error reply of the socket. */
export interface ApiErrorBody {
  error: { code: string; message: string };
}

/** Row of GET /fib: one prefix of the table the workers use now. */
export interface FibRow {
  prefix: string;
  peer: string;
  /** Beside "tunnel" the workers see its packets only while a change is under way. */
  way: Way;
  nextHop: string;
  protocol: string;
  port: number;
  /** null where the encapsulation has none. */
  vni: number | null;
  mac: string | null;
  mtu: number;
}

/** Row of GET /routes: one route the agent wants in the kernel. */
export interface RouteRow {
  destination: string;
  kind: "peer" | "direct" | "unreachable";
  device: string | null;
  /** The neighbour's address of a direct route; else null. */
  gateway: string | null;
  source: string | null;
  metric: number;
  via: string;
}

/** Row of GET /drops, summed over workers. */
export interface DropRow {
  reason: string;
  direction: "egress" | "ingress";
  packets: number;
  bytes: number;
  /** Of what came from the underlay, the last that was dropped so. */
  last?: LastDrop;
}

/** What the hot path knows of one dropped datagram. */
export interface LastDrop {
  age_ms: number;
  protocol: string;
  /** Outer source address, and the peer that has it; null: nobody. */
  from: string;
  peer: string | null;
  length: number;
  /** Network number in its header, where that is none: the sender's security identity. */
  vni: number | null;
  identity: number | null;
  /** Of the packet inside. */
  source: string | null;
  destination: string | null;
}
