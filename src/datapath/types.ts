// What the control side hands to the datapath: plain values, no bytes and no addresses in memory.

/** This node, as the hot path needs to know it. */
export interface TableSelf {
  /** MAC address of our VTEP, `aa:bb:cc:dd:ee:ff`. */
  mac: string;
  /** Network number of our own network; each peer carries the number agreed with it. */
  vni: number;
  /** Tunnel MTU: bytes of inner IP packet. */
  mtu: number;
  /** Overlay addresses of the node, IPv4 or IPv6; the first of each family is the VTEP address. */
  addresses: string[];
  /** Own CIDRs: local destinations on decap, allowed sources on encap. */
  prefixes: string[];
  /** UDP port the node listens on, or 0. */
  udpPort: number;
}

/** Name of an encapsulation; the keys of `ENCAPSULATIONS`. */
export type ProtocolName = "vxlan" | "geneve" | "udp" | "ipip" | "gre" | "pptp";

/** The optional words of GRE headers, RFC 2784 and 2890. */
export interface GreOptions {
  /** 0 to 4,294,967,295; null: no key is sent, and none is accepted. */
  key: number | null;
  /** Sends a checksum; one that is received is always checked. */
  checksum: boolean;
  /** Sends numbers, and takes no packet whose number is old. */
  sequence: boolean;
  /** Sends Ethernet frames, from VTEP to VTEP, instead of IP; needs the peer's MAC address. */
  frames?: boolean;
}

/** The PPTP call that carries a peer's packets. */
export interface CallOptions {
  /** As `CallPort.reserve` gave it; null: there is no call now, its packets are counted drops. */
  slot: number | null;
  /** By MPPE. The call has to agree: nothing leaves in clear text by mistake, nor the other way. */
  encrypted: boolean;
  /** What we may leave out when sending: FF 03, and the first byte of protocol numbers. */
  acfc: boolean;
  pfc: boolean;
}

/** Most entries in the tables that shadow others. */
export const SHADOWS_MAX = 64;

/** One tunnel peer; its index in `TableContents.peers` is the peer index everywhere else. */
export interface TablePeer {
  /** What is sent to it. */
  protocol: ProtocolName;
  /** What is accepted from it; left out: what is sent to it. */
  receives?: readonly ProtocolName[];
  /**
   * Underlay address, IPv4 or IPv6; one peer per address, but several may have it that send us
   * nothing but PPTP.
   */
  address: string;
  /** UDP port; 0 where the encapsulation has none. */
  port: number;
  /** MAC address of the peer's VTEP; left out where it is sent no Ethernet. */
  mac?: string;
  /** Network number; left out where the encapsulation has none. */
  vni?: number;
  /** Network numbers that are accepted from it, at most two; left out: that one. */
  vnis?: readonly number[];
  /** Optional words of its GRE headers, both ways; none when left out. */
  gre?: GreOptions;
  /** Keys accepted in its GRE headers, null: no key; at most two and null. Left out: that one. */
  greKeys?: readonly (number | null)[];
  /** Its call, where it is sent PPTP or PPTP is accepted from it. */
  pptp?: CallOptions;
  /** A dial-in client: its packets may go on to other peers, and theirs to it. */
  dialsIn?: boolean;
  /**
   * A network of others, where this node dialled in: for its own pods alone. Nothing passes between
   * it and clients that dial in here.
   */
  foreign?: boolean;
  /**
   * Network numbers are security identities. receives: besides those accepted, which are its pods',
   * it may say 6, remote-node. sends: `vni` is our pods', our own packets say 6.
   */
  identities?: { receives: boolean; sends: boolean };
  /** Bytes of inner IP packet that fit the path to this peer. */
  mtu: number;
  /** IPv6 packets of up to 1,280 bytes that are larger than `mtu` travel in outer fragments. */
  fragments?: boolean;
  /** Each UDP datagram is a send of its own: the sockets send no checksums (SocketChecksums). */
  lone?: boolean;
  /** CIDRs routed to it, and the only inner sources accepted from it. */
  prefixes: string[];
  /**
   * A second entry of a peer for another way to it, behind all others: nothing is routed there, and
   * what comes from that address belongs to the first entry.
   */
  shadow?: boolean;
  /** Fixed DSCP of the outer header, 0 to 63; absent: inherited from the inner packet. */
  dscp?: number;
}

/** Everything one generation of the tables says. */
export interface TableContents {
  self: TableSelf;
  peers: TablePeer[];
}
