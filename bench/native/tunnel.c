// C twins of the hot path's VXLAN and Geneve kernels and of joining TCP segments: the same work on
// the same bytes, for comparison.
//   tunnel encap STRIDE COUNT   stdin: COUNT indices of peers, u32; PEERS times two templates of
//                               TEMPLATE bytes, before IPv4 and before IPv6; HEADROOM bytes before
//                               and as many of each packet, which are laid STRIDE apart;
//                               stdout: those before, headers written
//   tunnel vxlan LENGTH STRIDE  stdin: struct expected, a datagram in every STRIDE bytes;
//                               stdout: offset of the inner packet or -reason, i32 each
//   tunnel geneve LENGTH STRIDE the same
//   tunnel join SEGMENT         stdin: struct expected, datagrams of SEGMENT bytes, the last may be
//                               shorter; stdout: vnet header and super-packet
// The time of one packet in ns is printed on stderr: the median of several samples.
#include "kernels.h"

enum { HEADROOM = 64, PEERS = 8, TEMPLATE = 32, VNET = 10, MAC = 6, PAYLOAD_MAX = 65535 };

// What decapsulation compares with, and its words for what is wrong; little-endian.
struct expected {
  uint32_t vni;
  uint8_t mac[8];
  int32_t bad_flags, wrong_vni, not_ip, bad_ip_version, broadcast, multicast, wrong_mac;
  int32_t too_short, bad_version, control_packet, unknown_option, bad_options;
  // Prefixes of 24 bits: ours, and the sender's.
  uint32_t local, remote;
};

static struct expected expected;
static size_t stride, count, length;

// --- encap ---------------------------------------------------------------------------------------

static void encap(uint8_t *inner, const uint8_t *templates) {
  // The bit that version 6 has and version 4 has not is a template's size.
  memcpy(inner - OUTER, templates + (inner[0] & TEMPLATE), OUTER);
}

static _Alignas(64) uint8_t packets[8 << 20];

static void work_encap(void) {
  const uint8_t *templates = input + 4 * count;
#pragma GCC unroll 4
  for (size_t i = 0; i < count; i++) {
    size_t peer = load32(input + 4 * i);
    encap(packets + i * stride + HEADROOM, templates + 2 * TEMPLATE * peer);
  }
}

static double run_encap(void) {
  const uint8_t *given = input + 4 * count + PEERS * 2 * TEMPLATE;
  if (count * stride > sizeof packets) exit(2);
  for (size_t i = 0; i < count; i++) {
    memcpy(packets + i * stride, given + 2 * HEADROOM * i, 2 * HEADROOM);
  }
  double ns = measure(work_encap, (double)count);
  for (size_t i = 0; i < count; i++) memcpy(output + HEADROOM * i, packets + i * stride, HEADROOM);
  output_length = HEADROOM * count;
  return ns;
}

// --- decap ---------------------------------------------------------------------------------------

static uint64_t mac_of(const uint8_t *at) {
  uint32_t low = load32(at);
  uint16_t high;
  memcpy(&high, at + 4, sizeof high);
  return low | (uint64_t)high << 32;
}

static int refuse_mac(uint64_t to) {
  if (to == 0xffffffffffff) return -expected.broadcast;
  return to & 1 ? -expected.multicast : -expected.wrong_mac;
}

static int check_payload(const uint8_t *ip, uint32_t type, size_t offset) {
  if (type != 0x0800 && type != 0x86dd) return -expected.not_ip;
  return ip[0] >> 4 == (type == 0x0800 ? 4 : 6) ? (int)offset : -expected.bad_ip_version;
}

// Looks at the frame behind `outer` bytes of header.
static int check_frame(const uint8_t *at, size_t outer) {
  const uint8_t *frame = at + outer;
  uint64_t to = mac_of(frame);
  if (to != mac_of(expected.mac)) return refuse_mac(to);
  uint32_t type = load_be16(frame + 2 * MAC);
  // A neighbour's question would be answered: no input here has one.
  if (type == 0x0806 || (type == 0x86dd && frame[20] == 58)) exit(1);
  return check_payload(frame + 14, type, outer + 14);
}

