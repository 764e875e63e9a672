// What the cluster remembers: the record types kept in JetStream KV, one interface per key prefix.
// Values on the wire are signed envelopes (envelope.ts); these are the contents after every check
// passed.
import type { PeerProtocol } from "./built.js";
import type { AdminRole } from "./roles.js";
import type { MeshConfig } from "./settings.js";

/** What a node may be. Records of any other one are read, but none is given. */
export const roles = ["node"] as const;

/** active: routed to. draining: routed to, no new pods. removed: never routed to. */
export type MemberState = "active" | "draining" | "removed";

/** `members.<nodeId>`: a grant, written by controllers and signed with the mesh's grant key. */
export interface MemberRecord {
  /** The node's NKey (public, `U...`, 56 characters). */
  nodeId: string;
  /** One DNS label, unique in the mesh. */
  name: string;
  /** The public key the node signs with; equals nodeId. */
  key: string;
  state: MemberState;
  /** What the token allowed it to be, one of `roles`. */
  role: string;
  /** PodCIDRs leased to it, canonical, IPv4 before IPv6. Empty while a join is under way. */
  podCIDRs: string[];
  /**
   * Rises by one each time the node is given leases anew; a lease counts only with the same epoch.
   */
  epoch: number;
  /** Extra prefixes (canonical CIDRs) that an administrator routes to this node. */
  grantedPrefixes: string[];
  /** Whether an administrator lets it serve PPTP accounts. Absent: no. */
  pptpServer?: boolean;
  /** RFC 3339, UTC. */
  joined: string;
  /** The token that it joined with. Absent: a controller of an earlier version admitted it. */
  tokenId?: string;
  /** Unix seconds: credentials given until then are revoked. Absent: none was ever. */
  revoked_s?: number;
  /** Signature of the grant key over the record, base64url. */
  signature: string;
}

export type LeaseState = "held" | "quarantined" | "reserved";

/**
 * `leases.<cidr>`: a node key's claim on a PodCIDR. Ends by release, removal or reclaim, never by
 * time.
 */
export interface LeaseRecord {
  cidr: string;
  /** null when reserved for nobody. A quarantined lease keeps its last holder. */
  nodeId: string | null;
  /** Epoch of the holder's member record when it was given. */
  epoch: number;
  state: LeaseState;
  /** RFC 3339: when the state began. */
  since: string;
  /** RFC 3339: a quarantined lease may be given to another node from then on; else null. */
  until: string | null;
  signature: string;
}

/** `names.<name>`: who owns a name (one DNS label). */
export interface NameRecord {
  name: string;
  nodeId: string;
}

/** `claims.<address:port>`: which member sends and receives on an underlay address and port. */
export interface ClaimRecord {
  address: string;
  port: number;
  nodeId: string;
}

/** Most entries of `receives` and of `sends` in a node record. */
export const FORMS_MAX = 16;

/**
 * Settings that are words of tunnel headers: packets that have others are dropped. Absent: the
 * encapsulation has none such, or an earlier version does not say it.
 */
export interface TunnelWords {
  vni?: number | "identity";
  greKey?: number | null;
  greChecksum?: boolean;
  greSequence?: boolean;
}

/** An encapsulation, and the UDP port where it is received: 0 where it has none. */
export interface TunnelForm extends TunnelWords {
  protocol: string;
  port: number;
}

/** `nodes.<nodeId>`: dynamic facts, written and signed by that node alone. */
export interface NodeRecord {
  nodeId: string;
  underlay: {
    /** Underlay addresses (IPv4 or IPv6, canonical), the advertised one first. */
    addresses: string[];
    /**
     * Addresses of the interface that holds the advertised one, with their prefix lengths
     * ("192.168.77.2/24"), that one first. [] from nodes that do not say it.
     */
    interfaceAddresses: string[];
    /** UDP port it receives tunnel packets on; 0 when its protocols use none. */
    port: number;
  };
  /** aa:bb:cc:dd:ee:ff, unicast. */
  vtepMac: string;
  /** Tunnel protocols it can receive. */
  protocols: string[];
  /**
   * What it receives now, the mesh's own first; during a change that of before, too. Absent: a node
   * that does not say it receives the mesh's protocol at `underlay.port`.
   */
  receives?: TunnelForm[];
  /**
   * What it sends to any member: those keep it open as long as it is here. Port 0 of one that has
   * ports: at whatever port; no words: with whatever words. Absent: the node does not say it.
   */
  sends?: TunnelForm[];
  /** Its tunnel MTU: bytes of inner IP packet. */
  mtu: number;
  version: string;
  bootId: string;
  /** Epoch of the member record it works under. */
  epoch: number;
  capabilities: string[];
}

/** `endpoints.<nodeId>.<pod>`: a pod interface, written and signed by its node. */
export interface EndpointRecord {
  nodeId: string;
  /** Pod name, one DNS label. */
  pod: string;
  /** Addresses of the pod, canonical, each inside a PodCIDR of its node. */
  addresses: string[];
  labels: Record<string, string>;
  /** Security identity; 0 = unknown. */
  identity: number;
}

