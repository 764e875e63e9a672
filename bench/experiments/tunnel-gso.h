// VXLAN out of inner TCP super-packets, two ways: cut here into datagrams for one UDP_SEGMENT send,
// or left whole and written to a TAP with TUN_F_UDP_TUNNEL_GSO, for the kernel to cut. IPv4 only.
#ifndef EXPERIMENTS_TUNNEL_GSO_H
#define EXPERIMENTS_TUNNEL_GSO_H
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_ether.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "offloads.h"

#ifndef TUN_F_UDP_TUNNEL_GSO  // Linux 6.17
#define TUN_F_UDP_TUNNEL_GSO 0x080
#define TUN_F_UDP_TUNNEL_GSO_CSUM 0x100
#endif

enum {
  PORT = 4789,
  SEND_MAX = 65487,
  SEGMENTS_MAX = 64,
  IP_SIZE = 20,
  UDP_SIZE = 8,
  VXLAN_SIZE = 8 + ETH_HLEN,  // with the inner Ethernet header
  OUTER_SIZE = ETH_HLEN + IP_SIZE + UDP_SIZE + VXLAN_SIZE,
  ROOM = 128,  // free before an inner packet
  TCP_FLAGS = 13,
  TCP_CHECKSUM = 16,
};
enum { NEEDS_CHECKSUM = 1, TUNNEL_CHECKSUM = 8 };               // flags of a vnet header
enum { GSO_TCP4 = 1, GSO_TUNNEL4 = 0x20, GSO_ECN = 0x80 };      // its gso_type

// struct virtio_net_hdr; everything little-endian, as this machine is.
struct vnet {
  uint8_t flags, type;
  uint16_t header, size, start, offset;
} __attribute__((packed));

// struct virtio_net_hdr_v1_hash_tunnel. Both offsets count from the Ethernet header: the kernel
// takes no frame whose outer transport begins before byte 34, so a TUN without Ethernet cannot.
struct tunnel_vnet {
  struct vnet plain;
  uint16_t buffers, hash[3], padding, outer_transport, inner_network;
} __attribute__((packed));
_Static_assert(sizeof(struct vnet) == 10 && sizeof(struct tunnel_vnet) == 24, "as the kernel's");

struct tap {
  int fd;
  uint8_t mac[ETH_ALEN];
  uint32_t local, remote;
};

static inline void fail(const char *what) {
  fprintf(stderr, "tunnel-gso: %s: %s\n", what, strerror(errno));
  exit(1);
}

static inline double clock_s(clockid_t which) {
  struct timespec now;
  clock_gettime(which, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static inline uint64_t sum(const uint8_t *at, size_t length) {
  uint64_t total = 0;
  for (; length >= 4; at += 4, length -= 4) {
    uint32_t word;
    memcpy(&word, at, 4);
    total += word;
  }
  uint32_t rest = 0;
  memcpy(&rest, at, length);
  return total + rest;
}

static inline uint16_t fold(uint64_t total) {
  while (total >> 16) total = (total & 0xffff) + (total >> 16);
  return (uint16_t)total;
}

static inline void put16(uint8_t *at, size_t value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static inline void put_sum(uint8_t *at, uint16_t value) { memcpy(at, &value, sizeof value); }

static inline uint64_t pseudo(const uint8_t *ip, uint8_t protocol, size_t length) {
  return sum(ip + 12, 8) + htons(protocol) + htons((uint16_t)length);
}

static inline void finish_ip(uint8_t *ip, size_t length) {
  put16(ip + 2, length);
  put_sum(ip + 10, 0);
  put_sum(ip + 10, (uint16_t)~fold(sum(ip, IP_SIZE)));
}

static inline size_t tcp_header(const uint8_t *ip) {
  return IP_SIZE + (size_t)(ip[IP_SIZE + 12] >> 4) * 4;
}

static inline uint32_t sequence(const uint8_t *ip) {
  uint32_t value;
  memcpy(&value, ip + IP_SIZE + 4, sizeof value);
  return ntohl(value);
}

static inline void put_vxlan(uint8_t *at) {
  static const uint8_t header[VXLAN_SIZE] = {8, 0, 0, 0, 0, 0, 42, 0, 2, 0, 0, 0, 0, 2,
                                             2, 0, 0, 0, 0, 1, 8, 0};
  memcpy(at, header, sizeof header);
}

// Cuts a super-packet into datagrams at `out`, headers and checksums finished. Returns their bytes.
static inline size_t cut(const uint8_t *ip, size_t length, size_t size, uint8_t *out) {
  size_t header = tcp_header(ip), id = (size_t)ip[4] << 8 | ip[5];
  uint8_t *at = out;
  for (size_t done = 0; done < length - header; done += size) {
    size_t payload = length - header - done < size ? length - header - done : size;
    bool is_last = done + payload == length - header;
    uint8_t *packet = at + VXLAN_SIZE, *tcp = packet + IP_SIZE;
    uint32_t next = htonl(sequence(ip) + (uint32_t)done);
    put_vxlan(at);
    memcpy(packet, ip, header);
    memcpy(packet + header, ip + header + done, payload);
    put16(packet + 4, id++);
    finish_ip(packet, header + payload);
    memcpy(tcp + 4, &next, sizeof next);
    if (!is_last) tcp[TCP_FLAGS] &= (uint8_t)~0x09;
    if (done > 0) tcp[TCP_FLAGS] &= 0x7f;
    put_sum(tcp + TCP_CHECKSUM, 0);
    size_t covered = header - IP_SIZE + payload;
    put_sum(tcp + TCP_CHECKSUM, (uint16_t)~fold(sum(tcp, covered) + pseudo(packet, 6, covered)));
    at = packet + header + payload;
  }
  return (size_t)(at - out);
}

// Sends datagrams of `stride` bytes, as many at once as a send carries.
static inline bool send_train(int fd, uint8_t *at, size_t length, size_t stride) {
  union {
    struct cmsghdr head;
    uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
  } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(uint16_t)),
                        .cmsg_level = SOL_UDP,
                        .cmsg_type = UDP_SEGMENT}};
  uint16_t segment = (uint16_t)stride;
  memcpy(CMSG_DATA(&control.head), &segment, sizeof segment);
  size_t most = SEND_MAX / stride < SEGMENTS_MAX ? SEND_MAX / stride : SEGMENTS_MAX;
  bool is_sent = true;
  for (size_t done = 0; done < length; done += most * stride) {
    size_t bytes = length - done < most * stride ? length - done : most * stride;
    struct iovec vector = {at + done, bytes};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (bytes > stride) message.msg_control = &control;
    if (bytes > stride) message.msg_controllen = sizeof control;
    if (sendmsg(fd, &message, 0) < 0) is_sent = false;
  }
  return is_sent;
}

