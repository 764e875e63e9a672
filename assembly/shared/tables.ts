// Shared with TypeScript: keep portable (literals, earlier names, + and * only; no import).
// Inside one copy of the tables: the control thread writes it, the workers read it.

// --- one copy of the tables: offsets from its address (control thread writes, workers read) ------
// A copy of zero bytes is a valid empty table. Addresses and masks are written once, when memory
// is laid out.
export const T_SELF_MAC: usize = 0; //       6 bytes
// u8: SELF_*
export const T_SELF_FLAGS: usize = 6;
export const T_SELF_VNI: usize = 8; //       u32
export const T_SELF_MTU: usize = 12; //      u32: bytes of inner IP packet
export const T_SELF_PORT: usize = 16; //     u32
export const T_SELF_ADDRESS4: usize = 20; // u32, host order
export const T_SELF_ADDRESS6: usize = 24; // 16 bytes, network order
export const T_PEER_COUNT: usize = 64; //    u32
export const T_PEERS_AT: usize = 68; //      u32: address of peer 0
export const T_SOURCES_AT: usize = 72; //    u32: hash of underlay addresses
export const T_SOURCES_MASK: usize = 76; //  u32: slots - 1
export const T_FIB4_AT: usize = 80; //       u32: root of the trie
export const T_FIB4_CHUNKS: usize = 84; //   u32: where its chunks begin, and how many bytes of
export const T_FIB4_USED: usize = 88; //     u32: them this table uses
export const T_FIB6_AT: usize = 92;
export const T_FIB6_MASK: usize = 96;
export const T_FIB6_COUNT: usize = 100;
export const T_CALLS_AT: usize = 104; // u32: which entry the packets of each call's slot belong to
export const T_FIB6_LENGTHS: usize = 192; // u8 each: the lengths that occur, longest first
export const T_HEADER_SIZE: usize = 384;
export const SELF_HAS_4: u32 = 1;
export const SELF_HAS_6: u32 = 2;

// FIB of IPv4: a trie by 16, 8, 4 and 4 bits of the address. An entry is a u32: a next hop, or from
// FIB4_CHUNK_MIN on the address of the next level's chunk. Next hops are less (a peer's index is
// kept in 16 bits), and addresses of tables are more. The root has chunks only; while it is zero,
// as in a copy never written, the never used bytes from address 0 on are its chunk of nothing.
export const FIB4_ROOT_SIZE: usize = 262144; // 65,536 entries
export const FIB4_CHUNK8_SIZE: usize = 1024; // 256
export const FIB4_CHUNK4_SIZE: usize = 64; //   16
export const FIB4_CHUNK_MIN: u32 = 131072;

// FIB of IPv6: slots of a hash; one whose value is NEXT_NONE is empty. Linear probing, at most half
// full.
export const FIB6_SLOT_SIZE: usize = 32;
export const FIB6_PREFIX: usize = 0; // 16 bytes, network order
export const FIB6_VALUE: usize = 16; // u32: next hop + prefix length * FIB_LENGTH_UNIT
export const FIB_LENGTH_UNIT: u32 = 16777216;
/** Next hops: none, this node, or NEXT_PEER + peer index. */
export const NEXT_NONE: u32 = 0;
export const NEXT_LOCAL: u32 = 1;
export const NEXT_PEER: u32 = 2;

