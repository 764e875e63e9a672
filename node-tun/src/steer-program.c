// Writes the two eBPF programs that steer.c loads, instruction by instruction: no compiler for them
// is needed where this runs. What they do and why: docs/adr/0013-steering.md of meshd.
#include "steer.h"

#include <linux/if_ether.h>

#include "common.h"

// A flow is busy for a while after both directions had more than this in a window.
enum { WINDOW_NS = 1000000, BUSY_PACKETS = 48, BUSY_BYTES = 65536, BUSY_NS = 1000000000 };
// A flow not seen for 55 * 2^30 ns is new, and new ones are busy until they had time to show it.
enum { NEW_SHIFT = 30, NEW_AFTER = 55, NEW_BUSY_NS = 100000000 };
// What the old worker sent may still wait in a CPU's backlog: a flow moves in a pause.
enum { PAUSE_NS = 200000 };
// A worker that said nothing for so long after the flow's last packet is taken to be through.
enum { SILENCE_NS = 20000000, STAMP_SHIFT = 10 };

enum { DEVICE_PACKET_AT = 0 };
// A Geneve header without options, the bits of its first byte that count those, and the protocol of
// Ethernet frames.
enum { GENEVE = 8, GENEVE_WORDS = 0x3f, GENEVE_FRAME = 0x6558 };
// Bytes to the end of the ports, and where they and the addresses are.
enum { HEAD4 = 24, HEAD6 = 44, PORTS4 = 20, PORTS6 = 40, FROM4 = 12, FROM6 = 8, ADDRESSES6 = 32 };

// The instruction set is in the kernel's Documentation/bpf/standardization.
static uint32_t put(struct program *p, uint8_t code, uint8_t to, uint8_t from, int16_t off,
                    int32_t value) {
  p->steps[p->length] = (struct bpf_insn){
      .code = code, .dst_reg = to & 15, .src_reg = from & 15, .off = off, .imm = value};
  return p->length++;
}

static void set(struct program *p, uint8_t to, int32_t value) {
  put(p, BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
}

static void copy(struct program *p, uint8_t to, uint8_t from) {
  put(p, BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}

static void call_helper(struct program *p, int32_t helper) {
  put(p, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

static void load(struct program *p, uint8_t size, uint8_t to, uint8_t from, int off) {
  put(p, BPF_LDX | BPF_MEM | size, to, from, (int16_t)off, 0);
}

static void store(struct program *p, uint8_t size, uint8_t to, int off, uint8_t from) {
  put(p, BPF_STX | BPF_MEM | size, to, from, (int16_t)off, 0);
}

// A conditional jump to where land() will say.
static uint32_t jump(struct program *p, uint8_t comparison, uint8_t left, int32_t right) {
  return put(p, BPF_JMP | comparison | BPF_K, left, 0, 0, right);
}

static uint32_t jump_by(struct program *p, uint8_t class, uint8_t comparison, uint8_t left,
                        uint8_t right) {
  return put(p, class | comparison | BPF_X, left, right, 0, 0);
}

static void land(struct program *p, uint32_t from) {
  p->steps[from].off = (int16_t)(p->length - from - 1);
}

enum { R0, R1, R2, R3, R4, R5, CONTEXT, HASH, FLOW, NOW, FRAME };
enum { AT = FLOW };  // where the inner packet begins, until its flow is known
// Places on the stack, from its end.
enum { KEY = -4, TARGET = -8, HEAD = -64 };
#define SIDE(p, field) ((p)->side + (int)offsetof(struct side, field))
#define FIELD(field) ((int)offsetof(struct flow, field))
#define SKB(field) ((int)offsetof(struct __sk_buff, field))

// r0 = the map's value at stack[KEY]. Gives the jump for "there is none".
static uint32_t look_up(struct program *p, int map) {
  put(p, BPF_LD | BPF_DW | BPF_IMM, R1, BPF_PSEUDO_MAP_FD, 0, map);
  put(p, 0, 0, 0, 0, 0);
  copy(p, R2, FRAME);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R2, 0, 0, KEY);
  call_helper(p, BPF_FUNC_map_lookup_elem);
  return jump(p, BPF_JEQ, R0, 0);
}

// stack[HEAD] = `length` bytes from AT on. Gives the jump for "it has not so many".
static uint32_t load_head(struct program *p, int length) {
  copy(p, R1, CONTEXT);
  copy(p, R2, AT);
  copy(p, R3, FRAME);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R3, 0, 0, HEAD);
  set(p, R4, length);
  call_helper(p, BPF_FUNC_skb_load_bytes);
  return jump(p, BPF_JNE, R0, 0);
}

static void add_word(struct program *p, uint8_t size, uint8_t to, int at) {
  load(p, size, R1, FRAME, HEAD + at);
  put(p, BPF_ALU | BPF_ADD | BPF_X, to, R1, 0, 0);
}

// AT = the end of a Geneve header (RFC 8926 section 3.4): of its options, whose length is in words
// of four bytes, and of the Ethernet header that follows unless the protocol is another.
static void skip_geneve(struct program *p) {
  set(p, AT, 0);
  uint32_t none = load_head(p, GENEVE);
  load(p, BPF_B, AT, FRAME, HEAD);
  put(p, BPF_ALU64 | BPF_AND | BPF_K, AT, 0, 0, GENEVE_WORDS);
  put(p, BPF_ALU64 | BPF_LSH | BPF_K, AT, 0, 0, 2);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, AT, 0, 0, GENEVE);
  load(p, BPF_H, R1, FRAME, HEAD + 2);
  uint32_t bare = jump(p, BPF_JNE, R1, htons(GENEVE_FRAME));
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, AT, 0, 0, ETH_HLEN);
  land(p, bare);
  land(p, none);
}

