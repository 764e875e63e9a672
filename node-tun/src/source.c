// Writes the search for the outer source (see source.h): a tree of comparisons over the sorted
// hashes, with a short list at each leaf. About 1.2 instructions for each source.
#include "source.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { LEAF_MOST = 32 };

struct search {
  struct filter *filter;
  uint16_t *misses, *hits;  // jumps out of the tree
  uint32_t missed, hit;
};

// As filter_mix over the words of an address. The kernel compares with constants below 2^31 in one
// instruction, with others in two: so the last bit is left out.
static uint32_t hash_of(const uint8_t *bytes, uint32_t words) {
  uint32_t hash = 0, word;
  for (uint32_t i = 0; i < words; i++) {
    memcpy(&word, bytes + 4 * i, sizeof word);
    hash = (hash ^ ntohl(word)) * FILTER_MULTIPLIER;
  }
  return hash >> 1;
}

static int by_value(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return left < right ? -1 : left > right;
}

static uint32_t without_twins(uint32_t *hashes, uint32_t count) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (kept == 0 || hashes[kept - 1] != hashes[i]) hashes[kept++] = hashes[i];
  }
  return kept;
}

static void search_leaf(struct search *s, const uint32_t *hashes, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    // Over what is left of the list, and over the jump for a miss.
    uint8_t over = (uint8_t)(count - i);
    filter_put(s->filter,
               (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, hashes[i], over, 0));
  }
  s->misses[s->missed++] = filter_jump(s->filter);
  if (count > 0) s->hits[s->hit++] = filter_jump(s->filter);
}

// As deep as the logarithm of count.
static void search_tree(struct search *s, const uint32_t *hashes, uint32_t count) {
  if (count <= LEAF_MOST) {
    search_leaf(s, hashes, count);
    return;
  }
  uint32_t half = count / 2;
  uint16_t low = filter_unless(s->filter, BPF_JGE, hashes[half]);
  search_tree(s, hashes + half, count - half);
  filter_land(s->filter, low);
  search_tree(s, hashes, half);
}

static void drop_missed(struct search *s, uint32_t sample) {
  for (uint32_t i = 0; i < s->missed; i++) filter_land(s->filter, s->misses[i]);
  if (sample > 0) {
    filter_emit(s->filter, BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM));
    filter_emit(s->filter, BPF_ALU | BPF_MOD | BPF_K, sample);
    filter_put(s->filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | BPF_JEQ, 0, 1, 0));
  }
  filter_emit(s->filter, BPF_RET | BPF_K, 0);
  for (uint32_t i = 0; i < s->hit; i++) filter_land(s->filter, s->hits[i]);
}

bool filter_sources(struct filter *filter, uint32_t family, const struct sources *sources) {
  uint32_t words = family == 4 ? 1 : 4, count = sources->count;
  // Leaves are at least half full, but for one that is alone.
  size_t leaves = count / (LEAF_MOST / 2) + 1;
  uint32_t *hashes = calloc((size_t)count + 1, sizeof *hashes);
  uint16_t *jumps = calloc(2 * leaves, sizeof *jumps);
  if (hashes != NULL && jumps != NULL) {
    for (uint32_t i = 0; i < count; i++) hashes[i] = hash_of(sources->bytes + 4 * words * i, words);
    qsort(hashes, count, sizeof *hashes, by_value);
    struct search search = {filter, jumps, jumps + leaves, 0, 0};
    filter_emit(filter, BPF_LD | BPF_W | BPF_MEM, FILTER_HASH);
    filter_emit(filter, BPF_ALU | BPF_RSH | BPF_K, 1);
    search_tree(&search, hashes, without_twins(hashes, count));
    drop_missed(&search, sources->sample);
  }
  bool enough = hashes != NULL && jumps != NULL;
  free(hashes);
  free(jumps);
  return enough;
}
