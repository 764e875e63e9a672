// A tunnel in small, one thread a direction, with offloads: TCP by either way of tunnel-gso.h.
//   tunnel-gso-proxy cut|whole TUN LOCAL REMOTE [TAP MAC]      runs until it is killed
// The receiving side takes what either way brings: trains and single datagrams, which it verifies
// and joins, and whole super-packets, whose checksum is unfinished.
#include "tunnel-gso.h"

#include <pthread.h>

enum { BATCH = 8, JOINED_MAX = 64000, WHOLE_MIN = 9000 };

static int tun, udp;
static bool is_whole;
static struct tap tap;

// --- TUN to wire -------------------------------------------------------------------------

static void send_single(uint8_t *ip, size_t length, const struct vnet *told) {
  if (told->flags & NEEDS_CHECKSUM) {
    uint16_t field = (uint16_t)~fold(sum(ip + told->start, length - told->start));
    put_sum(ip + told->start + told->offset, field == 0 ? 0xffff : field);
  }
  put_vxlan(ip - VXLAN_SIZE);
  if (send(udp, ip - VXLAN_SIZE, VXLAN_SIZE + length, 0) < 0) perror("send");
}

static void send_super(uint8_t *ip, size_t length, const struct vnet *told) {
  static uint8_t train[4 * 65536];
  if (is_whole) {
    uint8_t *frame = put_outer(&tap, ip, length, told);
    if (write(tap.fd, frame, (size_t)(ip + length - frame)) < 0) perror("write to the TAP");
    return;
  }
  size_t bytes = cut(ip, length, told->size, train);
  if (!send_train(udp, train, bytes, VXLAN_SIZE + tcp_header(ip) + told->size)) perror("sendmsg");
}

static void *to_wire(void *nothing) {
  static uint8_t buffer[ROOM + 65536 + sizeof(struct vnet)];
  for (;;) {
    uint8_t *at = buffer + ROOM, *ip = at + sizeof(struct vnet);
    ssize_t got = read(tun, at, sizeof buffer - ROOM);
    if (got < 0) fail("read from TUN");
    if ((size_t)got < sizeof(struct vnet) + 2 * IP_SIZE || ip[0] != 0x45) continue;
    struct vnet told;
    memcpy(&told, at, sizeof told);
    size_t length = (size_t)got - sizeof told;
    bool is_super = (told.type & ~GSO_ECN) == GSO_TCP4 && length > tcp_header(ip) + told.size;
    if (is_super) send_super(ip, length, &told);
    else send_single(ip, length, &told);
  }
  return nothing;
}

// --- wire to TUN -------------------------------------------------------------------------

static void write_tun(uint8_t *ip, size_t length, const struct vnet *header) {
  memcpy(ip - sizeof *header, header, sizeof *header);
  if (write(tun, ip - sizeof *header, sizeof *header + length) < 0) perror("write to TUN");
}

static struct vnet super_header(size_t header, size_t size) {
  return (struct vnet){.flags = NEEDS_CHECKSUM,
                       .type = size > 0 ? GSO_TCP4 : 0,
                       .header = (uint16_t)header,
                       .size = (uint16_t)size,
                       .start = IP_SIZE,
                       .offset = TCP_CHECKSUM};
}

static bool is_verified(const uint8_t *ip, size_t length) {
  size_t covered = length - IP_SIZE;
  uint64_t header = pseudo(ip, IPPROTO_TCP, covered);
  uint16_t field;
  memcpy(&field, ip + IP_SIZE + TCP_CHECKSUM, sizeof field);
  if (is_whole && field == fold(header)) return true;  // left to a card
  return fold(header + sum(ip + IP_SIZE, covered)) == 0xffff;
}

static uint8_t joined[ROOM + 65536];
static size_t held, held_size;  // bytes joined so far; payload of the first segment

