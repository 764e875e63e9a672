// The plainest user-space tunnel, as flannel's udp backend has it: one thread, one poll loop, one
// packet per system call, no offloads, no header of its own. What meshd's latency is compared with.
//   proxy DEVICE ADDRESS PORT PEER     IPv4; the peer listens on the same port
// Says "ready" once DEVICE is there; runs until it is killed.
#define _GNU_SOURCE
#define PROGRAM "proxy"
#include "program.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PACKET_MAX = 65536 };

static int open_tun(const char *device) {
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail("/dev/net/tun");
  if (strlen(device) >= sizeof request.ifr_name) {
    errno = ENAMETOOLONG;
    fail(device);
  }
  strcpy(request.ifr_name, device);
  if (ioctl(fd, TUNSETIFF, &request) != 0) fail(device);
  return fd;
}

static int open_socket(const struct sockaddr_in *own) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (bind(fd, (const struct sockaddr *)own, sizeof *own) != 0) fail("bind");
  return fd;
}

static uint8_t packet[PACKET_MAX];

// Moves one packet; 0 when there was none. One that the other side refuses is lost, as on any wire.
static int tun_to_socket(int tun, int udp, const struct sockaddr_in *peer) {
  ssize_t length = read(tun, packet, sizeof packet);
  if (length <= 0) return 0;
  (void)sendto(udp, packet, (size_t)length, 0, (const struct sockaddr *)peer, sizeof *peer);
  return 1;
}

static int socket_to_tun(int udp, int tun, const struct sockaddr_in *peer) {
  struct sockaddr_in from;
  socklen_t size = sizeof from;
  ssize_t length = recvfrom(udp, packet, sizeof packet, 0, (struct sockaddr *)&from, &size);
  if (length <= 0) return 0;
  if (from.sin_addr.s_addr != peer->sin_addr.s_addr) return 1;
  return write(tun, packet, (size_t)length) != 0;
}

static void run(int tun, int udp, const struct sockaddr_in *peer) {
  struct pollfd polled[] = {{.fd = tun, .events = POLLIN}, {.fd = udp, .events = POLLIN}};
  for (;;) {
    if (poll(polled, 2, -1) < 0 && errno != EINTR) fail("poll");
    if (polled[0].revents & (POLLERR | POLLNVAL)) fail("device is gone");
    // In turn until neither has one: a busy direction must not starve the other.
    while (tun_to_socket(tun, udp, peer) | socket_to_tun(udp, tun, peer)) continue;
  }
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "proxy: see the top of its source for usage\n");
    return 2;
  }
  struct sockaddr_in own = name_of(argv[2], argv[3]), peer = name_of(argv[4], argv[3]);
  int udp = open_socket(&own), tun = open_tun(argv[1]);
  printf("ready\n");
  fflush(stdout);
  run(tun, udp, &peer);
  return 0;
}
