// What the programs of C twins share: input and output, timing, the Internet checksum.
#ifndef MESHD_BENCH_KERNELS_H
#define MESHD_BENCH_KERNELS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  INPUT_MAX = 8 << 20,
  OUTPUT_MAX = 4 << 20,
  SAMPLES = 101,
  SAMPLE_NS = 300000,
  OUTER = 22,
  IP_HEADER = 20
};

// At the begin of a line of cache, as the module's arenas and slots.
static _Alignas(64) uint8_t input[INPUT_MAX], output[OUTPUT_MAX];
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

__attribute__((unused)) static uint64_t copy_add(uint8_t *restrict to,
                                                 const uint8_t *restrict from, size_t length) {
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

// Works on what stands on standard input until `run` has timed it; prints ns on standard error and
// the output on standard output.
static int run_twin(double (*run)(int, char **), int argc, char **argv) {
  input_length = fread(input, 1, sizeof input, stdin);
  double ns = run(argc, argv);
  fprintf(stderr, "%.3f\n", ns);
  return fwrite(output, 1, output_length, stdout) == output_length ? 0 : 1;
}

#endif
