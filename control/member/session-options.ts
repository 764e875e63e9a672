// What a member's session is told at its start.
import type { ControlLog } from "../errors.js";
import type { Identity } from "../identity.js";
import type { Membership } from "../membership.js";
import type { EndpointRecord, NodeRecord } from "../records.js";
import type { TrustedAuthorities } from "../tls/index.js";
import type { TwinsOptions } from "../twins.js";

export type NodeFacts = Omit<NodeRecord, "nodeId">;
export type EndpointFacts = Omit<EndpointRecord, "nodeId">;

export interface MemberSessionOptions {
  membership: Membership;
  identity: Identity;
  /** Instead of the membership's. */
  servers?: string[];
  /** Instead of the membership's CA. */
  ca?: TrustedAuthorities;
  /** Answers `<mesh>.agent.<nodeId>.status`; plain JSON. */
  status?: () => unknown;
  /** Verb -> what answers an administrator's `<mesh>.agent.<nodeId>.<verb>`; JSON both ways. */
  answers?: Readonly<Record<string, (request: unknown) => Promise<unknown>>>;
  /** Directory for what controllers tell this node alone (0600); absent: kept in memory. */
  secretsDir?: string;
  /** Text of serializeSnapshot: the last good state, in force until NATS answers. */
  saved?: string;
  /** Version shown by `nats micro ls`; semantic. */
  version?: string;
  log?: ControlLog;
  heartbeat_ms?: number;
  relist_ms?: number;
  beatMissing_ms?: number;
  /** false: a watch of its own, never a controller's feed; for tests. */
  feed?: boolean;
  /** Where this session runs, and how long it looks out for another with its key; for tests. */
  twins?: Partial<Pick<TwinsOptions, "place" | "home" | "away_ms">>;
}
