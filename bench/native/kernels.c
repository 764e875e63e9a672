// C twins of the hot path's kernels: the same work on the same bytes, for comparison.
//   kernels checksum                 stdin: bytes; stdout: folded sum, 2 bytes
//   kernels cut SIZE                 stdin: outer bytes, IPv4 TCP super-packet; stdout: datagrams
//   kernels route                    stdin: u32 count, (prefix, length, next)..., addresses;
//                                    stdout: next hops
// The time of one checksum, one datagram or one lookup in ns is printed on stderr: the median of
// several samples. All numbers are little-endian u32.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  INPUT_MAX = 4 << 20,
  OUTPUT_MAX = 4 << 20,
  SAMPLES = 301,
  SAMPLE_NS = 300000,
  OUTER = 22,
  IP_HEADER = 20
};

static uint8_t input[INPUT_MAX], output[OUTPUT_MAX];
static size_t input_length, output_length;

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// Median ns of one of the `things` that a call of `work` does.
static double measure(void (*work)(void), double things) {
  double samples[SAMPLES];
  for (int i = 0; i < SAMPLES; i++) {
    double start = now_ns(), end = start, calls = 0;
    for (; end - start < SAMPLE_NS; end = now_ns()) {
      for (int n = 0; n < 16; n++) work();
      calls += 16;
    }
    samples[i] = (end - start) / calls / things;
  }
  qsort(samples, SAMPLES, sizeof samples[0], by_size);
  return samples[SAMPLES / 2];
}

static uint32_t load32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static void store_be16(uint8_t *at, uint32_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static uint32_t load_be16(const uint8_t *at) { return ((uint32_t)at[0] << 8) | at[1]; }

// --- checksum ----------------------------------------------------------------------------

static uint32_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint32_t)((sum & 0xffff) + (sum >> 16));
}

static uint64_t tail_sum(const uint8_t *at, size_t length) {
  uint64_t sum = 0;
  uint8_t rest[4] = {0};
  memcpy(rest, at, length);
  sum = load32(rest);
  return sum;
}

static uint64_t add(const uint8_t *at, size_t length) {
  uint64_t sum = 0;
  size_t whole = length / 4;
  for (size_t i = 0; i < whole; i++) sum += load32(at + 4 * i);
  return sum + tail_sum(at + 4 * whole, length % 4);
}

static uint64_t copy_add(uint8_t *restrict to, const uint8_t *restrict from, size_t length) {
  uint64_t sum = 0;
  size_t whole = length / 4;
  for (size_t i = 0; i < whole; i++) {
    uint32_t word = load32(from + 4 * i);
    memcpy(to + 4 * i, &word, 4);
    sum += word;
  }
  memcpy(to + 4 * whole, from + 4 * whole, length % 4);
  return sum + tail_sum(from + 4 * whole, length % 4);
}

static void work_checksum(void) {
  uint16_t sum = (uint16_t)fold(add(input, input_length));
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

// --- route: longest prefix first, one hash of (prefix, length) -------------------------------

struct slot {
  uint32_t prefix, value;
};

static struct slot *slots;
static uint32_t slots_mask, lengths[33], length_count;
static const uint8_t *addresses;
static size_t address_count;

static uint32_t mix(uint32_t value) {
  value = (value ^ (value >> 16)) * 0x85ebca6bu;
  value = (value ^ (value >> 13)) * 0xc2b2ae35u;
  return value ^ (value >> 16);
}

static uint32_t slot_of(uint32_t prefix, uint32_t length) {
  return mix(prefix ^ (length * 0x9e3779b1u)) & slots_mask;
}

static void read_routes(void) {
  uint32_t count = load32(input), seen[33] = {0};
  for (slots_mask = 8; slots_mask < 2 * count; slots_mask *= 2) continue;
  slots = calloc(slots_mask--, sizeof *slots);
  if (slots == NULL) exit(1);
  for (uint32_t i = 0; i < count; i++) {
    const uint8_t *entry = input + 4 + 12 * (size_t)i;
    uint32_t prefix = load32(entry), length = load32(entry + 4), at = slot_of(prefix, length);
    while (slots[at].value != 0) at = (at + 1) & slots_mask;
    slots[at] = (struct slot){prefix, (length << 24) | load32(entry + 8)};
    seen[length] = 1;
  }
  for (uint32_t length = 33; length-- > 0;) {
    if (seen[length]) lengths[length_count++] = length;
  }
  addresses = input + 4 + 12 * (size_t)count;
  address_count = (input_length - 4 - 12 * (size_t)count) / 4;
}

// A call of its own, as the module's is.
static __attribute__((noinline)) uint32_t lookup(uint32_t address) {
  for (uint32_t i = 0; i < length_count; i++) {
    uint32_t length = lengths[i], prefix = address & (uint32_t)(0xffffffff00000000u >> length);
    for (uint32_t at = slot_of(prefix, length);; at = (at + 1) & slots_mask) {
      uint32_t value = slots[at].value;
      if (value == 0) break;
      if (slots[at].prefix == prefix && value >> 24 == length) return value & 0xffffff;
    }
  }
  return 0;
}

static void work_route(void) {
  for (size_t i = 0; i < address_count; i++) {
    uint32_t next = lookup(load32(addresses + 4 * i));
    memcpy(output + 4 * i, &next, sizeof next);
  }
  output_length = 4 * address_count;
}

// -----------------------------------------------------------------------------------------

static double run(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "checksum") == 0) return measure(work_checksum, 1);
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

int main(int argc, char **argv) {
  input_length = fread(input, 1, sizeof input, stdin);
  double ns = run(argc, argv);
  fprintf(stderr, "%.3f\n", ns);
  return fwrite(output, 1, output_length, stdout) == output_length ? 0 : 1;
}
