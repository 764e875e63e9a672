// What pods are: the request for one, its record, and what the room needs to know of the node.
import type { PodError } from "./errors.js";

/** A request for a pod. */
export interface PodRequest {
  /** One DNS label (RFC 1123 section 2.1), unique on this node. */
  name: string;
  /**
   * Its network namespace: a name (made when absent, and then removed with the pod) or a path
   * (somebody else's, left alone). Default: a new namespace called like the pod.
   */
  netns?: string;
  labels?: Readonly<Record<string, string>>;
}

/** A pod on this node. */
export interface Pod {
  name: string;
  /** Namespace as given: a name or a path. */
  netns: string;
  /** We made the namespace, so it goes with the pod. */
  ownsNetns: boolean;
  labels: Record<string, string>;
  /** One address of each family the node has a PodCIDR of; plain addresses, IPv4 first. */
  addresses: string[];
  /** The host's end of the veth pair. */
  hostDevice: string;
  /** ISO 8601. */
  createdAt: string;
}

export interface PodsOptions {
  /** Where `pods.json` is kept (mode 0600). */
  stateDir: string;
  /** Overlay device; the gateway route 169.254.1.1 stands on it. It must exist and be up. */
  device: string;
  /** The node's PodCIDRs; the first address of each is the node's own. */
  podCidrs: readonly string[];
  /** Tunnel MTU in bytes. */
  mtu: number;
  log?: (event: string, fields: Record<string, unknown>) => void;
}

export interface RestoreResult {
  /** Things changed in the kernel; 0 = all was as it should be. */
  changes: number;
  failed: { name: string; error: PodError }[];
}
