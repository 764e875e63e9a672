// What the parts of a controller share.
import type { ControlLog } from "../errors.js";
import type { Mesh, MeshSecrets } from "../mesh.js";
import { defaultConfig, type MeshConfig } from "../settings.js";
import type { Leases } from "./leases.js";
import type { Store } from "./store.js";

export interface Core {
  mesh: Mesh;
  secrets: MeshSecrets;
  store: Store;
  leases: Leases;
  log: ControlLog;
  /** Unix seconds of a user key's revocation, or null. */
  revokedAt(userKey: string): number | null;
  /** Ends the credentials of user keys, on all servers, for good; does not wait. */
  revoke(userKeys: string[]): void;
}

/** A join, a rename or a removal is done or undone long before. */
export const unfinished_ms = 60_000;

/** Settings in force. */
export function configOf(store: Store): MeshConfig {
  return store.ledgers.mesh.get<"config">("config")?.record ?? { ...defaultConfig };
}