static uint32_t vni_of(const uint8_t *at) { return __builtin_bswap32(load32(at + 4)) >> 8; }

static int decap_vxlan(const uint8_t *at) {
  if ((at[0] & 8) == 0) return -expected.bad_flags;
  if (vni_of(at) != expected.vni) return -expected.wrong_vni;
  return check_frame(at, 8);
}

static int check_options(const uint8_t *at, const uint8_t *end) {
  while (at < end) {
    if (at[2] & 0x80) return -expected.unknown_option;
    at += 4 + 4 * (at[3] & 31);
  }
  return at == end ? 0 : -expected.bad_options;
}

static int decap_geneve(const uint8_t *at) {
  size_t header = 8 + 4 * (size_t)(at[0] & 63);
  if (length < header) return -expected.too_short;
  if (at[0] >> 6 != 0) return -expected.bad_version;
  if (at[1] & 0x80) return -expected.control_packet;
  if (vni_of(at) != expected.vni) return -expected.wrong_vni;
  int wrong = check_options(at + 8, at + header);
  if (wrong != 0) return wrong;
  uint32_t type = load_be16(at + 2);
  if (type != 0x6558) return check_payload(at + header, type, header);
  return check_frame(at, header);
}

// Inlined, so that `decap` is as well.
static inline __attribute__((always_inline)) void decap_all(int (*decap)(const uint8_t *)) {
  const uint8_t *first = input + sizeof expected;
  for (size_t i = 0; i < count; i++) {
    int32_t found = decap(first + i * stride);
    memcpy(output + 4 * i, &found, sizeof found);
  }
  output_length = 4 * count;
}

static void work_vxlan(void) { decap_all(decap_vxlan); }

static void work_geneve(void) { decap_all(decap_geneve); }

// --- join: decap, checks and coalescing of IPv4 TCP segments of one flow ------------------------

static uint32_t address_of(const uint8_t *at) { return __builtin_bswap32(load32(at)); }

// Whether an inner packet may come from that sender and ends here.
static int is_welcome(const uint8_t *ip, size_t bytes) {
  if (bytes < IP_HEADER || ip[0] != 0x45 || load_be16(ip + 2) != bytes) return 0;
  if ((load_be16(ip + 6) & 0x3fff) != 0 || ip[8] == 0) return 0;
  if (fold(add(ip, IP_HEADER)) != 0xffff || ip[16] >= 224) return 0;
  if (address_of(ip + 12) >> 8 != expected.remote) return 0;
  return address_of(ip + 16) >> 8 == expected.local;
}

static uint64_t pseudo_sum(const uint8_t *ip, size_t bytes) {
  uint8_t rest[4] = {0, ip[9], (uint8_t)(bytes >> 8), (uint8_t)bytes};
  return add(ip + 12, 8) + add(rest, 4);
}

static int is_intact(const uint8_t *ip, size_t bytes) {
  const uint8_t *tcp = ip + IP_HEADER;
  size_t own = bytes - IP_HEADER;
  return ip[9] == 6 && own >= 20 && fold(pseudo_sum(ip, own) + add(tcp, own)) == 0xffff;
}

// Whether b continues a flow whose first segment is a: same but for length, id, sequence, checksum.
static int continues(const uint8_t *a, const uint8_t *b, size_t header, uint32_t sequence) {
  const uint8_t *x = a + IP_HEADER, *y = b + IP_HEADER;
  if (memcmp(a, b, 2) != 0 || memcmp(a + 6, b + 6, 4) != 0 || memcmp(a + 12, b + 12, 8) != 0)
    return 0;
  if (memcmp(x, y, 4) != 0 || memcmp(x + 8, y + 8, 5) != 0 || memcmp(x + 14, y + 14, 2) != 0)
    return 0;
  if (((x[13] ^ y[13]) & 0x76) != 0 || address_of(y + 4) != sequence) return 0;
  return memcmp(x + 20, y + 20, header - IP_HEADER - 20) == 0;
}

