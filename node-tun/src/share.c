// Writes the share filter (see share.h). Scratch words: M[0] the hash, M[1] where the header in
// question begins in the packet. IPv4 raw sockets filter from the IP header on, IPv6 ones from
// behind it; SKF_NET_OFF reaches the IP header in both.
#include "share.h"

#include <linux/in.h>
#include <stdbool.h>

enum { HASH = 0, AT = 1, NEXT = 2 };
#define MULTIPLIER 2654435761U  // 2^32 divided by the golden ratio: spreads neighbours apart
#define ACCEPT 0x40000          // longer than any packet

// A program that would not fit ends early; the kernel refuses it then (a jump out of it).
static void put(struct share_program *p, struct sock_filter instruction) {
  if (p->length < SHARE_MOST) p->code[p->length++] = instruction;
}

static void emit(struct share_program *p, uint16_t code, uint32_t k) {
  put(p, (struct sock_filter)BPF_STMT(code, k));
}

// Goes on when the comparison of A with k holds; else jumps where land() will say.
static uint16_t unless(struct share_program *p, uint16_t comparison, uint32_t k) {
  put(p, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | BPF_K | comparison), k, 1, 0));
  emit(p, BPF_JMP | BPF_JA, 0);
  return (uint16_t)(p->length - 1);
}

static uint16_t jump(struct share_program *p) {
  emit(p, BPF_JMP | BPF_JA, 0);
  return (uint16_t)(p->length - 1);
}

static void land(struct share_program *p, uint16_t from) {
  p->code[from].k = (uint32_t)(p->length - from - 1);
}

// hash = (hash ^ A) * MULTIPLIER
static void mix(struct share_program *p) {
  emit(p, BPF_LDX | BPF_W | BPF_MEM, HASH);
  emit(p, BPF_ALU | BPF_XOR | BPF_X, 0);
  emit(p, BPF_ALU | BPF_MUL | BPF_K, MULTIPLIER);
  emit(p, BPF_ST, HASH);
}

static void load(struct share_program *p, uint16_t size, uint32_t offset) {
  emit(p, BPF_LDX | BPF_W | BPF_MEM, AT);
  emit(p, (uint16_t)(BPF_LD | size | BPF_IND), offset);
}

// A packet without `bytes` from AT on ends here: index 0 takes it. AT may lie behind its end.
static void need(struct share_program *p, uint32_t bytes, uint32_t index) {
  emit(p, BPF_LD | BPF_W | BPF_MEM, AT);
  emit(p, BPF_ALU | BPF_ADD | BPF_K, bytes);
  emit(p, BPF_MISC | BPF_TAX, 0);
  emit(p, BPF_LD | BPF_W | BPF_LEN, 0);
  put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_X | BPF_JGE, 0, 1, 0));
  emit(p, BPF_RET | BPF_K, index == 0 ? ACCEPT : 0);
}

static void mix_ip(struct share_program *p, bool v4, uint32_t index) {
  uint32_t first = v4 ? 12 : 8, end = v4 ? 20 : 40;
  need(p, end, index);
  for (uint32_t at = first; at < end; at += 4) {
    load(p, BPF_W, at);
    mix(p);
  }
}

static void mix_outer_source(struct share_program *p, bool v4) {
  uint32_t first = (uint32_t)SKF_NET_OFF + (v4 ? 12 : 8);
  emit(p, BPF_LD | BPF_IMM, 0);
  emit(p, BPF_ST, HASH);
  for (uint32_t at = 0; at < (v4 ? 4u : 16u); at += 4) {
    emit(p, BPF_LD | BPF_W | BPF_ABS, first + at);
    mix(p);
  }
}

// NEXT += 4 when the flag bit of the GRE header at AT is set.
static void add_field(struct share_program *p, uint32_t bit) {
  load(p, BPF_H, 0);
  emit(p, BPF_ALU | BPF_RSH | BPF_K, bit);
  emit(p, BPF_ALU | BPF_AND | BPF_K, 1);
  emit(p, BPF_ALU | BPF_LSH | BPF_K, 2);
  emit(p, BPF_LDX | BPF_W | BPF_MEM, NEXT);
  emit(p, BPF_ALU | BPF_ADD | BPF_X, 0);
  emit(p, BPF_ST, NEXT);
}

// AT = NEXT (+ more)
static void step(struct share_program *p, uint32_t more) {
  emit(p, BPF_LD | BPF_W | BPF_MEM, NEXT);
  emit(p, BPF_ALU | BPF_ADD | BPF_K, more);
  emit(p, BPF_ST, AT);
}

// The EtherType in A decides; the inner packet begins at NEXT + more. Gives the jump past it all.
static void mix_by_type(struct share_program *p, uint32_t more, uint32_t index) {
  uint16_t not4 = unless(p, BPF_JEQ, 0x0800);
  step(p, more);
  mix_ip(p, true, index);
  uint16_t done4 = jump(p);
  land(p, not4);
  uint16_t not6 = unless(p, BPF_JEQ, 0x86dd);
  step(p, more);
  mix_ip(p, false, index);
  land(p, not6);
  land(p, done4);
}

// RFC 2784 and 2890 (version 0), RFC 2637 (version 1, call id in the key's low half)
static void mix_gre(struct share_program *p, uint32_t index) {
  need(p, 8, index);
  load(p, BPF_H, 0);
  emit(p, BPF_ALU | BPF_AND | BPF_K, 7);
  uint16_t version0 = unless(p, BPF_JEQ, 1);
  load(p, BPF_H, 6);
  mix(p);
  uint16_t done1 = jump(p);
  land(p, version0);
  emit(p, BPF_LD | BPF_W | BPF_MEM, AT);
  emit(p, BPF_ALU | BPF_ADD | BPF_K, 4);
  emit(p, BPF_ST, NEXT);
  add_field(p, 15);  // checksum
  add_field(p, 13);  // key
  add_field(p, 12);  // sequence
  load(p, BPF_H, 2);
  uint16_t plain = unless(p, BPF_JEQ, 0x6558);
  step(p, 0);
  need(p, 14, index);
  load(p, BPF_H, 12);
  mix_by_type(p, 14, index);
  uint16_t done_ethernet = jump(p);
  land(p, plain);
  mix_by_type(p, 0, index);
  land(p, done_ethernet);
  land(p, done1);
}

void make_share_program(struct share_program *p, uint32_t family, uint32_t protocol,
                        uint32_t index, uint32_t count) {
  p->length = 0;
  mix_outer_source(p, family == 4);
  if (family == 4) {
    emit(p, BPF_LDX | BPF_B | BPF_MSH, 0);
  } else {
    emit(p, BPF_LDX | BPF_IMM, 0);
  }
  emit(p, BPF_STX, AT);
  if (protocol == IPPROTO_IPIP) mix_ip(p, true, index);
  if (protocol == IPPROTO_IPV6) mix_ip(p, false, index);
  if (protocol == IPPROTO_GRE) mix_gre(p, index);
  emit(p, BPF_LD | BPF_W | BPF_MEM, HASH);
  emit(p, BPF_ALU | BPF_RSH | BPF_K, 16);
  emit(p, BPF_ALU | BPF_MOD | BPF_K, count);
  put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, index, 0, 1));
  emit(p, BPF_RET | BPF_K, ACCEPT);
  emit(p, BPF_RET | BPF_K, 0);
}
