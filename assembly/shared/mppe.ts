// Shared with TypeScript: keep portable (literals, earlier names, + and * only; no import).
// MPPE (RFC 3078) of one direction of a call: its state, what is staged for it, what it answers.
// MPPE and RC4 are broken by today's standards: for legacy peers only.

// --- state: written and read by the worker that owns the call, keys never leave it ---------------
export const MPPE_STATE_SIZE: usize = 384;
/** 16 bytes: start key; 40 and 56 bit use the first 8. */
export const M_START: usize = 0;
/** 16 bytes: session key now in use. */
export const M_SESSION: usize = 16;
/** u32: bytes of a key, 8 or 16. */
export const M_LENGTH: usize = 32;
/** u32: 40, 56 or 128. */
export const M_BITS: usize = 36;
/** u32: whether the key stream goes on from packet to packet. */
export const M_STATEFUL: usize = 40;
/** u32: coherency count of the last packet, 12 bits. */
export const M_COUNT: usize = 44;
/** u32: MPPE_FRESH, MPPE_FLUSH, MPPE_DISCARD. */
export const M_FLAGS: usize = 48;
/** u32: packets known to be missing since the last one that was taken. */
export const M_SKIPPED: usize = 52;
/** u32 each: where the key stream stands (stateful). */
export const M_RC4_I: usize = 56;
export const M_RC4_J: usize = 60;
/** 256 bytes: RC4's table (stateful). */
export const M_RC4: usize = 64;
/** No packet was taken yet. */
export const MPPE_FRESH: u32 = 1;
/** A Reset-Request came: the next packet sent begins a new key stream. */
export const MPPE_FLUSH: u32 = 2;
/** The place was lost: only a packet that begins a new key stream is taken. */
export const MPPE_DISCARD: u32 = 4;

// --- staged: written by the control thread, taken and zeroed by install --------------------------
export const MPPE_STAGED_SIZE: usize = 24;
/** 16 bytes: start key. */
export const MPPE_STAGED_KEY: usize = 0;
/** u32: 40, 56 or 128. */
export const MPPE_STAGED_BITS: usize = 16;
/** u32: 1 = stateful. */
export const MPPE_STAGED_STATEFUL: usize = 20;

/** What decrypt answers when the key stream's place was lost: drop, and ask for a reset. */
export const MPPE_NEEDS_RESET: u32 = 1;
/** Most key changes for one packet; what is further ahead is dropped and catches up by pieces. */
export const MPPE_CHANGES_MAX: u32 = 256;

// --- the word before the encrypted bytes (RFC 3078 section 3) ------------------------------------
export const MPPE_COUNT_SIZE: u32 = 2;
export const MPPE_FLUSHED: u32 = 32768;
export const MPPE_ENCRYPTED: u32 = 4096;
export const MPPE_COUNT_MASK: u32 = 4095;
