// What is known of each member and static peer alone, and what an earlier plan made it from.
import type {
  LeaseRecord,
  MemberRecord,
  MeshConfig,
  MeshSnapshot,
  PeerRecord,
} from "../../../control/index.js";
import type { PrefixClaim } from "../overlap.js";
import type { Form } from "./forms.js";
import type { Candidate } from "./peers.js";
import type { LocalFacts, Problem } from "./types.js";

/** What an owner claims: it depends on less than the rest. */
export interface Claimed {
  /** In order. */
  claims: readonly PrefixClaim[];
  problems: readonly Problem[];
}

export interface OwnerPart extends Claimed {
  owner: string;
  /** null: nothing can be sent to it, or it is this node. */
  candidate: Candidate | null;
}

/** What the parts of an earlier plan were made from. */
export interface KnownOwners {
  config: MeshConfig;
  local: LocalFacts;
  members: ReadonlyMap<string, MemberRecord>;
  nodes: MeshSnapshot["nodes"];
  leases: ReadonlyMap<string, LeaseRecord>;
  peers: ReadonlyMap<string, PeerRecord>;
  confirmed: ReadonlyMap<string, Form>;
  /** Calls between members: parts with them are made anew each time. */
  hasPairs: boolean;
  parts: readonly OwnerPart[];
  /** Members' places in `parts`. */
  at: Map<string, number>;
}
