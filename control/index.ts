// The door of the control plane: records, settings, mesh creation, joining, member sessions, the controller and its admin client.
import { EventEmitter } from "node:events";
import type {
  EndpointRecord,
  LeaseRecord,
  LeaseState,
  MemberRecord,
  MemberState,
  MeshSnapshot,
  NodeRecord,
  PeerRecord,
  Refusal,
} from "./records.js";
import type { MeshConfig, SettingName } from "./settings.js";

export { ControlError, type ControlErrorCode } from "./errors.js";
export type * from "./records.js";
export { defaultConfig, type MeshConfig, type SettingName } from "./settings.js";

/** Called for events worth a log line; fields are plain JSON. */
export type ControlLog = (event: string, fields: Record<string, unknown>) => void;

export {
  type CreateMeshOptions,
  createMesh,
  loadMesh,
  type Mesh,
  type NatsClientHelp,
  type NatsServerSettings,
  natsClientHelp,
  natsServerConfig,
  setMeshServers,
} from "./mesh.js";
export { checkSetting, completeConfig, tunnelPortOf } from "./setting-rules.js";

import type { Mesh } from "./mesh.js";

// ---- identity and joining ----
/** A node's NKey. The seed is secret: files 0600. */
export interface Identity {
  nodeId: string;
  seed: string;
}
export declare function createIdentity(): Identity;
/** Reads the file, or makes a new identity and writes it 0600. */
export declare function loadOrCreateIdentity(file: string): Promise<Identity>;
export interface TokenContents {
  meshId: string;
  mesh: string;
  tokenId: string;
  servers: string[];
  expires: string | null;
}
/** What a token says in clear; MESHD_TOKEN_INVALID when it is none. */
export declare function parseToken(token: string): TokenContents;
export interface JoinOptions {
  identity: Identity;
  /** One DNS label. */
  name: string;
  /** Advertised underlay address and port, claimed for this node. */
  underlay: { address: string; port: number };
  /** Instead of the token's. */
  servers?: string[];
  timeout_ms?: number;
  log?: ControlLog;
}
/** All that a member needs to start again without a token; plain JSON, secret (0600). */
export interface Membership {
  meshId: string;
  mesh: string;
  nodeId: string;
  name: string;
  servers: string[];
  /** NATS user JWT (rights of this node) and the JWT that can only renew it. */
  jwt: string;
  renewalJwt: string;
  accountKey: string;
  grantKey: string;
  /** Grants as given: member record and leases, as signed text (kept to be presented again). */
  grants: { key: string; value: string }[];
  podCIDRs: string[];
  epoch: number;
  config: MeshConfig;
}
/** Asks a controller for membership. Errors: MESHD_TOKEN_*, MESHD_NAME_TAKEN, MESHD_POOL_EXHAUSTED, MESHD_ADDRESS_CLAIMED, MESHD_NO_NATS, MESHD_NO_CONTROLLER ... Same key again: same leases. */
export declare function joinMesh(token: string, options: JoinOptions): Promise<Membership>;
export declare function writeMembership(file: string, membership: Membership): Promise<void>;
/** null when the file does not exist; ControlError MESHD_BAD_RECORD when it is damaged. */
export declare function readMembership(file: string): Promise<Membership | null>;

// ---- a member's session (the agent) ----
export type NodeFacts = Omit<NodeRecord, "nodeId">;
export type EndpointFacts = Omit<EndpointRecord, "nodeId">;
export interface MemberSessionOptions {
  membership: Membership;
  identity: Identity;
  /** Instead of the membership's. */
  servers?: string[];
  /** Answer to `<mesh>.agent.<nodeId>.status`. */
  status?: () => unknown;
  /** Text of serializeSnapshot: the last good state, in force until NATS answers. */
  saved?: string;
  version?: string;
  log?: ControlLog;
  heartbeat_ms?: number;
  relist_ms?: number;
}
/**
 * Events: "snapshot" (MeshSnapshot), only when its contents changed; "connected"; "disconnected"; "refused" (Refusal);
 * "membership" (Membership) when renewed credentials or grants should be written to disk; "removed" when this node was removed.
 */
