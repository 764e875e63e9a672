// Sends ready super-packets as VXLAN by one way, or says what arrives at a UDP socket.
//   tunnel-gso send ready|cut|whole LOCAL REMOTE SECONDS [TAP MAC]    CPU seconds per 10^9 bytes
//     ready: datagrams cut before; cut: cut for each send; whole: the kernel cuts
//   tunnel-gso look LOCAL gro|plain SECONDS
//   tunnel-gso probe                                                  which device takes a frame
#include "tunnel-gso.h"

#include <poll.h>

enum { SIZE = 1398, SEGMENTS = 43, HEADER = IP_SIZE + 32, LENGTH = HEADER + SIZE * SEGMENTS };

static uint8_t buffer[ROOM + 65536], train[2 * 65536];
static uint8_t *const packet = buffer + ROOM;

// TCP with timestamps, its checksum as TUN gives it: the pseudo-header's sum.
static void make_packet(void) {
  static const uint8_t addresses[] = {10, 9, 1, 1, 10, 9, 2, 1};
  for (size_t i = 0; i < LENGTH; i++) packet[i] = (uint8_t)(i * 7 + (i >> 8));
  memset(packet, 0, HEADER);
  packet[0] = 0x45;
  packet[8] = 64;
  packet[9] = IPPROTO_TCP;
  memcpy(packet + 12, addresses, sizeof addresses);
  finish_ip(packet, LENGTH);
  uint8_t *tcp = packet + IP_SIZE;
  memcpy(tcp + 12, "\x80\x10\xff\xff\0\0\0\0\1\1\x08\x0a", 12);
  put_sum(tcp + TCP_CHECKSUM, fold(pseudo(packet, IPPROTO_TCP, LENGTH - IP_SIZE)));
}

static const struct vnet tso = {.type = GSO_TCP4, .size = SIZE, .offset = TCP_CHECKSUM};

static int send_all(char **words) {
  bool is_whole = strcmp(words[0], "whole") == 0, is_cut = strcmp(words[0], "cut") == 0;
  make_packet();
  struct tap tap = {.fd = -1};
  uint8_t *frame = NULL;
  int fd = -1;
  if (is_whole) tap = open_tap(words[4], words[5], words[1], words[2]);
  if (is_whole) frame = put_outer(&tap, packet, LENGTH, &tso);
  if (!is_whole) fd = open_socket(words[1], words[2], 0);
  size_t bytes = cut(packet, LENGTH, SIZE, train), frame_length = packet + LENGTH - frame;
  struct timespec second = {1, 0};
  nanosleep(&second, NULL);  // a TAP is up some time after it is open
  double begin = clock_s(CLOCK_MONOTONIC), used = clock_s(CLOCK_PROCESS_CPUTIME_ID);
  double end = begin + atof(words[3]), now = begin;
  size_t sent = 0, failed = 0;
  for (; now < end; sent++, now = clock_s(CLOCK_MONOTONIC)) {
    if (is_cut) cut(packet, LENGTH, SIZE, train);
    bool is_sent = is_whole ? write(tap.fd, frame, frame_length) >= 0
                            : send_train(fd, train, bytes, VXLAN_SIZE + HEADER + SIZE);
    if (!is_sent) failed++;
  }
  used = clock_s(CLOCK_PROCESS_CPUTIME_ID) - used;
  double gigabytes = (double)(sent - failed) * (double)bytes * 1e-9;
  printf("%.4f %.3f %zu\n", used / gigabytes, gigabytes * 8 / (now - begin), failed);
  return 0;
}

static const char *checksum_of(const uint8_t *ip) {
  size_t length = ((size_t)ip[2] << 8 | ip[3]) - IP_SIZE;
  uint64_t header = pseudo(ip, ip[9], length);
  uint16_t field;
  memcpy(&field, ip + IP_SIZE + TCP_CHECKSUM, sizeof field);
  if (fold(header + sum(ip + IP_SIZE, length)) == 0xffff) return "right";
  return field == fold(header) ? "unfinished" : "wrong";
}

static int look(char **words) {
  static uint8_t datagram[65536];
  int fd = open_socket(words[0], NULL, strcmp(words[1], "gro") == 0);
  double end = clock_s(CLOCK_MONOTONIC) + atof(words[2]);
  struct pollfd poller = {.fd = fd, .events = POLLIN};
  size_t count = 0;
  while (clock_s(CLOCK_MONOTONIC) < end) {
    uint8_t control[64];
    struct iovec vector = {datagram, sizeof datagram};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    if (poll(&poller, 1, 50) <= 0) continue;
    ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
    if (length < VXLAN_SIZE + HEADER || count++ > 0) continue;
    int segment = 0;
    struct cmsghdr *told = CMSG_FIRSTHDR(&message);
    if (told != NULL) memcpy(&segment, CMSG_DATA(told), sizeof segment);
    printf("%zd bytes, segment size %d, inner checksum %s", length, segment,
           checksum_of(datagram + VXLAN_SIZE));
  }
  printf("; %zu reads\n", count);
  return 0;
}

static int probe(void) {
  static const struct {
    const char *name;
    int flags;
  } kinds[] = {{"TUN", IFF_TUN}, {"TAP", IFF_TAP}};
  unsigned long tunnel = TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM;
  for (size_t i = 0; i < 2; i++) {
    make_packet();
    int fd = open_device("probe%d", kinds[i].flags, sizeof(struct tunnel_vnet), tunnel);
    struct tap tap = {.fd = fd, .local = htonl(0x0a070001), .remote = htonl(0x0a070002)};
    uint8_t *frame = put_outer(&tap, packet, LENGTH, &tso), *end = packet + LENGTH;
    if (kinds[i].flags == IFF_TUN) {  // no Ethernet header: everything 14 bytes earlier
      struct tunnel_vnet *header = (struct tunnel_vnet *)frame;
      header->outer_transport -= ETH_HLEN;
      header->inner_network -= ETH_HLEN;
      header->plain.start -= ETH_HLEN;
      header->plain.header -= ETH_HLEN;
      memmove(frame + sizeof *header, frame + sizeof *header + ETH_HLEN,
              (size_t)(end - frame) - sizeof *header - ETH_HLEN);
      end -= ETH_HLEN;
    }
    bool granted = fd >= 0;
    // A device that is down refuses with EIO, behind the checks of the header.
    int error = granted && write(fd, frame, (size_t)(end - frame)) < 0 ? errno : 0;
    printf("%s: offload %s, frame %s\n", kinds[i].name, granted ? "granted" : "refused",
           error == EINVAL ? "refused" : "taken");
  }
  return 0;
}

int main(int count, char **words) {
  if (count >= 6 && strcmp(words[1], "send") == 0) return send_all(words + 2);
  if (count == 5 && strcmp(words[1], "look") == 0) return look(words + 2);
  if (count == 2 && strcmp(words[1], "probe") == 0) return probe();
  fprintf(stderr, "usage: see the top of tunnel-gso.c\n");
  return 2;
}