static void flush(void) {
  uint8_t *ip = joined + ROOM;
  if (held == 0) return;
  size_t header = tcp_header(ip);
  struct vnet told = super_header(header, held - header > held_size ? held_size : 0);
  finish_ip(ip, held);
  put_sum(ip + IP_SIZE + TCP_CHECKSUM, fold(pseudo(ip, IPPROTO_TCP, held - IP_SIZE)));
  write_tun(ip, held, &told);
  held = 0;
}

// Whether the segment goes on where the joined ones end, with ports, acknowledgement and options.
static bool follows(const uint8_t *ip, size_t header, size_t payload) {
  const uint8_t *first = joined + ROOM;
  return held > 0 && held + payload <= JOINED_MAX && payload <= held_size &&
         memcmp(ip + 12, first + 12, 12) == 0 && memcmp(ip + 28, first + 28, 4) == 0 &&
         memcmp(ip + 40, first + 40, header - 40) == 0 &&
         sequence(ip) == sequence(first) + (uint32_t)(held - header);
}

static void take(uint8_t *ip, size_t length) {
  static const struct vnet nothing;
  size_t header = ip[9] == IPPROTO_TCP ? tcp_header(ip) : length;
  if (length <= header || !is_verified(ip, length)) {
    flush();
    write_tun(ip, length, &nothing);
    return;
  }
  size_t payload = length - header;
  uint8_t *first = joined + ROOM;
  if (!follows(ip, header, payload)) {
    flush();
    memcpy(first, ip, length);
    held = length;
    held_size = payload;
  } else {
    memcpy(first + held, ip + header, payload);
    first[IP_SIZE + TCP_FLAGS] |= ip[IP_SIZE + TCP_FLAGS];
    held += payload;
  }
  if (payload < held_size) flush();
}

static void take_message(uint8_t *at, size_t length, size_t segment) {
  uint8_t *ip = at + VXLAN_SIZE;
  if (segment == 0 && length > WHOLE_MIN) {
    // Nobody says the sender's segment size. The tunnel's MTU is a guess, right in this room only.
    struct vnet told = super_header(tcp_header(ip), 1450 - tcp_header(ip));
    flush();
    write_tun(ip, length - VXLAN_SIZE, &told);
    return;
  }
  size_t step = segment == 0 ? length : segment;
  for (size_t done = 0; done < length; done += step) {
    take(ip + done, (length - done < step ? length - done : step) - VXLAN_SIZE);
  }
}

static void to_tun(void) {
  static uint8_t slots[BATCH][ROOM + 65536];
  static uint8_t controls[BATCH][64];
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  for (;;) {
    for (size_t i = 0; i < BATCH; i++) {
      vectors[i] = (struct iovec){slots[i] + ROOM, 65536};
      messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i],
                                            .msg_iovlen = 1,
                                            .msg_control = controls[i],
                                            .msg_controllen = sizeof controls[i]};
    }
    int got = recvmmsg(udp, messages, BATCH, MSG_WAITFORONE, NULL);
    for (int i = 0; i < got; i++) {
      int segment = 0;
      struct cmsghdr *told = CMSG_FIRSTHDR(&messages[i].msg_hdr);
      if (told != NULL) memcpy(&segment, CMSG_DATA(told), sizeof segment);
      take_message(slots[i] + ROOM, messages[i].msg_len, (size_t)segment);
    }
    flush();
  }
}

int main(int count, char **words) {
  pthread_t thread;
  if (count < 5) {
    fprintf(stderr, "usage: tunnel-gso-proxy cut|whole TUN LOCAL REMOTE [TAP MAC]\n");
    return 2;
  }
  is_whole = strcmp(words[1], "whole") == 0;
  if (is_whole && count < 7) return 2;
  tun = open_device(words[2], IFF_TUN, sizeof(struct vnet), 0);
  udp = open_socket(words[3], words[4], 1);
  if (is_whole) tap = open_tap(words[5], words[6], words[3], words[4]);
  if (pthread_create(&thread, NULL, to_wire, NULL) != 0) fail("pthread_create");
  to_tun();
  return 0;
}
