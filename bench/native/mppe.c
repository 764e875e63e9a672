// C twins of RC4 and of MPPE-128 without state between packets, both by the hot path's algorithm
// (ADR 0033) and by libcrypto, which is loaded at run time: nothing is needed to compile this.
//   mppe rc4 own|openssl COUNT     stdin: key (16 bytes), data; stdout: data encrypted COUNT times
//                                  with one key stream, each time behind the last
//   mppe mppe own|openssl COUNT    stdin: start key (16 bytes), data; stdout: data encrypted as
//                                  COUNT packets, each time what came out the last time
//   mppe libcrypto                 ends with 0 if there is one with RC4
// The time of one pass over the data in ns is printed on stderr: the median of several samples.
#pragma GCC diagnostic ignored "-Wunused-function"
#include "kernels.h"

#include <dlfcn.h>

enum { KEY = 16, DIGEST = 20, MESSAGE = 112 };

/** Room for either: libcrypto's has two indices and 256 words. */
static union {
  struct {
    uint8_t table[256];
    uint32_t i, j;
  } own;
  uint32_t openssl[258];
} rc4;

static void (*set_key)(const uint8_t *key);
static void (*crypt)(uint8_t *data, size_t length);
static void (*hash)(const uint8_t *message, uint8_t *digest);

// --- libcrypto ---------------------------------------------------------------------------------

static void (*openssl_set_key)(void *, int, const uint8_t *);
static void (*openssl_crypt)(void *, size_t, const uint8_t *, uint8_t *);
static uint8_t *(*openssl_hash)(const uint8_t *, size_t, uint8_t *);

static int load_libcrypto(void) {
  void *library = dlopen("libcrypto.so.3", RTLD_NOW);
  if (library == NULL) return 0;
  *(void **)&openssl_set_key = dlsym(library, "RC4_set_key");
  *(void **)&openssl_crypt = dlsym(library, "RC4");
  *(void **)&openssl_hash = dlsym(library, "SHA1");
  return openssl_set_key != NULL && openssl_crypt != NULL && openssl_hash != NULL;
}

static void libcrypto_set_key(const uint8_t *key) { openssl_set_key(&rc4, KEY, key); }

static void libcrypto_crypt(uint8_t *data, size_t length) {
  openssl_crypt(&rc4, length, data, data);
}

static void libcrypto_hash(const uint8_t *message, uint8_t *digest) {
  openssl_hash(message, MESSAGE, digest);
}

// --- RC4: four entries are read before their swaps; entry 0 is the table's last one ------------

#define NEAR(from, count) __builtin_expect((uint8_t)(j - (from)) < (count), 0)

static void own_set_key(const uint8_t *key) {
  uint8_t plain[256], *table = rc4.own.table;
  uint32_t j = 0;
  for (int i = 0; i < 256; i++) plain[i] = (uint8_t)i;
  for (uint32_t i = 0; i < 256; i += 4) {
    uint8_t a[4];
    memcpy(a, plain + i, 4);
    for (uint32_t n = 0; n < 4; n++) {
      j += a[n] + key[(i + n) % KEY];
      plain[i + n] = plain[(uint8_t)j];
      plain[(uint8_t)j] = a[n];
      if (NEAR(i + n + 1, 3 - n)) memcpy(a, plain + i, 4);
    }
  }
  memcpy(table, plain + 1, 255);
  table[255] = plain[0];
  rc4.own.i = 0;
  rc4.own.j = (uint32_t)-1;
}

static uint8_t step(uint8_t *table, uint32_t i, uint32_t j, uint8_t a) {
  uint8_t b = table[(uint8_t)j];
  table[(uint8_t)j] = a;
  table[i] = b;
  return table[(uint8_t)(a + b - 1)];
}

