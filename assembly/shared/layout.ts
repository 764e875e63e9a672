// Shared with TypeScript: keep portable (style: literals, earlier names, + and * only; no import).
// The one place with addresses. All memory of the hot path is taken at start by the control thread.
//
//   0          never valid
//   CONTROL    magic, generation, directory of tables and workers (control thread writes)
//   tables     two copies; the control thread fills the spare, then publishes the generation
//   worker 0   block, counters, state, rings, descriptors, slots, output arenas (one writer each)
//   worker 1   the same, C_WORKER_STRIDE further on, and so on
//
// Addresses of tables and workers stand in the directory: limits grow by a setting, not by code.

// --- descriptor: one packet, or one train of equal segments, at a system call --------------------
// Written by the addon on reads, by the hot path on outputs. 64 bytes, one cache line.
export const DESCRIPTOR_SIZE: usize = 64;
/** u32: address of the first byte (TUN: of the 10-byte virtio_net_hdr). */
export const D_ADDRESS: usize = 0;
/** u32: read side: bytes free from ADDRESS. Write side: inner bytes carried (for byte counters). */
export const D_CAPACITY: usize = 4;
/** u32: bytes read, or to write. */
export const D_LENGTH: usize = 8;
/** u16: bytes per segment of a train (UDP_GRO / UDP_SEGMENT); 0 = a single packet. */
export const D_SEGMENT: usize = 12;
/** u8: outer TOS / traffic class, received or to send. */
export const D_TOS: usize = 14;
/** u8: bit 0 = truncated by the kernel (MSG_TRUNC). */
export const D_FLAGS: usize = 15;
/** u16: index into the worker's list of sockets or queues. */
export const D_SOCKET: usize = 16;
/** u16: peer's UDP port, host order. */
export const D_PORT: usize = 18;
/** u8: outer address family, 4 or 6. */
export const D_FAMILY: usize = 20;
/** u8: the hot path's own: direction whose counters this output belongs to. */
export const D_DIRECTION: usize = 21;
/** u16: wire-size inner packets carried (outputs). */
export const D_SEGMENTS: usize = 22;
/**
 * u32: after a write: 0 = sent, else the errno of the last failure.
 * The hot path presets STATUS_PENDING, so that what a write never reached is counted as failed.
 */
export const D_STATUS: usize = 24;
/** u16: after a write: how many of the SEGMENTS were not sent. */
export const D_FAILED: usize = 28;
/** u16: the hot path's own. */
export const D_PRIVATE: usize = 30;
/** 16 bytes: peer's underlay address, network order; IPv4 in the first 4, the rest zero. */
export const D_PEER: usize = 32;
/** 16 bytes: local underlay address (received: where it was sent to), same form. */
export const D_LOCAL: usize = 48;
export const D_FLAG_TRUNCATED: u32 = 1;
export const STATUS_PENDING: u32 = 65535;
/**
 * D_SOCKET of a received datagram: the kind of socket it came by (socketIndex of the batch read).
 */
export const SOCKET_VXLAN: u32 = 0;
export const SOCKET_GENEVE: u32 = 1;
export const SOCKET_UDP: u32 = 2;
/** Raw sockets: IP protocols 4 (IPv4 inside), 41 (IPv6 inside) and 47. */
export const SOCKET_IPIP4: u32 = 3;
export const SOCKET_IPIP6: u32 = 4;
export const SOCKET_GRE: u32 = 5;
/**
 * What stands in a PPTP call's frames, behind GRE and PPP: no descriptor of a socket has it, but
 * what is taken out of those of SOCKET_GRE goes on under it.
 */
export const SOCKET_CALL: u32 = 7;
/** A UDP port on which several encapsulations come, while it changes from one to another. */
export const SOCKET_MIXED: u32 = 6;