// r2 = protocol, r3 = sum of the ports, of an IPv4 packet; HASH = sum of its addresses. Fragments
// and packets with options have protocol 0.
static void sum_packet4(struct program *p) {
  add_word(p, BPF_W, HASH, FROM4);
  add_word(p, BPF_W, HASH, FROM4 + 4);
  set(p, R2, 0);
  set(p, R3, 0);
  load(p, BPF_B, R1, FRAME, HEAD);
  uint32_t options = jump(p, BPF_JNE, R1, 0x45);
  load(p, BPF_H, R1, FRAME, HEAD + 6);
  put(p, BPF_ALU | BPF_AND | BPF_K, R1, 0, 0, htons(0x3fff));
  uint32_t fragment = jump(p, BPF_JNE, R1, 0);
  load(p, BPF_B, R2, FRAME, HEAD + 9);
  add_word(p, BPF_H, R3, PORTS4);
  add_word(p, BPF_H, R3, PORTS4 + 2);
  land(p, options);
  land(p, fragment);
}

static void sum_packet6(struct program *p) {
  for (int at = 0; at < ADDRESSES6; at += 4) add_word(p, BPF_W, HASH, FROM6 + at);
  load(p, BPF_B, R2, FRAME, HEAD + 6);
  set(p, R3, 0);
  add_word(p, BPF_H, R3, PORTS6);
  add_word(p, BPF_H, R3, PORTS6 + 2);
}