export declare class MemberSession extends EventEmitter {
  /** Resolves at once, also while no server answers: it goes on trying for ever, with jittered back-off. */
  static connect(options: MemberSessionOptions): Promise<MemberSession>;
  readonly nodeId: string;
  get connected(): boolean;
  /** URL of the server in use, or null. */
  get server(): string | null;
  snapshot(): MeshSnapshot | null;
  /** First complete snapshot (a saved one counts); MESHD_TIMEOUT. */
  ready(timeout_ms: number): Promise<MeshSnapshot>;
  /** Milliseconds since the view was last known to be current; Infinity before the first. */
  viewAge_ms(): number;
  /** Desired own node record; written when changed, and again after a reconnect if the store has another. */
  writeNode(facts: NodeFacts): Promise<void>;
  /** Desired own endpoints, all of them; only differences are written. */
  writeEndpoints(endpoints: EndpointFacts[]): Promise<void>;
  /** Gives the leases back (quarantine) and ends the membership. */
  leave(): Promise<void>;
  /** New credentials with the key alone. */
  renew(): Promise<Membership>;
  close(): Promise<void>;
}
export declare function serializeSnapshot(snapshot: MeshSnapshot): string;
/** Throws ControlError MESHD_BAD_RECORD when damaged. */
export declare function parseSnapshot(text: string): MeshSnapshot;

// ---- controller ----
export interface ControllerOptions {
  mesh: Mesh;
  servers?: string[];
  log?: ControlLog;
  beat_ms?: number;
  connect_timeout_ms?: number;
}
export declare class Controller {
  /** Connects, creates the buckets when absent, serves. Resolves when requests are answered. MESHD_NO_NATS. */
  static start(options: ControllerOptions): Promise<Controller>;
  readonly controllerId: string;
  get connected(): boolean;
  close(): Promise<void>;
}

// ---- administration ----
export interface NodeView {
  nodeId: string;
  name: string;
  state: MemberState;
  role: string;
  podCIDRs: string[];
  epoch: number;
  grantedPrefixes: string[];
  joined: string;
  /** null: no heartbeat seen by the answering controller. */
  lastSeen: string | null;
  online: boolean;
  node: NodeRecord | null;
  endpoints: EndpointRecord[];
}
export interface LeaseView {
  cidr: string;
  nodeId: string | null;
  name: string | null;
  epoch: number;
  state: LeaseState;
  since: string;
  until: string | null;
}
/** kind: orphan (no such member), unheld (member lists a CIDR without lease), overlap, epoch, stale-claim. */
export interface LeaseFinding {
  cidr: string;
  kind: string;
  detail: string;
  nodeId: string | null;
}
export interface TokenView {
  tokenId: string;
  description: string;
  role: string;
  created: string;
  expires: string | null;
  uses: number;
  usesMax: number | null;
  usedBy: string[];
  revoked: boolean;
}
export interface TokenOptions {
  description?: string;
  role?: string /** Seconds; default 86400; null = never. */;
  expires_s?: number | null /** Default 1; null = any number. */;
  uses?: number | null;
}
export interface RouteView {
  prefix: string;
  via: "node" | "peer";
  name: string;
  nodeId: string | null;
  underlay: string | null;
  port: number | null;
  protocol: string;
  state: string;
}
export interface AdminOptions {
  servers: string[] /** Path of a credentials file. */;
  credentials: string;
  mesh: string;
  timeout_ms?: number;
}
export declare class AdminClient {
  static connect(options: AdminOptions): Promise<AdminClient>;
  /** As the host of a controller: admin credentials of the mesh directory. */
  static forMesh(mesh: Mesh): Promise<AdminClient>;
  readonly nodes: {
    list(): Promise<NodeView[]>;
    /** Name or nodeId everywhere below. MESHD_NOT_FOUND. */
    show(node: string): Promise<NodeView>;
    drain(node: string, on?: boolean): Promise<NodeView>;
    remove(node: string): Promise<NodeView>;
    rename(node: string, name: string): Promise<NodeView>;
    /** The agent's own answer, from the agent. MESHD_TIMEOUT. */
    status(node: string): Promise<unknown>;
  };
  readonly leases: {
    list(): Promise<LeaseView[]>;
    audit(): Promise<LeaseFinding[]>;
    /** Mends what audit finds, or ends one lease (into quarantine). */
    reclaim(cidr?: string): Promise<{ reclaimed: string[]; findings: LeaseFinding[] }>;
    reserve(cidr: string): Promise<LeaseView>;
  };
  readonly tokens: {
    create(options?: TokenOptions): Promise<{ token: string; view: TokenView }>;
    list(): Promise<TokenView[]>;
    revoke(tokenId: string): Promise<TokenView>;
  };
  readonly config: {
    get(): Promise<MeshConfig>;
    /** MESHD_BAD_SETTING, MESHD_SETTING_NOT_LIVE (nothing was changed). */
    set(name: string, value: unknown): Promise<MeshConfig>;
  };
  readonly peers: {
    add(peer: PeerRecord): Promise<PeerRecord>;
    list(): Promise<PeerRecord[]>;
    remove(name: string): Promise<void>;
  };
  readonly routes: { list(): Promise<RouteView[]> };
  refused(): Promise<Refusal[]>;
  close(): Promise<void>;
}
export type { LeaseRecord, MemberRecord };