// One peer: what its packets need, in two cache lines.
export const PEER_SIZE: usize = 128;
export const P_PROTOCOL: usize = 0; // u8
export const P_FAMILY: usize = 1; //   u8: of its underlay address, 4 or 6
export const P_DSCP: usize = 2; //     u8: fixed DSCP, or DSCP_INHERIT
// u8: encapsulations accepted from it, a bit 1 << PROTOCOL_* each (P_PROTOCOL: what is sent to it)
export const P_RECEIVES: usize = 3;
export const P_PORT: usize = 4; //     u16, host order; 0 where there are no ports
export const P_OVERHEAD: usize = 6; // u8: bytes that our outer headers take in the datagram
export const P_FLAGS: usize = 7; //    u8: PEER_*
// u32: network number that is accepted, in network order, then a zero byte
export const P_VNI: usize = 8;
export const P_MTU: usize = 12; //     u32: bytes of inner IP packet, never above our own
export const P_ADDRESS: usize = 16; // 16 bytes, as D_PEER
export const P_MAC: usize = 32; //     6 bytes
// outer header bytes before an inner IPv4 packet, ready but for what differs per packet, and
// TEMPLATE6_BEHIND bytes further those before an IPv6 one
export const P_TEMPLATE: usize = 40;
export const P_TEMPLATE_SIZE: usize = 32;
/** Also the bit in a packet's first byte that version 6 has and version 4 has not. */
export const TEMPLATE6_BEHIND: usize = 32;
export const P_KEY_ALSO: usize = 104; // u32: a second key that is accepted (KEY_ALSO)
export const P_CALL_ID: usize = 108; // u16: our id of the call that carries its packets (P_SESSION)
export const P_KEY: usize = 112; //     u32: key that is accepted in its GRE headers (KEY_FIRST)
// u32: address of its session record, PPTP: of its call's record, or 0
export const P_SESSION: usize = 116;
export const P_KEYS: usize = 120; //    u8: KEY_*: which of its GRE headers are accepted
// u32: a second network number that is accepted, as P_VNI; the same where there is none
export const P_VNI_ALSO: usize = 124;
export const DSCP_INHERIT: u32 = 255;
/** Flag: IPv6 packets above P_MTU and up to 1,280 bytes go in outer fragments. */
export const PEER_FRAGMENTS: u32 = 1;
/** Flag: each UDP datagram is a send of its own, for the kernel segments none without checksums. */
export const PEER_LONE: u32 = 2;
/** Flag: network numbers that it sends are security identities: P_VNI, or IDENTITY_REMOTE_NODE. */
export const PEER_IDENTITIES: u32 = 4;
/** Flag: it is sent identities: the template has our pods', ours as a node is another. */
export const PEER_SAYS_IDENTITY: u32 = 8;
/** Flag: it dials in: its packets may go on to other peers, and theirs to it. */
export const PEER_DIALS_IN: u32 = 16;
/** Flag: a network of others; nothing passes between it and who dials in. */
export const PEER_FOREIGN: u32 = 64;
/** Flag: its packets travel encrypted by MPPE, or not at all. */
export const PEER_ENCRYPTED: u32 = 32;
/** Security identity of a node, as other nodes hear it. */
export const IDENTITY_REMOTE_NODE: u32 = 6;
/** GRE headers without a key are accepted, those with P_KEY, those with P_KEY_ALSO. */
export const KEY_NONE: u32 = 1;
export const KEY_FIRST: u32 = 2;
export const KEY_ALSO: u32 = 4;

// Hash of underlay addresses: PEER_INDEX + 1 of zero = empty. Linear probing, at most half full.
export const SOURCE_SLOT_SIZE: usize = 32;
export const SOURCE_ADDRESS: usize = 0; // 16 bytes, as D_PEER
export const SOURCE_FAMILY: usize = 16; // u32
export const SOURCE_PEER: usize = 20; //   u32: peer index + 1

// Entries of calls: u32 for each slot, the call's id and the index of the entry that its packets
// belong to, or 0.
export const CALL_ENTRY_ID: u32 = 65536; // the id counts in units of this,
export const CALL_ENTRY_PEER: u32 = 1; //  and the index + 1 in units of this
export const CALL_ENTRIES_SIZE: usize = 4096;

// One tunnel's numbers, in a region of its own: they outlive tables and threads. Written by the one
// worker that has all of the tunnel's numbered packets; zeros are a tunnel that never was used.
export const SESSION_SIZE: usize = 32;
export const SESSION_SENT: usize = 0; //      u32: sequence number of the next packet to send
export const SESSION_EXPECTED: usize = 4; //  u32: one more than the last number taken
export const SESSION_STARTED: usize = 8; //   u32: 1 = a number was taken
export const SESSION_LATE: usize = 12; //     u32: old numbers that rise, since the last one taken
export const SESSION_LATE_NEXT: usize = 16; // u32: one more than the last of them