// HASH = one number for both directions of the inner flow: sums do not know from and to. 0 for
// what is no IP packet.
static void hash_packet(struct program *p) {
  static const int with_ports[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
  uint32_t has[3];
  set(p, HASH, 0);
  uint32_t no4 = load_head(p, HEAD4);
  load(p, BPF_B, R1, FRAME, HEAD);
  put(p, BPF_ALU | BPF_RSH | BPF_K, R1, 0, 0, 4);
  uint32_t is6 = jump(p, BPF_JEQ, R1, 6), other = jump(p, BPF_JNE, R1, 4);
  sum_packet4(p);
  uint32_t done4 = put(p, BPF_JMP | BPF_JA, 0, 0, 0, 0);
  land(p, is6);
  uint32_t no6 = load_head(p, HEAD6);
  sum_packet6(p);
  land(p, done4);
  for (int i = 0; i < 3; i++) has[i] = jump(p, BPF_JEQ, R2, with_ports[i]);
  set(p, R3, 0);
  for (int i = 0; i < 3; i++) land(p, has[i]);
  put(p, BPF_ALU | BPF_MUL | BPF_K, R3, 0, 0, (int32_t)2246822519U);
  put(p, BPF_ALU | BPF_ADD | BPF_X, HASH, R3, 0, 0);
  land(p, no4);
  land(p, other);
  land(p, no6);
  put(p, BPF_ALU | BPF_MUL | BPF_K, HASH, 0, 0, (int32_t)2654435761U);
}

// FLOW = the slot of HASH, NOW = the time.
static uint32_t find_flow(struct program *p, int map) {
  copy(p, R1, HASH);
  put(p, BPF_ALU | BPF_RSH | BPF_K, R1, 0, 0, 32 - FLOW_BITS);
  store(p, BPF_W, FRAME, KEY, R1);
  uint32_t none = look_up(p, map);
  copy(p, FLOW, R0);
  call_helper(p, BPF_FUNC_ktime_get_ns);
  copy(p, NOW, R0);
  return none;
}

// r3 = packets, r4 = bytes of this window, this packet among them
static void count_packet(struct program *p) {
  load(p, BPF_W, R3, FLOW, FIELD(packets));
  load(p, BPF_W, R4, FLOW, FIELD(bytes));
  load(p, BPF_DW, R5, FLOW, FIELD(window));
  copy(p, R1, NOW);
  put(p, BPF_ALU64 | BPF_SUB | BPF_X, R1, R5, 0, 0);
  uint32_t same = jump(p, BPF_JLE, R1, WINDOW_NS);
  store(p, BPF_DW, FLOW, FIELD(window), NOW);
  set(p, R3, 0);
  set(p, R4, 0);
  land(p, same);
  load(p, BPF_W, R1, CONTEXT, SKB(len));
  put(p, BPF_ALU64 | BPF_ADD | BPF_X, R4, R1, 0, 0);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R3, 0, 0, 1);
  store(p, BPF_W, FLOW, FIELD(packets), R3);
  store(p, BPF_W, FLOW, FIELD(bytes), R4);
}

// r0 = queue of this CPU; a CPU that is not in the list has its number modulo theirs.
static void choose_own(struct program *p, const struct order *order) {
  call_helper(p, BPF_FUNC_get_smp_processor_id);
  copy(p, R1, R0);
  put(p, BPF_ALU64 | BPF_MOD | BPF_K, R0, 0, 0, (int32_t)order->count);
  for (uint32_t i = 0; i < order->count; i++) {
    if (order->cpus[i] % order->count == i) continue;
    uint32_t other = jump(p, BPF_JNE, R1, (int32_t)order->cpus[i]);
    set(p, R0, (int32_t)i);
    land(p, other);
  }
}

// r0 = the queue of busy flows for HASH, by the upper half of the product: the lower bits of ports
// that a system gives out one after another are the same.
static void choose_busy(struct program *p, const struct order *order) {
  copy(p, R0, HASH);
  put(p, BPF_ALU | BPF_RSH | BPF_K, R0, 0, 0, 16);
  put(p, BPF_ALU | BPF_MOD | BPF_K, R0, 0, 0, (int32_t)order->busy);
  put(p, BPF_ALU | BPF_ADD | BPF_K, R0, 0, 0, (int32_t)order->count);
}

// Sets busy_until of a new flow.
static void note_new(struct program *p) {
  load(p, BPF_DW, R2, FLOW, SIDE(p, last));
  copy(p, R1, NOW);
  put(p, BPF_ALU64 | BPF_SUB | BPF_X, R1, R2, 0, 0);
  put(p, BPF_ALU64 | BPF_RSH | BPF_K, R1, 0, 0, NEW_SHIFT);
  uint32_t known = jump(p, BPF_JLE, R1, NEW_AFTER);
  copy(p, R1, NOW);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R1, 0, 0, NEW_BUSY_NS);
  store(p, BPF_DW, FLOW, FIELD(busy_until), R1);
  land(p, known);
}

