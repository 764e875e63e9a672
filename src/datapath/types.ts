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
export type ProtocolName = "vxlan" | "geneve" | "udp" | "ipip" | "gre";

/** One tunnel peer; its index in `TableContents.peers` is the peer index everywhere else. */
export interface TablePeer {
  /** What is sent to it. */
  protocol: ProtocolName;
  /** What is accepted from it; left out: what is sent to it. */
  receives?: readonly ProtocolName[];
  /** Underlay address, IPv4 or IPv6; one peer per address. */
  address: string;
  /** UDP port; 0 where the encapsulation has none. */
  port: number;
  /** MAC address of the peer's VTEP; left out where the encapsulation carries no Ethernet. */
  mac?: string;
  /** Network number; left out where the encapsulation has none. */
  vni?: number;
  /** Bytes of inner IP packet that fit the path to this peer. */
  mtu: number;
  /** CIDRs routed to it, and the only inner sources accepted from it. */
  prefixes: string[];
  /** Fixed DSCP of the outer header, 0 to 63; absent: inherited from the inner packet. */
  dscp?: number;
}

/** Everything one generation of the tables says. */
export interface TableContents {
  self: TableSelf;
  peers: TablePeer[];
}