static void own_crypt(uint8_t *data, size_t length) {
  uint8_t *table = rc4.own.table;
  uint32_t i = rc4.own.i, j = rc4.own.j;
  for (size_t at = 0; at < length; at += 4) {
    uint8_t a1 = table[i], a2 = table[i + 1], a3 = table[i + 2], a4 = table[i + 3];
    j += a1;
    uint32_t word = step(table, i, j, a1);
    if (NEAR(i + 1, 3)) a2 = table[i + 1], a3 = table[i + 2], a4 = table[i + 3];
    j += a2;
    word |= (uint32_t)step(table, i + 1, j, a2) << 8;
    if (NEAR(i + 2, 2)) a3 = table[i + 2], a4 = table[i + 3];
    j += a3;
    word |= (uint32_t)step(table, i + 2, j, a3) << 16;
    if (NEAR(i + 3, 1)) a4 = table[i + 3];
    j += a4;
    word |= (uint32_t)step(table, i + 3, j, a4) << 24;
    word ^= load32(data + at);
    memcpy(data + at, &word, 4);
    i = (i + 4) & 255;
  }
  rc4.own.i = i;
  rc4.own.j = j;
}

// --- SHA-1, RFC 3174 ---------------------------------------------------------------------------

static uint32_t rotate(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

static uint32_t mixed(int t, uint32_t b, uint32_t c, uint32_t d) {
  if (t < 20) return (d ^ (b & (c ^ d))) + 0x5a827999;
  if (t < 40) return (b ^ c ^ d) + 0x6ed9eba1;
  if (t < 60) return ((b & c) | (d & (b | c))) + 0x8f1bbcdc;
  return (b ^ c ^ d) + 0xca62c1d6;
}

static void compress(uint32_t *state, const uint8_t *block) {
  uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (int t = 0; t < 16; t++) w[t] = __builtin_bswap32(load32(block + 4 * t));
  for (int t = 16; t < 80; t++) w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
#pragma GCC unroll 80
  for (int t = 0; t < 80; t++) {
    uint32_t next = rotate(a, 5) + mixed(t, b, c, d) + e + w[t];
    e = d, d = c, c = rotate(b, 30), b = a, a = next;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

static void own_hash(const uint8_t *message, uint8_t *digest) {
  uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  uint8_t blocks[128] = {0};
  memcpy(blocks, message, MESSAGE);
  blocks[MESSAGE] = 0x80;
  store_be16(blocks + 126, MESSAGE * 8);
  compress(state, blocks);
  compress(state, blocks + 64);
  for (int i = 0; i < 5; i++) {
    uint32_t word = __builtin_bswap32(state[i]);
    memcpy(digest + 4 * i, &word, 4);
  }
}

// --- MPPE --------------------------------------------------------------------------------------

static uint8_t session[KEY];

/** RFC 3079 section 3.4. */
static void derive(void) {
  uint8_t message[MESSAGE] = {0}, digest[DIGEST];
  memcpy(message, input, KEY);
  memcpy(message + 56, session, KEY);
  memset(message + 72, 0xf2, 40);
  hash(message, digest);
  memcpy(session, digest, KEY);
}

/** RFC 3078 section 7.3. */
static void encrypt(uint8_t *data, size_t length) {
  derive();
  set_key(session);
  crypt(session, KEY);
  set_key(session);
  crypt(data, length);
}

static int passes;

static void begin(void) {
  output_length = input_length - KEY;
  memcpy(output, input + KEY, output_length);
}

static void work_rc4(void) {
  begin();
  set_key(input);
  for (int i = 0; i < passes; i++) crypt(output, output_length);
}

static void work_mppe(void) {
  begin();
  memcpy(session, input, KEY);
  derive();
  for (int i = 0; i < passes; i++) encrypt(output, output_length);
}

// -----------------------------------------------------------------------------------------------

static double run(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "libcrypto") == 0) exit(load_libcrypto() ? 0 : 1);
  if (argc != 4 || input_length <= KEY || input_length % 4 != 0) {
    fprintf(stderr, "mppe: see the top of its source for usage\n");
    exit(2);
  }
  int own = strcmp(argv[2], "own") == 0;
  if (!own && !load_libcrypto()) {
    fprintf(stderr, "mppe: there is no libcrypto.so.3 with RC4\n");
    exit(1);
  }
  set_key = own ? own_set_key : libcrypto_set_key;
  crypt = own ? own_crypt : libcrypto_crypt;
  hash = own ? own_hash : libcrypto_hash;
  passes = atoi(argv[3]);
  return measure(strcmp(argv[1], "rc4") == 0 ? work_rc4 : work_mppe, passes);
}

int main(int argc, char **argv) { return run_twin(run, argc, argv); }