// --- encapsulations: one number each, in the peer's table entry ----------------------------------
export const PROTOCOL_NONE: u32 = 0;
export const PROTOCOL_VXLAN: u32 = 1;
export const PROTOCOL_GENEVE: u32 = 2;
/** Inner IP packets in UDP without any header, as flannel's `udp` backend sends them. */
export const PROTOCOL_UDP: u32 = 3;
/** Inner IP packets right behind the outer IP header: RFC 2003, RFC 4213, RFC 2473. */
export const PROTOCOL_IPIP: u32 = 4;
export const PROTOCOL_GRE: u32 = 5;
export const PROTOCOL_PPTP: u32 = 6;
/** Bytes an encapsulation adds before the inner IP packet, without outer IP and UDP headers. */
export const VXLAN_OVERHEAD: u32 = 22;
export const GENEVE_OVERHEAD: u32 = 22;
export const UDP_OVERHEAD: u32 = 0;
export const IPIP_OVERHEAD: u32 = 0;
/** GRE: the header, each of its optional words, and a frame's header where it carries frames. */
export const GRE_OVERHEAD: u32 = 4;
export const GRE_WORD: u32 = 4;
export const ETHERNET_OVERHEAD: u32 = 14;
/** PPTP: enhanced GRE's header, and at most what PPP and MPPE put behind it. */
export const PPTP_OVERHEAD: u32 = 16;
export const PPP_OVERHEAD: u32 = 8;

// --- limits --------------------------------------------------------------------------------------
export const MAX_WORKERS: u32 = 32;
/** Default table capacities; a setting may ask for more at start. */
export const DEFAULT_PEERS: u32 = 4096;
export const DEFAULT_PREFIXES: u32 = 65536;
/** Slots read per batch and direction. */
export const BATCH: u32 = 64;
/** Free bytes before a packet read into a slot: room for outer headers in place. */
export const HEADROOM: usize = 256;
export const VNET_HEADER_SIZE: usize = 10;
/**
 * Headroom + vnet header + 65,535 bytes, rounded up to a cache line, and one more: so the headers
 * of a batch lie in 64 sets of the first-level cache, not in 8.
 */
export const SLOT_SIZE: usize = 66112;
/** Most inner packets one UDP_SEGMENT send carries (Linux UDP_MAX_SEGMENTS before 6.9). */
export const MAX_SEGMENTS: u32 = 64;
/** Most UDP payload bytes in one send. */
export const MAX_SEND: u32 = 65487;
/** UDP sockets a worker sends from: 0 = the listening one, 1 to 7 give source port entropy. */
export const ENTROPY_SOCKETS: u32 = 8;
/** Behind them its raw sockets, one for each kind from SOCKET_IPIP4 on; not all are open. */
export const RAW_SOCKETS: u32 = ENTROPY_SOCKETS;
/**
 * Behind them a twin of each, which lets its packets be fragmented; open only when needed. Over
 * IPv6 there is the first one alone, a raw socket for fragments of our own.
 */
export const FRAGMENT_SOCKETS: u32 = RAW_SOCKETS + 3;
export const SENDING_SOCKETS: u32 = FRAGMENT_SOCKETS * 2;
/**
 * Most segments one super-packet is cut into; more is BAD_OFFLOAD (65,535 bytes at the smallest
 * MSS Linux sends, 48).
 */
export const MAX_CUT: u32 = 1400;
/** Most bytes all segments of one super-packet take with their headers; more is BAD_OFFLOAD. */
export const MAX_CUT_BYTES: u32 = 524288;

// --- control block (fixed address; control thread writes, workers read) --------------------------
export const CONTROL: usize = 65536;
export const CONTROL_SIZE: usize = 65536;
export const LAYOUT_MAGIC: u32 = 1835365224;
export const C_MAGIC: usize = 0;
/** u32: generation of the published tables; odd/even lowest bit = which copy is live. Atomic. */
export const C_GENERATION: usize = 4;
export const C_WORKERS: usize = 8;
/** u32: address of worker 0's block, and bytes from one worker to the next. */
export const C_WORKERS_AT: usize = 12;
export const C_WORKER_STRIDE: usize = 16;
/** u32 each: addresses of table copies 0 and 1, and one copy's size. */
export const C_TABLES_AT: usize = 20;
export const C_TABLES_SIZE: usize = 28;
/** u32: capacities the tables were laid out for. */
export const C_PEER_CAPACITY: usize = 32;
export const C_PREFIX_CAPACITY: usize = 36;
/** u32: address of the session records, one for each peer there may be. */
export const C_SESSIONS_AT: usize = 40;
/** u32: random number of this start; nobody outside knows it. */
export const C_SECRET: usize = 44;
/** 16 bytes: our underlay address where that is IPv6, network order, else zeros. */
export const C_UNDERLAY6: usize = 48;
/** u32: address of the calls' region (shared/calls.ts). */
export const C_CALLS_AT: usize = 64;
/** u32: address of the worker that has all calls, or 0 where none may touch them. Atomic. */
export const C_CALLS_WORKER: usize = 68;
/**
 * RC4's tables and SHA-1's words while a key is changed or a packet encrypted: written by the one
 * worker that owns all calls. At a constant address, because RC4 is a third slower elsewhere.
 */
