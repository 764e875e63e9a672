// Writes the filter of a raw socket (see share.h). IPv4 raw sockets filter from the IP header on,
// IPv6 ones from behind it; SKF_NET_OFF reaches the IP header in both.
#include "share.h"

#include <linux/in.h>
#include <stddef.h>

static void load(struct filter *f, uint16_t size, uint32_t offset) {
  filter_emit(f, BPF_LDX | BPF_W | BPF_MEM, FILTER_AT);
  filter_emit(f, (uint16_t)(BPF_LD | size | BPF_IND), offset);
}

// A packet without `bytes` from AT on ends here: index 0 takes it. AT may lie behind its end.
static void need(struct filter *f, uint32_t bytes, uint32_t index) {
  filter_emit(f, BPF_LD | BPF_W | BPF_MEM, FILTER_AT);
  filter_emit(f, BPF_ALU | BPF_ADD | BPF_K, bytes);
  filter_emit(f, BPF_MISC | BPF_TAX, 0);
  filter_emit(f, BPF_LD | BPF_W | BPF_LEN, 0);
  filter_put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_X | BPF_JGE, 0, 1, 0));
  filter_emit(f, BPF_RET | BPF_K, index == 0 ? FILTER_ACCEPT : 0);
}

static void mix_ip(struct filter *f, bool v4, uint32_t index) {
  uint32_t first = v4 ? 12 : 8, end = v4 ? 20 : 40;
  need(f, end, index);
  for (uint32_t at = first; at < end; at += 4) {
    load(f, BPF_W, at);
    filter_mix(f);
  }
}

static void mix_outer_source(struct filter *f, bool v4) {
  uint32_t first = (uint32_t)SKF_NET_OFF + (v4 ? 12 : 8);
  filter_emit(f, BPF_LD | BPF_IMM, 0);
  filter_emit(f, BPF_ST, FILTER_HASH);
  for (uint32_t at = 0; at < (v4 ? 4u : 16u); at += 4) {
    filter_emit(f, BPF_LD | BPF_W | BPF_ABS, first + at);
    filter_mix(f);
  }
}

// NEXT += 4 when the flag bit of the GRE header at AT is set.
static void add_field(struct filter *f, uint32_t bit) {
  load(f, BPF_H, 0);
  filter_emit(f, BPF_ALU | BPF_RSH | BPF_K, bit);
  filter_emit(f, BPF_ALU | BPF_AND | BPF_K, 1);
  filter_emit(f, BPF_ALU | BPF_LSH | BPF_K, 2);
  filter_emit(f, BPF_LDX | BPF_W | BPF_MEM, FILTER_NEXT);
  filter_emit(f, BPF_ALU | BPF_ADD | BPF_X, 0);
  filter_emit(f, BPF_ST, FILTER_NEXT);
}

// AT = NEXT (+ more)
static void step(struct filter *f, uint32_t more) {
  filter_emit(f, BPF_LD | BPF_W | BPF_MEM, FILTER_NEXT);
  filter_emit(f, BPF_ALU | BPF_ADD | BPF_K, more);
  filter_emit(f, BPF_ST, FILTER_AT);
}

// The EtherType in A decides; the inner packet begins at NEXT + more.
static void mix_by_type(struct filter *f, uint32_t more, uint32_t index) {
  uint16_t not4 = filter_unless(f, BPF_JEQ, 0x0800);
  step(f, more);
  mix_ip(f, true, index);
  uint16_t done4 = filter_jump(f);
  filter_land(f, not4);
  uint16_t not6 = filter_unless(f, BPF_JEQ, 0x86dd);
  step(f, more);
  mix_ip(f, false, index);
  filter_land(f, not6);
  filter_land(f, done4);
}

// RFC 2784 and 2890 (version 0), RFC 2637 (version 1, call id in the key's low half)
static void mix_gre(struct filter *f, uint32_t index) {
  need(f, 8, index);
  load(f, BPF_H, 0);
  filter_emit(f, BPF_ALU | BPF_AND | BPF_K, 7);
  uint16_t version0 = filter_unless(f, BPF_JEQ, 1);
  load(f, BPF_H, 6);
  filter_mix(f);
  uint16_t done1 = filter_jump(f);
  filter_land(f, version0);
  filter_emit(f, BPF_LD | BPF_W | BPF_MEM, FILTER_AT);
  filter_emit(f, BPF_ALU | BPF_ADD | BPF_K, 4);
  filter_emit(f, BPF_ST, FILTER_NEXT);
  add_field(f, 15);  // checksum
  add_field(f, 13);  // key
  add_field(f, 12);  // sequence
  load(f, BPF_H, 2);
  uint16_t plain = filter_unless(f, BPF_JEQ, 0x6558);
  step(f, 0);
  need(f, 14, index);
  load(f, BPF_H, 12);
  mix_by_type(f, 14, index);
  uint16_t done_ethernet = filter_jump(f);
  filter_land(f, plain);
  mix_by_type(f, 0, index);
  filter_land(f, done_ethernet);
  filter_land(f, done1);
}

bool make_raw_filter(struct filter *f, const struct share *share, const struct sources *sources) {
  bool v4 = share->family == 4;
  f->length = 0;
  f->overflow = false;
  mix_outer_source(f, v4);
  if (sources != NULL && !filter_sources(f, share->family, sources)) return false;
  if (v4) {
    filter_emit(f, BPF_LDX | BPF_B | BPF_MSH, 0);
  } else {
    filter_emit(f, BPF_LDX | BPF_IMM, 0);
  }
  filter_emit(f, BPF_STX, FILTER_AT);
  if (share->protocol == IPPROTO_IPIP) mix_ip(f, true, share->index);
  if (share->protocol == IPPROTO_IPV6) mix_ip(f, false, share->index);
  if (share->protocol == IPPROTO_GRE) mix_gre(f, share->index);
  filter_emit(f, BPF_LD | BPF_W | BPF_MEM, FILTER_HASH);
  filter_emit(f, BPF_ALU | BPF_RSH | BPF_K, 16);
  filter_emit(f, BPF_ALU | BPF_MOD | BPF_K, share->count);
  filter_put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, share->index, 0, 1));
  filter_emit(f, BPF_RET | BPF_K, FILTER_ACCEPT);
  filter_emit(f, BPF_RET | BPF_K, 0);
  return true;
}
