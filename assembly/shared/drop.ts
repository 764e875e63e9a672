// Shared with TypeScript: keep portable (no import, no function, no decorator).
// Every reason a packet can end for. Append only: a retired reason stays and is marked unused.

export enum Drop {
  /** Not a drop: zero is never counted. */
  NONE = 0,
  /** Fewer bytes than the smallest packet of its kind has. */
  TOO_SHORT,
  /** The IP version is neither 4 nor 6, or does not fit the frame that carries it. */
  BAD_IP_VERSION,
  /** The inner IP header is damaged: header length, total length or header checksum. */
  BAD_IP_HEADER,
  /** A length that cannot be true: beyond the buffer, or headers that disagree with each other. */
  BAD_LENGTH,
  /** The kernel had to cut the datagram short because the slot was too small for it. */
  TRUNCATED,
  /** Larger than the tunnel to that peer carries; the sender is told the size that fits. */
  TOO_BIG,
  /** No prefix of the mesh holds the destination; the sender is told. */
  NO_ROUTE,
  /** The inner TTL or hop limit is zero; the sender is told. */
  TTL_EXPIRED,
  /** Came from a peer, but the inner destination is not on this node. */
  NOT_LOCAL,
  /** The outer source address belongs to no peer of ours. */
  UNKNOWN_PEER,
  /** The network number in the tunnel header is not the one agreed with this peer. */
  WRONG_VNI,
  /** The tunnel header lacks a flag it must have, or has one it must not have. */
  BAD_FLAGS,
  /** Came from a peer with an inner source address outside that peer's prefixes. */
  SPOOFED_SOURCE,
  /** Left this node with a source address outside its own prefixes. */
  FOREIGN_SOURCE,
  /** An inner multicast frame or packet: the mesh carries unicast only. */
  MULTICAST,
  /** An inner broadcast frame or packet: the mesh carries unicast only. */
  BROADCAST,
  /** The inner frame carries neither IPv4, IPv6 nor a question we answer. */
  NOT_IP,
  /** The inner frame is addressed to another VTEP's MAC address. */
  WRONG_MAC,
  /** Congestion was marked on the way although the inner packet cannot say so (RFC 6040, 4.2). */
  ECN_ILLEGAL,
  /**
   * The offload header read from TUN is one we did not ask for, or contradicts its packet; or a
   * sender's kernel handed over several UDP datagrams in one piece, without saying their size.
   */
  BAD_OFFLOAD,
  /** The underlay socket refused the datagram. */
  SEND_FAILED,
  /** The TUN device refused the packet. */
  TUN_WRITE_FAILED,
  /** The ring to the control thread was full, or the packet too large for it. */
  RING_FULL,
  /** A packet for an address of this node came back to the tunnel instead of being delivered. */
  LOOP,
  /** A known peer, but on the socket of an encapsulation that is not its own. */
  WRONG_PROTOCOL,
  /** A neighbour solicitation for our address, damaged or forwarded (RFC 4861, 7.1.1). */
  BAD_NEIGHBOUR,
  /** Was in the hands of a worker thread that died; counted by the control thread. */
  WORKER_DIED,
  /** The tunnel header is of a version we do not speak. */
  BAD_VERSION,
  /** The tunnel header's options do not end where the header says that they end. */
  BAD_OPTIONS,
  /** The tunnel header has an option that must be understood, and we do not (RFC 8926, 3.5). */
  UNKNOWN_OPTION,
  /** A control packet of the tunnel: its payload is for the endpoint and never forwarded. */
  CONTROL_PACKET,
  /** The tunnel header's key is not the one agreed with this peer, or is there only on one side. */
  WRONG_KEY,
  /** The tunnel header's checksum does not fit header and payload. */
  BAD_CHECKSUM,
  /** The tunnel header's sequence number is not above the last one taken (RFC 2890, 2.2). */
  OLD_SEQUENCE,
  /** The security identity in the tunnel header is not one that this peer may claim. */
  FOREIGN_IDENTITY,
  /** Enhanced GRE (PPTP) whose call id and source address belong to no call of ours. */
  UNKNOWN_CALL,
  /** What a call carries is no PPP frame: too short, or no protocol number (RFC 1661, 2). */
  BAD_PPP,
  /** There is no call to carry the packet, or the tables know nobody behind the call. */
  NO_CALL,
  /** As many packets are on their way in the call as its other end takes (RFC 2637, 4.3). */
  WINDOW_FULL,
  /** The call's packet of that number was taken before. */
  DUPLICATE,
  /** Came unencrypted by a call that must be encrypted. */
  CLEAR_REFUSED,
  /** Would have left unencrypted by a call that must be encrypted, or has no keys yet. */
  NOT_ENCRYPTED,
  /** MPPE's count is old, too far ahead, or the place in the key stream is lost (RFC 3078, 7). */
  MPPE_BAD_COUNT,
  /** Came encrypted by a call that has no keys for it yet. */
  MPPE_NO_KEY,
  /** Neither LCP nor authentication, before the other end has said who it is. */
  NOT_AUTHENTICATED,
  COUNT,
}
