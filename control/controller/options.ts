// What a controller is started with.
import type { ControlLog } from "../errors.js";
import type { Mesh } from "../founding/index.js";
import type { ServersRecord } from "../records.js";
import type { TrustedAuthorities } from "../tls/index.js";
import type { Handover } from "./handover.js";

export interface ControllerOptions {
  mesh: Mesh;
  /** Instead of the mesh's. */
  servers?: string[];
  /** Whose servers are believed, instead of the mesh's. */
  ca?: TrustedAuthorities;
  log?: ControlLog;
  /** Milliseconds between heartbeat keys; default 5,000. */
  beat_ms?: number;
  /** Replicas of the buckets, for a cluster; default 1. */
  replicas?: number;
  /** Where NATS is, as this host was told; the record says otherwise when it is newer. */
  announce?: ServersRecord;
  /** Records to be put into a store that begins empty, before anything else. */
  restore?: Handover;
  /**
   * Another controller makes the buckets or has made them: wait until it has written where NATS is.
   * For a host that came to a mesh that there is.
   */
  waits?: AbortSignal;
  /** Told at the start and whenever another list of servers comes into force. */
  onServers?: (record: ServersRecord) => void;
  /**
   * Milliseconds in which nothing new is given after the store was lost, default 60,000: nodes hand
   * back meanwhile what it had.
   */
  holdOff_ms?: number;
  /** Milliseconds after which what stays half-done is finished; default 60,000. */
  tidy_ms?: number;
  /** Seconds that node credentials last; default 30 days. Members renew at half of it. */
  credentials_s?: number;
  /** Milliseconds until it must be ready; default 15,000. */
  timeout_ms?: number;
  /** How its host is called in a cluster's list; default: the host's own name. */
  host?: string;
  version?: string;
}