export const C_KEY_SCRATCH: usize = 32768;
export const KEY_SCRATCH_SIZE: usize = 8192;

// --- worker region: offsets from the worker's base -----------------------------------------------
// block: words the pump, the addon and the control thread share (u32 unless said)
// worker: WORKER_PARKED before it blocks, WORKER_RUNNING after
export const W_STATE: usize = 0;
export const W_GENERATION: usize = 4; //   worker: generation it last read (atomic)
export const W_COMMAND: usize = 8; //      control: COMMAND_* (atomic)
export const W_HEARTBEAT: usize = 12; //   worker: rounds, wraps
export const W_TUN_IN_COUNT: usize = 64; //   pump: descriptors read from TUN
export const W_TUN_IN_NEXT: usize = 68; //    wasm: how many of them are done
export const W_WIRE_IN_COUNT: usize = 72; //  pump: descriptors read from the underlay
export const W_WIRE_IN_NEXT: usize = 76; //   wasm
export const W_TUN_OUT_COUNT: usize = 80; //  wasm: descriptors to write to TUN
export const W_WIRE_OUT_COUNT: usize = 84; // wasm: descriptors to send to the underlay
export const W_FEATURES: usize = 88; //       pump: what the device granted, FEATURE_* bits
export const WORKER_BLOCK_SIZE: usize = 4096;
/** TUN takes UDP super-packets (USO4 and USO6 were granted). */
export const FEATURE_TUN_USO: u32 = 1;

export const WORKER_RUNNING: u32 = 0;
export const WORKER_PARKED: u32 = 1;
export const COMMAND_RUN: u32 = 0;
export const COMMAND_STOP: u32 = 1;
/** Measure the heap, then run on; the worker sets COMMAND_RUN again. */
export const COMMAND_MEASURE: u32 = 2;
/** Say that there was a round, once; the worker sets COMMAND_RUN again. */
export const COMMAND_TELL: u32 = 3;

// counters: u64 each, one writer (the worker's wasm instance)
export const EGRESS: u32 = 0; //  overlay -> underlay
export const INGRESS: u32 = 1; // underlay -> overlay
export const MAX_DROPS: u32 = 64;
/** Per direction: 8 totals, then packets per drop reason, then bytes per drop reason. */
export const N_RECEIVED: usize = 0;
export const N_GENERATED: usize = 8;
export const N_FORWARDED: usize = 16;
export const N_CONSUMED: usize = 24;
export const N_SUPER: usize = 32;
export const N_RECEIVED_BYTES: usize = 40;
export const N_FORWARDED_BYTES: usize = 48;
export const N_SENDS: usize = 56;
export const N_DROP_PACKETS: usize = 64;
export const N_DROP_BYTES: usize = N_DROP_PACKETS + 8 * 64;
export const COUNTERS_PER_DIRECTION: usize = 64 + 8 * 64 * 2;
export const W_COUNTERS: usize = WORKER_BLOCK_SIZE;
export const COUNTERS_SIZE: usize = COUNTERS_PER_DIRECTION * 2;

