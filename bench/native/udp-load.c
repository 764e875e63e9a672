// UDP load of its own: a sender by sendmmsg, flooding or paced evenly, and a sink that counts.
//   udp-load send ADDRESS PORT SIZE SECONDS RATE     RATE packets/s, 0 = as fast as it goes
//   udp-load sink ADDRESS PORT                       says "ready", counts until SIGTERM and quiet
// Each prints one JSON line. IPv4 only.
#define _GNU_SOURCE
#define PROGRAM "udp-load"
#include "program.h"

#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum {
  BATCH = 64,
  BURST = 16,     // most packets that a paced sender sends at once
  PATIENCE = 3,   // times the planned length after which a paced sender gives up
  SIZE_MAX_UDP = 9000,
  BUFFER_BYTES = 32 << 20,
  QUIET_MS = 300
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int open_socket(int buffer_option) {
  int bytes = BUFFER_BYTES;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (setsockopt(fd, SOL_SOCKET, buffer_option, &bytes, sizeof bytes) != 0) fail("buffer");
  return fd;
}

// A path may refuse for a moment (full queue, nobody listening yet): that is loss, not an error.
static uint64_t send_some(int fd, struct mmsghdr *messages, unsigned count) {
  int sent = sendmmsg(fd, messages, count, 0);
  if (sent >= 0) return (uint64_t)sent;
  if (errno == ENOBUFS || errno == ECONNREFUSED || errno == EAGAIN || errno == EINTR) return 0;
  fail("sendmmsg");
  return 0;
}

static int run_send(char **argv) {
  static uint8_t payload[SIZE_MAX_UDP];
  struct sockaddr_in name = name_of(argv[0], argv[1]);
  struct iovec vector = {payload, (size_t)atoi(argv[2])};
  struct mmsghdr messages[BATCH];
  double rate = atof(argv[4]);
  int fd = open_socket(SO_SNDBUFFORCE);
  if (vector.iov_len > SIZE_MAX_UDP) vector.iov_len = SIZE_MAX_UDP;
  if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0) fail("connect");
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    messages[i].msg_hdr.msg_iov = &vector;
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  double seconds = atof(argv[3]);
  uint64_t start = now_ns(), length = (uint64_t)(seconds * 1e9), now, sent = 0;
  // A paced flow has a fixed count of packets. After a pause of the sender it goes on at its rate
  // and ends later: catching up would be a burst that nobody asked for.
  uint64_t wanted = rate > 0 ? (uint64_t)(rate * seconds) : UINT64_MAX;
  uint64_t began = start;
  while ((now = now_ns()) - began < length * (rate > 0 ? PATIENCE : 1) && sent < wanted) {
    uint64_t due = BATCH;
    if (rate > 0) {
      uint64_t planned = (uint64_t)((double)(now - start) * rate / 1e9);
      due = planned > sent ? planned - sent : 0;
      if (due > BURST) start += (uint64_t)((double)(due - BURST) / rate * 1e9), due = BURST;
    }
    if (due > 0) sent += send_some(fd, messages, (unsigned)due);
  }
  printf("{\"sent\":%llu}\n", (unsigned long long)sent);
  return 0;
}

static volatile sig_atomic_t is_asked_to_end;

static void ask_to_end(int number) {
  (void)number;
  is_asked_to_end = 1;
}

static int run_sink(char **argv) {
  static uint8_t buffers[BATCH][2048];
  struct sockaddr_in name = name_of(argv[0], argv[1]);
  struct iovec vectors[BATCH];
  struct mmsghdr messages[BATCH];
  int fd = open_socket(SO_RCVBUFFORCE);
  if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0) fail("bind");
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){buffers[i], sizeof buffers[i]};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  signal(SIGTERM, ask_to_end);
  printf("ready\n");
  fflush(stdout);
  uint64_t packets = 0, first = 0, last = 0;
  struct pollfd polled = {.fd = fd, .events = POLLIN};
  for (;;) {
    int got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (got > 0) {
      last = now_ns();
      if (packets == 0) first = last;
      packets += (uint64_t)got;
      continue;
    }
    // Ends only after a pause: what is still on its way counts too.
    if (poll(&polled, 1, QUIET_MS) == 0 && is_asked_to_end) break;
  }
  printf("{\"packets\":%llu,\"seconds\":%.6f}\n", (unsigned long long)packets,
         (double)(last - first) / 1e9);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 7 && strcmp(argv[1], "send") == 0) return run_send(argv + 2);
  if (argc == 4 && strcmp(argv[1], "sink") == 0) return run_sink(argv + 2);
  fprintf(stderr, "udp-load: see the top of its source for usage\n");
  return 2;
}
