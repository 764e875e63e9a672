// The hot path's door: everything the module exports. It knows no host, no clock and no file, and
// owns no memory: all addresses come from shared/layout.ts.
import { partial } from "./checksum";
import { STATE_NEEDED as COALESCE_STATE_NEEDED, flush, forget } from "./coalesce";
import * as egress from "./egress";
import * as fib from "./fib";
import { STATE_NEEDED as FOLLOW_STATE_NEEDED } from "./follow";
import * as ingress from "./ingress";
import { KEY_SCRATCH_NEEDED } from "./mppe/index";
import { STATE_NEEDED as PATTERN_STATE_NEEDED } from "./pattern";
import * as commands from "./pptp/commands";
import * as due from "./pptp/due";
import { STATE_NEEDED as PROOF_STATE_NEEDED } from "./proof";
import { closeTrains } from "./send";
import { settle as settleOutputs } from "./settle";
import {
  BUFFER_SIZE,
  CALL_BAD_FRAMES,
  CALL_BUFFERS,
  CALL_HELD_MAX,
  CALL_KEYS_SIZE,
  CALL_SENT_PACKETS,
  CALL_SIZE,
  CALLS_IDS,
  CALLS_MAX,
  CALLS_RECORDS,
  HELD_BYTES_MAX,
  HELD_DATA,
  KEYS_RECEIVE,
  KEYS_SEND,
  KEYS_STATE_MAX,
} from "./shared/calls";
import { Drop } from "./shared/drop";
import {
  C_KEY_SCRATCH,
  COALESCE_STATE_SIZE,
  CONTROL,
  CONTROL_SIZE,
  DROP_RECORD_SIZE,
  DROP_RECORDS_SIZE,
  ENTROPY_SOCKETS,
  ETHERNET_OVERHEAD,
  GENEVE_OVERHEAD,
  GRE_OVERHEAD,
  GRE_WORD,
  HEADROOM,
  ICMP_STATE_SIZE,
  KEY_SCRATCH_SIZE,
  LAYOUT_VERSION,
  MAX_CUT,
  MAX_CUT_BYTES,
  MAX_DROPS,
  MAX_SEND,
  OUT_DESCRIPTORS,
  PPP_OVERHEAD,
  PPTP_OVERHEAD,
  R_BYTES,
  R_BYTES_MAX,
  RING_ENTRIES,
  RING_ENTRY_SIZE,
  SLOT_SIZE,
  VNET_HEADER_SIZE,
  VXLAN_OVERHEAD,
  W_COALESCE_STATE,
  W_FOLLOW,
  W_ICMP_STATE,
  W_NOW,
  W_PATTERN,
  W_PROOF,
  W_TRAINS,
} from "./shared/layout";
import { MPPE_STATE_SIZE } from "./shared/mppe";
import {
  CALL_ENTRIES_SIZE,
  FIB4_CHUNK_MIN,
  P_KEY_ALSO,
  P_TEMPLATE,
  P_TEMPLATE_SIZE,
  TEMPLATE6_BEHIND,
} from "./shared/tables";
import * as tables from "./tables";
import { bind, worker } from "./worker";

// Relations between constants, checked by the compiler; nothing of them is in the module.
if (<u32>Drop.COUNT > MAX_DROPS) ERROR("more drop reasons than counters");
if (<usize>VXLAN_OVERHEAD > HEADROOM) ERROR("an encapsulation does not fit the headroom");
if (<usize>GENEVE_OVERHEAD > HEADROOM) ERROR("an encapsulation does not fit the headroom");
if (MAX_CUT > OUT_DESCRIPTORS) ERROR("segments of a raw socket's send do not fit the output");
if (<usize>GRE_OVERHEAD + 3 * GRE_WORD + ETHERNET_OVERHEAD > P_TEMPLATE_SIZE) {
  ERROR("a template does not fit the peer's entry");
}
if (P_TEMPLATE_SIZE > TEMPLATE6_BEHIND) ERROR("two templates of a peer overlap");
if (P_TEMPLATE + TEMPLATE6_BEHIND + P_TEMPLATE_SIZE > P_KEY_ALSO) {
  ERROR("a template overlaps the peer's keys");
}
if (CONTROL + CONTROL_SIZE < <usize>FIB4_CHUNK_MIN) ERROR("a chunk looks like a next hop");
if (HEADROOM + VNET_HEADER_SIZE + MAX_SEND > SLOT_SIZE) ERROR("a train does not fit a slot");
if (RING_ENTRY_SIZE + HEADROOM > MAX_CUT_BYTES) ERROR("an injected packet does not fit its room");
if (<usize>MAX_DROPS * DROP_RECORD_SIZE > DROP_RECORDS_SIZE)
  ERROR("more drop reasons than records");