static void store_le16(uint8_t *at, size_t value) {
  at[0] = (uint8_t)value;
  at[1] = (uint8_t)(value >> 8);
}

static void write_headers(uint8_t *ip, size_t header, size_t bytes, size_t size, uint8_t flags) {
  uint8_t *tcp = ip + IP_HEADER, *vnet = ip - VNET;
  store_be16(ip + 2, (uint32_t)bytes);
  memset(ip + 10, 0, 2);
  uint16_t sum = (uint16_t)~fold(add(ip, IP_HEADER));
  memcpy(ip + 10, &sum, sizeof sum);
  tcp[13] |= flags;
  uint16_t pseudo = (uint16_t)fold(pseudo_sum(ip, bytes - IP_HEADER));
  memcpy(tcp + 16, &pseudo, sizeof pseudo);
  vnet[0] = 1, vnet[1] = 1;
  store_le16(vnet + 2, header), store_le16(vnet + 4, size);
  store_le16(vnet + 6, IP_HEADER), store_le16(vnet + 8, 16);
}

static void fail_join(void) {
  fprintf(stderr, "tunnel: the segments cannot be joined\n");
  exit(1);
}

static void work_join(void) {
  const uint8_t *at = input + sizeof expected, *end = input + input_length;
  const uint8_t *first = at + OUTER;
  size_t header = IP_HEADER + 4 * (size_t)(first[IP_HEADER + 12] >> 4), total = header, size = 0;
  uint8_t *ip = output + VNET, flags = 0;
  uint32_t sequence = address_of(first + IP_HEADER + 4);
  memcpy(ip, first, header);
  for (; at < end; at += length) {
    size_t bytes = (size_t)(end - at) < length ? (size_t)(end - at) : length;
    const uint8_t *own = at + OUTER;
    bytes -= OUTER;
    if (decap_vxlan(at) != OUTER || !is_welcome(own, bytes) || !is_intact(own, bytes)) fail_join();
    if (!continues(first, own, header, sequence)) fail_join();
    size_t payload = bytes - header;
    if (total + payload > PAYLOAD_MAX) fail_join();
    memcpy(ip + total, own + header, payload);
    if (size == 0) size = payload;
    total += payload, sequence += (uint32_t)payload, flags |= own[IP_HEADER + 13];
  }
  write_headers(ip, header, total, size, flags & 9);
  output_length = VNET + total;
}

// -------------------------------------------------------------------------------------------------

static void read_expected(void) {
  if (input_length < sizeof expected) exit(2);
  memcpy(&expected, input, sizeof expected);
}

static double run_decap(char **argv, void (*work)(void)) {
  read_expected();
  length = (size_t)atoi(argv[2]), stride = (size_t)atoi(argv[3]);
  count = (input_length - sizeof expected) / stride;
  return measure(work, (double)count);
}

static double run(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "encap") == 0) {
    stride = (size_t)atoi(argv[2]), count = (size_t)atoi(argv[3]);
    return run_encap();
  }
  if (argc == 4 && strcmp(argv[1], "vxlan") == 0) return run_decap(argv, work_vxlan);
  if (argc == 4 && strcmp(argv[1], "geneve") == 0) return run_decap(argv, work_geneve);
  if (argc == 3 && strcmp(argv[1], "join") == 0) {
    read_expected();
    length = (size_t)atoi(argv[2]);
    size_t all = input_length - sizeof expected;
    return measure(work_join, (double)((all + length - 1) / length));
  }
  fprintf(stderr, "tunnel: see the top of its source for usage\n");
  exit(2);
}

int main(int argc, char **argv) { return run_twin(run, argc, argv); }
