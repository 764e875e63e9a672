// What the parts of a controller share.
import { ControlError, type ControlLog } from "../errors.js";
import type { Mesh, MeshSecrets } from "../founding/index.js";
import { defaultConfig, type MeshConfig } from "../settings.js";
import type { Place } from "../twins.js";
import type { Leases } from "./leases.js";
import type { Losses } from "./losses.js";
import type { Store } from "./store.js";

/** A user key, and the unix seconds up to which what was given for it ends. */
export interface Ended {
  key: string;
  at_s: number;
}

export interface Core {
  /** Public key that this controller connects with. */
  controllerId: string;
  mesh: Mesh;
  secrets: MeshSecrets;
  store: Store;
  leases: Leases;
  log: ControlLog;
  /** What a store that came back lacked, and until when nothing new is given. */
  losses: Losses;
  /** Unix seconds of a user key's revocation, or null. */
  revokedAt(userKey: string): number | null;
  /** Who else uses a node's key now, beside the one who asks. */
  whoRuns(nodeId: string, asking: Place | null): Promise<Place | null>;
  /** Ends the credentials of user keys, on all servers, for good; does not wait. */
  revoke(ended: Ended[]): void;
}

/** Refuses while nodes may still hand back what a lost store had. MESHD_HOLD_OFF. */
export function refuseInHoldOff(core: Core): void {
  const left_s = Math.ceil(core.losses.holdOff_ms / 1000);
  if (left_s === 0) return;
  const what =
    "the store was lost or came back older: nodes hand back what it had, and nothing new is " +
    `given for another ${left_s} s; try again then, or end it with 'meshd store accept'`;
  throw new ControlError("MESHD_HOLD_OFF", what);
}

/** A join, a rename or a removal is done or undone long before. */
export const unfinished_ms = 60_000;

/** Settings in force. */
export function configOf(store: Store): MeshConfig {
  return store.ledgers.mesh.get<"config">("config")?.record ?? { ...defaultConfig };
}

/** "peer NAME" of the static peer at an address; not `except`. */
export function peerAt(core: Core, address: string, except?: string): string | null {
  const peers = [...core.store.ledgers.mesh.records("peers")];
  const found = peers.find((one) => one.endpoint === address && one.name !== except);
  return found ? `peer ${found.name}` : null;
}
