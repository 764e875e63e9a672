// Shared with TypeScript: keep portable (literals, earlier names, + and * only; no import).
// PPTP calls (RFC 2637 section 4): a region of its own behind the session records. One worker has
// all calls and writes their records; the control thread gives it commands by the inject ring,
// hands out ids, and puts keys where the worker takes them. Memory of slots never used stays
// untouched. Records outlive tables and worker threads.

/** Calls there may be; a call's slot is its id modulo that. */
export const CALLS_MAX: u32 = 1024;
/** A call's id = slot + salt * CALLS_SALT, salt from 1 on: no id is 0, none is used again soon. */
export const CALLS_SALT: u32 = 1024;
export const CALL_SALTS: u32 = 63;

// --- the region: offsets from its address --------------------------------------------------------
export const CALLS_ACTIVE: usize = 0; // worker, u32: slot + 1 of the first call with something due
export const CALLS_HELD: usize = 4; //   worker, u32: packets held until those before them came
export const CALLS_FREE: usize = 8; //   worker, u32: number + 1 of the buffer given back last
export const CALLS_FRESH: usize = 12; // worker, u32: buffers that were ever in use
export const CALLS_OPENED: usize = 16; // worker, u32: one more than the highest slot ever opened
export const CALLS_IDS: usize = 64; //   control, u16 each: id of the slot's call, 0 = none
export const CALLS_RECORDS: usize = 4096;
export const CALL_SIZE: usize = 512;
export const CALLS_KEYS: usize = CALLS_RECORDS + CALL_SIZE * 1024;
// The key region: nothing else in the memory has a key in it.
export const CALL_KEYS_SIZE: usize = 1024;
export const CALLS_BUFFERS: usize = CALLS_KEYS + CALL_KEYS_SIZE * 1024;
export const BUFFERS_MAX: u32 = 256;
export const BUFFER_SIZE: usize = 2176;
export const CALLS_SIZE: usize = CALLS_BUFFERS + BUFFER_SIZE * 256;

// --- keys of one call ----------------------------------------------------------------------------
// Staged: the control thread writes them, the worker takes them and leaves zeros. 24 bytes each:
// start key 16 bytes, u32 bits (40, 56, 128; 0 = nothing is there), u32 stateful.
export const KEYS_RECEIVE_STAGED: usize = 0;
export const KEYS_SEND_STAGED: usize = 32;
export const STAGED_BITS: usize = 16;
export const STAGED_STATEFUL: usize = 20;
export const STAGED_SIZE: usize = 24;
// The two directions (worker): assembly/mppe has their layout.
export const KEYS_RECEIVE: usize = 64;
export const KEYS_SEND: usize = 512;
export const KEYS_STATE_MAX: usize = 448;