/** `peers.<name>`: a static peer that is no meshd. */
export interface PeerRecord {
  name: string;
  /** Underlay address. */
  endpoint: string;
  port: number;
  podCIDRs: string[];
  /** MAC address and network number; null where the peer is sent IP alone. */
  vtepMac: string | null;
  protocol: PeerProtocol;
  vni: number | null;
  /** Key of its GRE headers; absent: the mesh's. */
  greKey?: number;
}

/**
 * `heartbeat`: written by controllers every few seconds so that readers know how old their view is.
 */
export interface BeatRecord {
  controllerId: string;
  time: string;
}

/** A record that was not applied. The last good value of its key, if any, stays in force. */
export interface Refusal {
  key: string;
  revision: number;
  reason: string;
}

/**
 * A whole, checked view of the cluster. Maps: members, nodes by nodeId; leases by cidr; peers by
 * name; endpoints by "<nodeId>.<pod>"; claims by "<address>:<port>" (IPv6 in brackets). Never
 * mutated after it was handed out.
 */
export interface MeshSnapshot {
  /** UUID of the mesh. */
  meshId: string;
  /** Highest stream sequence seen. */
  revision: number;
  config: MeshConfig;
  members: Map<string, MemberRecord>;
  nodes: Map<string, NodeRecord>;
  leases: Map<string, LeaseRecord>;
  peers: Map<string, PeerRecord>;
  endpoints: Map<string, EndpointRecord>;
  claims: Map<string, ClaimRecord>;
  refused: Refusal[];
}

/** `tokens.<tokenId>` in the bucket of secrets: a join token without its seed. */
export interface TokenRecord {
  tokenId: string;
  /** Public key of the token's seed: a join is signed with it. Revoked with the token. */
  bootstrapKey: string;
  description: string;
  role: string;
  created: string;
  expires: string | null;
  /** null: any number. */
  usesMax: number | null;
  uses: number;
  /**
   * Node keys that joined with it, the last 64; each may ask again with the same token (a lost
   * answer).
   */
  usedBy: string[];
  revoked: boolean;
  /** Whether nodes that join with it may serve PPTP accounts. Absent: no. */
  pptpServer?: boolean;
}

/**
 * `admins.<name>` in the bucket of secrets: an administrator. It stays when he is removed, so that
 * his keys stay revoked.
 */
export interface AdminRecord {
  /** One DNS label. */
  name: string;
  /** Public key of his credentials. */
  key: string;
  role: AdminRole;
  created: string;
  /** Who made him one; "" for the first, whom the mesh began with. */
  createdBy: string;
  /** Seconds that his credentials last, each time they are renewed; null = for ever. */
  lasts_s: number | null;
  /** End of what was given last; null = never. */
  expires: string | null;
  removed: boolean;
  /** Unix seconds: credentials given until then are revoked. Absent: none was ever. */
  revoked_s?: number;
  /** Keys of removed ones that had this name before. */
  formerKeys: string[];
}

/**
 * `addresses.<IPv4 address>` in the bucket of secrets: which user has it. Written before his
 * account says so, by compare-and-set: two controllers give it to one of two.
 */
export interface AddressRecord {
  address: string;
  user: string;
}

/**
 * `users.<name>` in the bucket of secrets: an account of a PPTP client. PPTP is insecure by today's
 * standards: whoever reads a call can find the password.
 */
export interface UserRecord {
  /** Lower case (keys.ts, isUserName). */
  name: string;
  /** UserSecret as JSON, sealed with the key that PPTP-serving nodes have (secrets.ts). */
  sealed: string;
  /** The clear password is kept, too, for CHAP-MD5: even less secure. */
  insecureClear: boolean;
  /** IPv4 address that its client gets; null: one that is free. */
  address: string | null;
  /** RFC 3339, or null = never. */
  expires: string | null;
  disabled: boolean;
  created: string;
  /** When the password was last changed. */
  passwordChanged: string;
}

/** `accounts`: by its change members hear that accounts changed; it tells nothing of them. */
export interface AccountsRecord {
  /** Highest serial of all `users` records. */
  latest: number;
}

/**
 * `trust`: whom members believe while keys of the mesh change. Absent: none ever did, and what a
 * member got when it joined counts.
 */
export interface TrustRecord {
  /** PEM of the CAs of servers, one each, the one that signs first; [] in a mesh without. */
  authorities: string[];
  /** Keys of the account whose credentials are taken, the one that signs first. */
  signers: string[];
}

/** `servers`: where NATS is, so that members hear of a change and find it after a restart. */
export interface ServersRecord {
  /** Rises with each change of the list. */
  generation: number;
  servers: NatsPlace[];
}

/** One nats-server. */
export interface NatsPlace {
  /** For clients. */
  url: string;
  /** Port for the other servers of a cluster of ours; null: it is nobody's of ours. */
  routePort: number | null;
}