// per-worker writable state of the hot path: token buckets, caches (wasm alone)
export const W_STATE_REGION: usize = W_COUNTERS + COUNTERS_SIZE;
export const STATE_REGION_SIZE: usize = 65536;
export const W_TABLES: usize = W_STATE_REGION; //              u32: the copy this run works with
// u32: bytes of the TUN arena taken since settle
export const W_TUN_ARENA_USED: usize = W_STATE_REGION + 4;
export const W_WIRE_ARENA_USED: usize = W_STATE_REGION + 8; // u32
export const W_PIECES: usize = W_STATE_REGION + 12; //         u32: packets cut by us; wraps
export const W_NOW: usize = W_STATE_REGION + 16; //            f64: now_us of this run
// u32 per socket: open train's descriptor, or 0
export const W_TRAINS: usize = W_STATE_REGION + 64;
export const W_PROOF: usize = W_STATE_REGION + 1024; //         headers that passed last
export const W_FOLLOW: usize = W_STATE_REGION + 2048; //        where the latest packet may grow to
export const W_PATTERN: usize = W_STATE_REGION + 2112; //       headers of what may follow it
export const W_ICMP_STATE: usize = W_STATE_REGION + 4096; //   token bucket of ICMP errors
export const ICMP_STATE_SIZE: usize = 4096;
export const W_COALESCE_STATE: usize = W_STATE_REGION + 8192; // open super-packets
export const COALESCE_STATE_SIZE: usize = STATE_REGION_SIZE - 8192;

// rings: single writer, single reader; head and tail on lines of their own, then RING_ENTRIES
// entries
export const RING_ENTRIES: u32 = 64;
export const RING_ENTRY_SIZE: usize = 16384;
export const RING_HEAD: usize = 0; //  u32: next entry the writer fills (monotonic, wraps at 2^32)
export const RING_TAIL: usize = 64; // u32: next entry the reader takes
export const RING_DATA: usize = 128;
export const RING_SIZE: usize = RING_DATA + RING_ENTRY_SIZE * 64;
/**
 * Entry: u32 length, u32 kind, u32 peer index, u32 generation, then the packet (inner IP). An
 * injected one may name the peer it goes to, by index + 1 in the tables of that generation; 0: by
 * its destination.
 */
export const ENTRY_LENGTH: usize = 0;
export const ENTRY_KIND: usize = 4;
export const ENTRY_PEER: usize = 8;
export const ENTRY_GENERATION: usize = 12;
export const ENTRY_DATA: usize = 16;
export const W_PUNT_RING: usize = W_STATE_REGION + STATE_REGION_SIZE; // wasm writes, control reads
export const W_INJECT_RING: usize = W_PUNT_RING + RING_SIZE; //          control writes, wasm reads

// descriptors and bytes of the two inputs and the two outputs
export const OUT_DESCRIPTORS: u32 = 8192;
export const ARENA_SIZE: usize = 4194304;
export const W_TUN_IN: usize = W_INJECT_RING + RING_SIZE;
export const W_WIRE_IN: usize = W_TUN_IN + DESCRIPTOR_SIZE * 64;
export const W_TUN_OUT: usize = W_WIRE_IN + DESCRIPTOR_SIZE * 64;
export const W_WIRE_OUT: usize = W_TUN_OUT + DESCRIPTOR_SIZE * 8192;
export const W_TUN_SLOTS: usize = W_WIRE_OUT + DESCRIPTOR_SIZE * 8192;
export const W_WIRE_SLOTS: usize = W_TUN_SLOTS + SLOT_SIZE * 64;
export const W_TUN_ARENA: usize = W_WIRE_SLOTS + SLOT_SIZE * 64;
export const W_WIRE_ARENA: usize = W_TUN_ARENA + ARENA_SIZE;
// u32 per peer index (a u16): what TUN gave for it, super-packets as one; wraps
export const W_PEER_PACKETS: usize = W_WIRE_ARENA + ARENA_SIZE;
export const PEER_PACKETS_SIZE: usize = 4 * 65536;
// Of each peer, too: u32 how often something came for the host, once for what comes in a row; u32
// probes' requests; of those that say it, how long the asker has not heard us: count * 256 + what
// the last one said. All wrap.
export const W_PEER_HEARD: usize = W_PEER_PACKETS + PEER_PACKETS_SIZE;
export const W_PEER_ASKED: usize = W_PEER_HEARD + PEER_PACKETS_SIZE;
export const W_PEER_SAID: usize = W_PEER_ASKED + PEER_PACKETS_SIZE;
// The last datagram of the underlay that ended for each reason (by its number): what it was, and
// its first bytes behind UDP's or the outer IP header. VERSION is odd while it is written.
export const R_VERSION: usize = 0; //  u32
export const R_SOCKET: usize = 4; //   u16: SOCKET_*
export const R_FAMILY: usize = 6; //   u8: outer, 4 or 6
export const R_LENGTH: usize = 8; //   u32: bytes of the datagram
export const R_TIME: usize = 16; //    f64: now_us of the run
export const R_ADDRESS: usize = 32; // 16 bytes, as D_PEER: outer source
export const R_BYTES: usize = 48;
export const R_BYTES_MAX: usize = 128;
export const DROP_RECORD_SIZE: usize = 176;
export const W_DROP_RECORDS: usize = W_PEER_SAID + PEER_PACKETS_SIZE;
export const DROP_RECORDS_SIZE: usize = DROP_RECORD_SIZE * 64;
export const WORKER_SIZE: usize = W_DROP_RECORDS + DROP_RECORDS_SIZE;