// --- one call's record (worker, unless said; the control thread reads it) ------------------------
export const CALL_STATE: usize = 0; //    u32: CALL_OPEN, or 0. Atomic
export const CALL_ID: usize = 4; //       u16: ours, in headers we receive
export const CALL_PEER_ID: usize = 6; //  u16: the other end's, in headers we send
export const CALL_FAMILY: usize = 8; //   u8: of the other end's underlay address, 4 or 6
export const CALL_FLAGS: usize = 9; //    u8: CALL_*
export const CALL_MODE: usize = 10; //    u8: WINDOW_*
// u8: 1 while keys move on: a thread that died then leaves them at no known place
export const CALL_BUSY: usize = 11;
export const CALL_ADDRESS: usize = 16; // 16 bytes, as D_PEER
export const CALL_NEXT: usize = 32; //    u32: slot + 1 of the next one with something due
export const CALL_IS_ACTIVE: usize = 36; // u32: 1 = it is in that list
// what we send
export const CALL_SENT: usize = 40; //    u32: number of the next packet
export const CALL_ACKED: usize = 44; //   u32: one more than the highest number acknowledged
export const CALL_WINDOW: usize = 48; //  u32: packets that the other end takes, as it said
export const CALL_LIMIT: usize = 52; //   u32: packets that may be on their way (WINDOW_STRICT)
export const CALL_GROWN: usize = 56; //   u32: acknowledged since the limit changed
export const CALL_TIMED: usize = 60; //   u32: 1 = TIMED_NUMBER's acknowledgment is waited for
export const CALL_TIMED_NUMBER: usize = 64; // u32
export const CALL_FLIGHT: usize = 68; //  u32: number from which on packets count as on their way
export const CALL_TIMED_AT: usize = 72; //  f64: when it was sent
export const CALL_RTT: usize = 80; //       f64: microseconds, smoothed, 0 = none yet
export const CALL_DEVIATION: usize = 88; // f64
export const CALL_TIMEOUT: usize = 96; //   f64: adaptive time-out
export const CALL_PROGRESS: usize = 104; // f64: when the flight began, or was acknowledged last
// what we receive
export const CALL_STARTED: usize = 112; //  u32: 1 = a number was taken
export const CALL_EXPECTED: usize = 116; // u32: number of the next packet in order
export const CALL_HIGHEST: usize = 120; //  u32: highest number that came
export const CALL_UNACKED: usize = 124; //  u32: packets since we acknowledged
export const CALL_ACK_AT: usize = 128; //   f64: when we do so at the latest; 0 = nothing to say
export const CALL_SEEN: usize = 136; //     u64: bit n = EXPECTED - 1 - n was taken
export const CALL_HELD: usize = 144; //     u32: packets held
export const CALL_LATE_RUN: usize = 148; // u32: far numbers that rise, since the last one taken
export const CALL_LATE_NEXT: usize = 152; // u32: one more than the last of them
// u32: up to this number nothing encrypted is missing, as far as the numbers tell
export const CALL_HIDDEN: usize = 156;
export const CALL_RESET_TOLD: usize = 160; // f64: when the control thread heard that keys are lost
export const CALL_FRAMES: usize = 168; //   16 bytes: token bucket of punted frames
// u32: encrypted frames that made no sense, since the last that did
export const CALL_NONSENSE: usize = 184;
// u16 each, by number modulo CALL_HELD_MAX: number + 1 of the buffer that holds it
export const CALL_BUFFERS: usize = 192;
export const CALL_HELD_MAX: u32 = 32;
// counters, u64 each, since the call was opened
export const CALL_SENT_PACKETS: usize = 256;
export const CALL_SENT_BYTES: usize = 264;
export const CALL_RECEIVED_PACKETS: usize = 272;
export const CALL_RECEIVED_BYTES: usize = 280;
export const CALL_LOST: usize = 288;
export const CALL_LATE: usize = 296;
export const CALL_DUPLICATES: usize = 304;
export const CALL_REORDERED: usize = 312;
export const CALL_WINDOW_DROPS: usize = 320;
export const CALL_TIMEOUTS: usize = 328;
export const CALL_ACKS_SENT: usize = 336;
export const CALL_ACKS_RECEIVED: usize = 344;
export const CALL_BAD_FRAMES: usize = 352;

export const CALL_OPEN: u32 = 1;
/** Flags: phase "network"; what we may leave out when sending; encryption is a must; keys. */
export const CALL_NETWORK: u32 = 1;
export const CALL_REQUIRES_MPPE: u32 = 2;
export const CALL_DECRYPTS: u32 = 4;
export const CALL_ENCRYPTS: u32 = 8;
/** Send windows: what the other end advertised, RFC 2637 section 4.3 to the letter, none. */
export const WINDOW_ADVERTISED: u32 = 0;
export const WINDOW_STRICT: u32 = 1;
export const WINDOW_OFF: u32 = 2;

// --- one buffer: a packet that came before its turn (worker) -------------------------------------
export const HELD_NEXT: usize = 0; //    u32: next free buffer, number + 1
export const HELD_LENGTH: usize = 4; //  u32: bytes of the PPP frame
export const HELD_TOS: usize = 8; //     u8: of the outer header
export const HELD_NUMBER: usize = 12; // u32
export const HELD_UNTIL: usize = 16; //  f64: longest
export const HELD_DATA: usize = 64;
export const HELD_BYTES_MAX: u32 = 2048;

// --- commands: offsets in an inject entry's data -------------------------------------------------
export const OPEN_PEER_ID: usize = 0; //  u16
export const OPEN_MODE: usize = 2; //     u8: WINDOW_*
export const OPEN_FAMILY: usize = 3; //   u8
export const OPEN_WINDOW: usize = 4; //   u32
export const OPEN_ADDRESS: usize = 8; //  16 bytes, as D_PEER
export const OPEN_SIZE: usize = 24;
// u8 each: SET_NONE, or what becomes of the flag or key
export const SET_NETWORK: usize = 0;
export const SET_REQUIRES_MPPE: usize = 1;
export const SET_RECEIVE: usize = 2; //   SET_ON: the staged keys
export const SET_SEND: usize = 3;
export const SET_RESET_SEND: usize = 4;
export const SET_SIZE: usize = 8;
export const SET_NONE: u32 = 0;
export const SET_OFF: u32 = 1;
export const SET_ON: u32 = 2;
