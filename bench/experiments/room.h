// What the experiments measure in: two new network namespaces joined by a veth pair, a TUN device
// in the first, and clocks. Everything ends with the process.
#ifndef EXPERIMENTS_ROOM_H
#define EXPERIMENTS_ROOM_H
#include <sched.h>
#include <stdarg.h>
#include <linux/fs.h>
#include <sys/uio.h>

#include "offloads.h"
#include "uring.h"

enum { PORT = 7000, SLOT = 65536 + 1024, SLOTS = 256, VNET = 10 };

static uint8_t *slots;  // SLOTS of SLOT bytes
static uint8_t *slot_at(size_t index) { return slots + (index % SLOTS) * SLOT; }

static inline void command(const char *format, ...) {
  char line[256];
  va_list values;
  va_start(values, format);
  vsnprintf(line, sizeof line, format, values);
  va_end(values);
  if (system(line) != 0) {
    fprintf(stderr, "failed: %s\n", line);
    exit(1);
  }
}

static inline uint64_t cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int other_space = -1, own_space = -1;

#define NO_OFFLOADS "tx off gso off tso off gro off tx-udp-segmentation off >/dev/null"

static inline int new_space(void) {
  if (unshare(CLONE_NEWNET) < 0) stop("unshare (needs root)");
  return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

// 10.1.0.1 on veth "here" of our namespace, 10.1.0.2 on "there" of the other one. `plain`: without
// segmentation, GRO and checksum offload, nearest to a wire. 10.1.0.3 is nobody: its packets are
// dropped by the other side's first look at their MAC.
static inline void make_veth(bool plain) {
  other_space = new_space();
  command("ip link add there type veth peer name here && ip address add 10.1.0.2/24 dev there");
  if (plain) command("ethtool -K there " NO_OFFLOADS);
  own_space = new_space();
  if (setns(other_space, CLONE_NEWNET) < 0) stop("setns");
  command("ip link set here netns /proc/%d/fd/%d", getpid(), own_space);
  command("ip link set there up && ip link set lo up");
  if (setns(own_space, CLONE_NEWNET) < 0) stop("setns");
  command("ip address add 10.1.0.1/24 dev here && ip link set here up && ip link set lo up");
  if (plain) command("ethtool -K here " NO_OFFLOADS);
  command("ip neighbour add 10.1.0.3 lladdr 02:00:00:00:00:03 dev here");
}

static struct sockaddr_in name_of(const char *address) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, address, &name.sin_addr);
  return name;
}

static inline int open_udp(const char *bind_to, const char *connect_to, int segment) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = 64 << 20, on = 1;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  struct sockaddr_in name = name_of(bind_to == NULL ? connect_to : bind_to);
  if (bind_to != NULL && bind(fd, (struct sockaddr *)&name, sizeof name) < 0) stop("bind");
  if (bind_to != NULL) setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on);
  if (connect_to != NULL && connect(fd, (struct sockaddr *)&name, sizeof name) < 0) stop("connect");
  if (segment > 0) setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
  return fd;
}

static inline int open_udp_there(void) {
  if (setns(other_space, CLONE_NEWNET) < 0) stop("setns");
  int fd = open_udp("10.1.0.2", NULL, 0);
  if (setns(own_space, CLONE_NEWNET) < 0) stop("setns");
  return fd;
}

// As meshd opens it; 10.2.0.2 is behind it.
static inline int make_tun(void) {
  struct ifreq device = {.ifr_name = "tun",
                         .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), size = VNET;
  unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6;
  if (fd < 0 || ioctl(fd, TUNSETIFF, &device) < 0) stop("TUN");
  if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETOFFLOAD, offloads) < 0) stop("TUN");
  command("ip link set tun txqueuelen 4096 up && ip address add 10.2.0.1/24 dev tun");
  command("sysctl -qw net.ipv6.conf.tun.disable_ipv6=1");
  return fd;
}

// Sends `count` messages of `size` bytes on a connected socket.
static inline void send_many(int fd, int count, size_t size) {
  static struct mmsghdr messages[64];
  static uint8_t payload[65536];
  struct iovec vector = {payload, size};
  for (int i = 0; i < 64; i++) {
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vector, .msg_iovlen = 1};
  }
  for (int done = 0; done < count;) {
    int got = sendmmsg(fd, messages, (unsigned)(count - done < 64 ? count - done : 64), 0);
    if (got < 0) stop("sendmmsg");
    done += got;
  }
}

static inline uint16_t ip_sum(const uint16_t *words) {
  uint32_t sum = 0;
  for (int i = 0; i < 10; i++) sum += words[i];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

// A packet of `size` bytes as TUN takes it, UDP for 10.2.0.1. A socket with a small buffer waits
// for it there, so most are dropped at its door.
static inline void make_inner(uint8_t *at, size_t size) {
  memset(at, 0, size);
  uint8_t *ip = at + VNET;
  uint16_t total = (uint16_t)(size - VNET);
  ip[0] = 0x45, ip[2] = (uint8_t)(total >> 8), ip[3] = (uint8_t)total, ip[8] = 64, ip[9] = 17;
  memcpy(ip + 12, (uint8_t[]){10, 2, 0, 2, 10, 2, 0, 1}, 8);
  uint16_t sum = ip_sum((const uint16_t *)ip), length = (uint16_t)(total - 20);
  memcpy(ip + 10, &sum, 2);
  ip[20] = 9, ip[22] = PORT >> 8, ip[23] = PORT & 255;
  ip[24] = (uint8_t)(length >> 8), ip[25] = (uint8_t)length;
  if (size < 9000) return;
  at[1] = 5;  // VIRTIO_NET_HDR_GSO_UDP_L4 of 1400 bytes, checksum left to the kernel
  at[0] = 1, at[2] = 48, at[4] = 1400 & 255, at[5] = 1400 >> 8, at[6] = 20, at[8] = 6;
}

static inline int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static inline void print_row(const char *name, double *values, int count, double first) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  double median = values[count / 2];
  printf("  %-44s %8.0f  (%.0f - %.0f)  %5.2f\n", name, median, values[count / 10],
         values[count - 1 - count / 10], first > 0 ? median / first : 1.0);
}

static inline void open_slots(void) {
  slots = mmap(NULL, (size_t)SLOTS * SLOT, PROT_READ | PROT_WRITE,
               MAP_ANONYMOUS | MAP_SHARED | MAP_POPULATE, -1, 0);
  if (slots == MAP_FAILED) stop("slots");
}

#endif