if (R_BYTES + R_BYTES_MAX > DROP_RECORD_SIZE) ERROR("a dropped datagram's bytes overlap the next");
if (W_TRAINS + 4 * <usize>ENTROPY_SOCKETS > W_PROOF) ERROR("trains overlap proof");
if (W_PROOF + PROOF_STATE_NEEDED > W_FOLLOW) ERROR("proof overlaps follow");
if (W_FOLLOW + FOLLOW_STATE_NEEDED > W_PATTERN) ERROR("follow overlaps pattern");
if (W_PATTERN + PATTERN_STATE_NEEDED > W_ICMP_STATE) ERROR("pattern overlaps ICMP state");
if (W_ICMP_STATE + ICMP_STATE_SIZE > W_COALESCE_STATE) ERROR("ICMP state overlaps coalescing");
if (COALESCE_STATE_NEEDED > COALESCE_STATE_SIZE) ERROR("chains do not fit their state");
if (KEY_SCRATCH_NEEDED > KEY_SCRATCH_SIZE) ERROR("keys do not fit their scratch");
if (C_KEY_SCRATCH + KEY_SCRATCH_SIZE > CONTROL_SIZE) ERROR("the key scratch leaves its block");
if (MPPE_STATE_SIZE > KEYS_STATE_MAX) ERROR("keys do not fit their place");
if (KEYS_RECEIVE + KEYS_STATE_MAX > KEYS_SEND) ERROR("keys of both directions overlap");
if (KEYS_SEND + KEYS_STATE_MAX > CALL_KEYS_SIZE) ERROR("keys overlap those of the next call");
if (HELD_DATA + HELD_BYTES_MAX > BUFFER_SIZE) ERROR("a packet does not fit its buffer");
if (CALL_BUFFERS + 2 * CALL_HELD_MAX > CALL_SENT_PACKETS) ERROR("buffers overlap counters");
if (CALL_BAD_FRAMES + 8 > CALL_SIZE) ERROR("counters overlap the next call's record");
if (CALLS_IDS + 2 * CALLS_MAX > CALLS_RECORDS) ERROR("ids overlap records");
if (<usize>CALLS_MAX * 4 > CALL_ENTRIES_SIZE) ERROR("entries of calls do not fit");
if (PPTP_OVERHEAD + PPP_OVERHEAD > <u32>P_TEMPLATE_SIZE) ERROR("PPTP's template does not fit");
if ((RING_ENTRIES & (RING_ENTRIES - 1)) !== 0) ERROR("ring entries are no power of two");

/** Binds this instance to the worker whose region starts at `workerBase`. Once, before all else. */
export function init(workerBase: u32): void {
  bind(workerBase);
  closeTrains();
  forget(workerBase);
  commands.recover();
}

/**
 * Works on the TUN input, the underlay input and the injected packets; appends to both outputs. May
 * stop with inputs left when an output is nearly full. Returns the time in microseconds at which it
 * wants to run again without input, or +Infinity.
 */
export function run(now_us: f64): f64 {
  store<f64>(worker, now_us, W_NOW);
  tables.refresh();
  egress.run(now_us);
  egress.runInjected();
  ingress.run();
  const deadline_us = due.tick(now_us);
  flush(worker);
  return deadline_us;
}

/** After both outputs were written: counts what left and what failed, and empties them. */
export function settle(): void {
  settleOutputs();
}

/** Number of the memory layout this module was built for. */
export function layoutVersion(): u32 {
  return LAYOUT_VERSION;
}

/** Ones' complement sum, for tests and benchmarks. */
export function checksum(at: u32, length: u32, initial: u32): u32 {
  return partial(at, length, initial);
}

/** Next hop of the IPv4 address at `at`, in the published tables. */
export function fibLookup4(at: u32): u32 {
  tables.refresh();
  return fib.lookup4(fib.root4(), at);
}

/** Next hop of the IPv6 address at `at`, in the published tables. */
export function fibLookup6(at: u32): u32 {
  tables.refresh();
  return fib.lookup6(at);
}
