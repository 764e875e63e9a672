// C twins of the hot path's kernels: the same work on the same bytes, for comparison.
//   kernels checksum COUNT           stdin: bytes; stdout: sum of COUNT times them, u32
//   kernels cut SIZE                 stdin: outer bytes, IPv4 TCP super-packet; stdout: datagrams
//   kernels route                    stdin: u32 count, (prefix, length, next)..., addresses in
//                                    network order; stdout: next hops
// The time of one checksum, one datagram or one lookup in ns is printed on stderr: the median of
// several samples. All numbers are little-endian u32.
#include "kernels.h"

// --- checksum ------------------------------------------------------------------------------------

static int sums;

static void work_checksum(void) {
  uint32_t sum = 0;
  for (int i = 0; i < sums; i++) sum = fold(add(input, input_length) + sum);
  memcpy(output, &sum, sizeof sum);
  output_length = sizeof sum;
}

// --- cut: segmentation of an IPv4 TCP super-packet, outer headers included --------------------

static size_t cut_size;

static void write_sum(uint8_t *field, uint64_t sum) {
  uint16_t value = (uint16_t)~fold(sum);
  memcpy(field, &value, sizeof value);
}

static void patch_ip(uint8_t *ip, uint32_t length, uint32_t index) {
  store_be16(ip + 2, length);
  store_be16(ip + 4, load_be16(ip + 4) + index);
  memset(ip + 10, 0, 2);
  write_sum(ip + 10, add(ip, IP_HEADER));
}

static void patch_tcp(uint8_t *ip, size_t header, size_t bytes, size_t done, int last,
                      uint64_t payload) {
  uint8_t *tcp = ip + IP_HEADER;
  uint8_t protocol[4] = {0, ip[9]};
  uint32_t sequence = (load_be16(tcp + 4) << 16) + load_be16(tcp + 6) + (uint32_t)done;
  store_be16(tcp + 4, sequence >> 16);
  store_be16(tcp + 6, sequence);
  if (done > 0) tcp[13] &= 0x7f;
  if (!last) tcp[13] &= 0xf6;
  memset(tcp + 16, 0, 2);
  store_be16(protocol + 2, (uint32_t)(header - IP_HEADER + bytes));
  uint64_t sum = add(ip + 12, 8) + add(protocol, 4) + add(tcp, header - IP_HEADER);
  write_sum(tcp + 16, sum + payload);
}

static size_t cut_header(const uint8_t *ip) {
  return IP_HEADER + 4 * (size_t)(ip[IP_HEADER + 12] >> 4);
}

static void work_cut(void) {
  const uint8_t *ip = input + OUTER;
  size_t header = cut_header(ip), payload = input_length - OUTER - header;
  uint8_t *to = output;
  for (size_t done = 0, index = 0; done < payload; done += cut_size, index++) {
    size_t bytes = payload - done < cut_size ? payload - done : cut_size;
    memcpy(to, input, OUTER + header);
    to += OUTER;
    uint64_t sum = copy_add(to + header, ip + header + done, bytes);
    patch_ip(to, (uint32_t)(header + bytes), (uint32_t)index);
    patch_tcp(to, header, bytes, done, done + bytes == payload, sum);
    to += header + bytes;
  }
  output_length = (size_t)(to - output);
}

// --- route: a trie by 16, 8, 4 and 4 bits of the address ----------------------------------------

// An entry is a next hop, or from ROOT on the index of the next level's chunk.
enum { ROOT = 1 << 16, LEVELS = 4 };

static const uint32_t level_ends[LEVELS] = {16, 24, 28, 32}, level_bits[LEVELS] = {16, 8, 4, 4};
static uint32_t *trie;
static uint32_t trie_used = ROOT;
static const uint8_t *addresses;
static size_t address_count;

static uint32_t below(uint32_t entry, uint32_t level) {
  uint32_t value = trie[entry], size = 1u << level_bits[level], chunk = trie_used;
  if (value >= ROOT) return value;
  trie_used += size;
  for (uint32_t i = 0; i < size; i++) trie[chunk + i] = value;
  trie[entry] = chunk;
  return chunk;
}

static void enter(uint32_t prefix, uint32_t length, uint32_t next) {
  uint32_t chunk = 0, level = 0, mask = ROOT - 1, entry = prefix >> 16;
  while (length > level_ends[level]) {
    chunk = below(chunk + entry, ++level);
    mask = (1u << level_bits[level]) - 1;
    entry = prefix >> (32 - level_ends[level]) & mask;
  }
  for (uint32_t i = 0; i < 1u << (level_ends[level] - length); i++) trie[chunk + entry + i] = next;
}

// Shorter prefixes go first: longer ones overwrite them.
static void read_routes(void) {
  uint32_t count = load32(input);
  trie = calloc(ROOT + ((size_t)count + ROOT) * (256 + 16 + 16), sizeof *trie);
  if (trie == NULL) exit(1);
  for (uint32_t length = 0; length <= 32; length++) {
    for (uint32_t i = 0; i < count; i++) {
      const uint8_t *route = input + 4 + 12 * (size_t)i;
      if (load32(route + 4) == length) enter(load32(route), length, load32(route + 8));
    }
  }
  // The root has chunks only: neighbours with one next hop share one.
  for (uint32_t i = 0, last = 0, was = ROOT; i < ROOT; i++) {
    uint32_t value = trie[i];
    if (value >= ROOT) continue;
    trie[i] = value == was ? last : below(i, 1);
    was = value, last = trie[i];
  }
  addresses = input + 4 + 12 * (size_t)count;
  address_count = (input_length - 4 - 12 * (size_t)count) / 4;
}

static uint32_t lookup(uint32_t address) {
  uint32_t entry = trie[address >> 16];
  entry = trie[(size_t)entry + (address >> 8 & 255)];
  if (entry < ROOT) return entry;
  entry = trie[(size_t)entry + (address >> 4 & 15)];
  return entry < ROOT ? entry : trie[(size_t)entry + (address & 15)];
}

static void work_route(void) {
#pragma GCC unroll 8
  for (size_t i = 0; i < address_count; i++) {
    // A word swapped: two bytes would be a 16-bit movbe, which waits for the lookup before it.
    uint32_t next = lookup(__builtin_bswap32(load32(addresses + 4 * i)));
    memcpy(output + 4 * i, &next, sizeof next);
  }
  output_length = 4 * address_count;
}

// -------------------------------------------------------------------------------------------------

static double run(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "checksum") == 0) {
    sums = atoi(argv[2]);
    return measure(work_checksum, sums);
  }
  if (argc == 3 && strcmp(argv[1], "cut") == 0) {
    cut_size = (size_t)atoi(argv[2]);
    size_t payload = input_length - OUTER - cut_header(input + OUTER);
    return measure(work_cut, (double)((payload + cut_size - 1) / cut_size));
  }
  if (argc == 2 && strcmp(argv[1], "route") == 0) {
    read_routes();
    return measure(work_route, (double)address_count);
  }
  fprintf(stderr, "kernels: see the top of its source for usage\n");
  exit(2);
}

int main(int argc, char **argv) { return run_twin(run, argc, argv); }