// stack[TARGET] = the queue where the flow should be
static void choose_target(struct program *p, const struct order *order) {
  uint32_t many = jump(p, BPF_JGT, R3, BUSY_PACKETS), large = jump(p, BPF_JGT, R4, BUSY_BYTES);
  load(p, BPF_DW, R1, FLOW, FIELD(busy_until));
  uint32_t still = jump_by(p, BPF_JMP, BPF_JGT, R1, NOW);
  choose_own(p, order);
  uint32_t done = put(p, BPF_JMP | BPF_JA, 0, 0, 0, 0);
  land(p, many);
  land(p, large);
  copy(p, R1, NOW);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R1, 0, 0, BUSY_NS);
  store(p, BPF_DW, FLOW, FIELD(busy_until), R1);
  land(p, still);
  choose_busy(p, order);
  land(p, done);
  store(p, BPF_W, FRAME, TARGET, R0);
}

// r0 = the queue. A flow that is where it should be stays without a look at the stamps, which its
// worker writes in every round. Else it goes over when its present queue's stamp is later than its
// last packet, or that packet was long ago. Gives the jump for "no such stamp".
static uint32_t change_queue(struct program *p, int stamps) {
  enum { LAST = CONTEXT };  // the packet is not needed any more
  load(p, BPF_W, R0, FRAME, TARGET);
  load(p, BPF_W, R1, FLOW, SIDE(p, queue));
  load(p, BPF_DW, LAST, FLOW, SIDE(p, last));
  store(p, BPF_DW, FLOW, SIDE(p, last), NOW);
  uint32_t there = jump_by(p, BPF_JMP, BPF_JEQ, R0, R1);
  store(p, BPF_W, FRAME, KEY, R1);
  uint32_t none = look_up(p, stamps);
  load(p, BPF_W, R1, R0, 0);
  load(p, BPF_W, R0, FRAME, TARGET);
  put(p, BPF_ALU64 | BPF_SUB | BPF_X, NOW, LAST, 0, 0);
  uint32_t silent = jump(p, BPF_JGT, NOW, SILENCE_NS);
  uint32_t no_pause = jump(p, BPF_JLE, NOW, PAUSE_NS);
  put(p, BPF_ALU64 | BPF_RSH | BPF_K, LAST, 0, 0, STAMP_SHIFT);
  put(p, BPF_ALU | BPF_SUB | BPF_X, R1, LAST, 0, 0);
  uint32_t through = put(p, BPF_JMP32 | BPF_JSGT | BPF_K, R1, 0, 0, 0);
  land(p, no_pause);
  load(p, BPF_W, R0, FLOW, SIDE(p, queue));
  land(p, silent);
  land(p, through);
  store(p, BPF_W, FLOW, SIDE(p, queue), R0);
  land(p, there);
  return none;
}

void write_program(struct program *p, const struct order *order, bool outer) {
  p->length = 0;
  p->side = outer ? FIELD(wire) : FIELD(device);
  copy(p, CONTEXT, R1);
  if (order->busy == 0) {
    choose_own(p, order);
    put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    return;
  }
  if (outer && order->geneve) {
    skip_geneve(p);
  } else {
    set(p, AT, outer ? (int)order->packet_at : DEVICE_PACKET_AT);
  }
  hash_packet(p);
  if (order->count == 0) {
    choose_busy(p, order);
    put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    return;
  }
  uint32_t no_flow = find_flow(p, order->flows);
  note_new(p);
  count_packet(p);
  choose_target(p, order);
  uint32_t no_stamp = change_queue(p, order->stamps);
  land(p, no_flow);
  land(p, no_stamp);
  put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}
