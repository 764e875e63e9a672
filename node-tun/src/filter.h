// Classic BPF programs as they are written: one instruction after the other, jumps forward only.
#ifndef NODE_TUN_FILTER_H
#define NODE_TUN_FILTER_H
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

// What the kernel takes at most.
enum { FILTER_MOST = BPF_MAXINSNS };

struct filter {
  struct sock_filter code[FILTER_MOST];
  uint16_t length;
  bool overflow;
};

// Scratch words. HASH: of the outer source, then of inner addresses too. AT: where the header in
// question begins in the packet.
enum { FILTER_HASH = 0, FILTER_AT = 1, FILTER_NEXT = 2 };
#define FILTER_MULTIPLIER 2654435761U  // 2^32 / golden ratio: spreads neighbours apart
#define FILTER_ACCEPT 0x40000          // longer than any packet

static inline void filter_put(struct filter *f, struct sock_filter instruction) {
  if (f->length < FILTER_MOST) {
    f->code[f->length++] = instruction;
  } else {
    f->overflow = true;
  }
}

static inline void filter_emit(struct filter *f, uint16_t code, uint32_t k) {
  filter_put(f, (struct sock_filter)BPF_STMT(code, k));
}

// A jump whose end land() will say; gives its place.
static inline uint16_t filter_jump(struct filter *f) {
  filter_emit(f, BPF_JMP | BPF_JA, 0);
  return (uint16_t)(f->length - 1);
}

// Goes on when the comparison of A with k holds; else jumps where land() will say.
static inline uint16_t filter_unless(struct filter *f, uint16_t comparison, uint32_t k) {
  filter_put(f, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | BPF_K | comparison), k, 1, 0));
  return filter_jump(f);
}

static inline void filter_land(struct filter *f, uint16_t from) {
  f->code[from].k = (uint32_t)(f->length - from - 1);
}

// hash = (hash ^ A) * multiplier
static inline void filter_mix(struct filter *f) {
  filter_emit(f, BPF_LDX | BPF_W | BPF_MEM, FILTER_HASH);
  filter_emit(f, BPF_ALU | BPF_XOR | BPF_X, 0);
  filter_emit(f, BPF_ALU | BPF_MUL | BPF_K, FILTER_MULTIPLIER);
  filter_emit(f, BPF_ST, FILTER_HASH);
}

#endif