// Puts the outer headers before a super-packet whose TCP checksum is unfinished (OUTER_SIZE and a
// vnet header must be free there). Returns where the frame begins, its vnet header included.
static inline uint8_t *put_outer(const struct tap *tap, uint8_t *ip, size_t length,
                                 const struct vnet *inner) {
  static const uint8_t own[ETH_ALEN] = {2, 0, 0, 0, 0, 3};
  uint8_t *udp = ip - VXLAN_SIZE - UDP_SIZE, *outer = udp - IP_SIZE, *ethernet = outer - ETH_HLEN;
  size_t datagram = UDP_SIZE + VXLAN_SIZE + length;
  put_vxlan(ip - VXLAN_SIZE);
  memcpy(ethernet, tap->mac, ETH_ALEN);
  memcpy(ethernet + ETH_ALEN, own, ETH_ALEN);
  put16(ethernet + 12, ETH_P_IP);
  memset(outer, 0, IP_SIZE);
  outer[0] = 0x45;
  outer[6] = 0x40;
  outer[8] = 64;
  outer[9] = IPPROTO_UDP;
  memcpy(outer + 12, &tap->local, 4);
  memcpy(outer + 16, &tap->remote, 4);
  finish_ip(outer, IP_SIZE + datagram);
  put16(udp, PORT);
  put16(udp + 2, PORT);
  put16(udp + 4, datagram);
  put_sum(udp + 6, fold(pseudo(outer, IPPROTO_UDP, datagram)));
  struct tunnel_vnet header = {.plain = *inner,
                               .outer_transport = ETH_HLEN + IP_SIZE,
                               .inner_network = OUTER_SIZE};
  header.plain.flags = NEEDS_CHECKSUM | TUNNEL_CHECKSUM;
  header.plain.type |= GSO_TUNNEL4;
  header.plain.start = (uint16_t)(OUTER_SIZE + IP_SIZE);
  header.plain.header = (uint16_t)(OUTER_SIZE + tcp_header(ip));
  memcpy(ethernet - sizeof header, &header, sizeof header);
  return ethernet - sizeof header;
}

// A queue of a device; `flags` IFF_TUN or IFF_TAP. -1 where the kernel refuses the offloads.
static inline int open_device(const char *name, int flags, int header, unsigned long more) {
  struct ifreq request = {.ifr_flags = (short)(flags | IFF_NO_PI | IFF_VNET_HDR)};
  unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | more;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) fail(name);
  if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0) fail("TUNSETVNETHDRSZ");
  return ioctl(fd, TUNSETOFFLOAD, offloads) < 0 ? -1 : fd;
}

static inline struct tap open_tap(const char *name, const char *mac, const char *local,
                                  const char *remote) {
  struct tap tap = {.local = inet_addr(local), .remote = inet_addr(remote)};
  uint8_t *m = tap.mac;
  sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4, m + 5);
  unsigned long tunnel = TUN_F_UDP_TUNNEL_GSO | TUN_F_UDP_TUNNEL_GSO_CSUM;
  tap.fd = open_device(name, IFF_TAP, sizeof(struct tunnel_vnet), tunnel);
  if (tap.fd < 0) fail("TUN_F_UDP_TUNNEL_GSO (Linux 6.17)");
  return tap;
}

// A socket with UDP_GRO where asked for; `remote` NULL leaves it unconnected.
static inline int open_socket(const char *local, const char *remote, int gro) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), buffer = 16 << 20;
  name.sin_addr.s_addr = inet_addr(local);
  if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) < 0) fail(local);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  setsockopt(fd, SOL_UDP, UDP_GRO, &gro, sizeof gro);
  if (remote == NULL) return fd;
  name.sin_addr.s_addr = inet_addr(remote);
  if (connect(fd, (struct sockaddr *)&name, sizeof name) < 0) fail(remote);
  return fd;
}
#endif