// punt and inject kinds
/** An inner IP packet addressed to the node itself on the probe port (or an echo reply to us). */
export const PUNT_PROBE: u32 = 1;
/** An inner IP packet made by the control thread, to be looked up and encapsulated as any other. */
export const INJECT_PACKET: u32 = 1;
/**
 * PPTP calls, by slot + CALLS_SALT * salt (a call's id) in ENTRY_PEER. Punted: a PPP frame from its
 * two-byte protocol number on; that keys lost their place (MPPE, stateful). Injected: such a frame
 * to send, and the commands, in order with frames (their fields: shared/calls.ts, OPEN_*, SET_*).
 */
export const PUNT_PPP: u32 = 2;
export const PUNT_CALL_EVENT: u32 = 3;
/** Of a call, too: nothing that came encrypted has made sense for some time (MPPE, stateless). */
export const PUNT_CALL_LOST: u32 = 4;
export const INJECT_CALL_FRAME: u32 = 2;
export const INJECT_CALL_OPEN: u32 = 3;
export const INJECT_CALL_SET: u32 = 4;
export const INJECT_CALL_CLOSE: u32 = 5;
/** UDP port reserved on overlay node addresses for data-path probes. */
export const PROBE_PORT: u32 = 51997;
/**
 * Identifier of ICMP and ICMPv6 echo requests that the control thread injects towards peers that
 * are no meshd.
 */
export const PROBE_ICMP_ID: u32 = 51997;
/**
 * A probe's UDP payload, from node address to node address, both ports PROBE_PORT, big endian:
 * u32 magic, u8 kind, u8 HEARD, u16 MTU, u32 sequence, 8 bytes that the asker alone understands,
 * then padding of any length. The hot path of the asked node turns a request into the reply:
 * without the padding, so that its size says something of the request's way alone, and with the MTU
 * of its own way back (0 in a request, and of nodes that do not say it). It punts replies.
 * HEARD, in a request: how long the asker has not heard the asked, in whole seconds, and 1, up to
 * PROBE_HEARD_MAX for that and longer; or PROBE_HEARD_NEVER; 0: it does not say (older nodes).
 */
export const PROBE_MAGIC: u32 = 1836085858;
export const PROBE_MAGIC_AT: usize = 0;
export const PROBE_KIND_AT: usize = 4;
export const PROBE_HEARD_AT: usize = 5;
export const PROBE_MTU_AT: usize = 6;
export const PROBE_SEQUENCE_AT: usize = 8;
export const PROBE_OPAQUE_AT: usize = 12;
export const PROBE_SIZE: usize = 20;
export const PROBE_REQUEST: u32 = 0;
export const PROBE_REPLY: u32 = 1;
export const PROBE_HEARD_MAX: u32 = 254;
export const PROBE_HEARD_NEVER: u32 = 255;

/** Fixed part's end; module.ts compares the compiled value with its own at load. */
export const LAYOUT_VERSION: u32 = 16;
