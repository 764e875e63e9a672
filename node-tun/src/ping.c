// Round-trip times by ICMP echo, RFC 792 and RFC 4443: one request at a time, as ping(8) does it.
// An answer's time is the kernel's time stamp, so that our own wake-up is not in it.
#include "load.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <unistd.h>

#ifndef ICMP_FILTER  // linux/icmp.h, which does not go with netinet/ip_icmp.h
#define ICMP_FILTER 1
#endif

enum { ANSWER_MS = 200, PAYLOAD = 56, ROOM = 512 };

// Both families have type, code, checksum, identifier and sequence number in the same places.
struct echo {
  uint8_t type, code;
  uint16_t checksum, identifier, sequence;
  uint8_t payload[PAYLOAD];
};

struct pinger {
  int fd;
  bool v4;
  uint16_t identifier;
};

static int64_t stamp_ns(const struct timespec *time) {
  return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static int64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return stamp_ns(&now);
}

// RFC 1071, over an even number of bytes.
static uint16_t checksum_of(const struct echo *echo) {
  uint16_t words[sizeof *echo / 2];
  uint32_t sum = 0;
  memcpy(words, echo, sizeof words);
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) sum += words[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static bool filter_answers(int fd, bool v4) {
  if (v4) {
    uint32_t blocked = ~(1u << ICMP_ECHOREPLY);
    return setsockopt(fd, SOL_RAW, ICMP_FILTER, &blocked, sizeof blocked) == 0;
  }
  struct icmp6_filter filter;
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
  return setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) == 0;
}

// A socket that hears `to` alone; -1 and errno.
static int open_pinger(const union address *from, const union address *to) {
  bool v4 = to->any.sa_family == AF_INET;
  int protocol = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, on = 1;
  int fd = socket(to->any.sa_family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) return -1;
  if (filter_answers(fd, v4) &&
      setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0 &&
      bind(fd, &from->any, address_length(from)) == 0 &&
      connect(fd, &to->any, address_length(to)) == 0) {
    return fd;
  }
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

static bool is_answer(const struct pinger *pinger, const uint8_t *bytes, size_t length,
                      uint16_t sequence) {
  size_t at = pinger->v4 && length > 0 ? (size_t)(bytes[0] & 15) * 4 : 0;  // RFC 791 section 3.1
  struct echo head;
  if (length < at + 8) return false;
  memcpy(&head, bytes + at, 8);
  return head.identifier == htons(pinger->identifier) && head.sequence == htons(sequence);
}

static int64_t arrival_ns(struct msghdr *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
    struct timespec time;
    memcpy(&time, CMSG_DATA(c), sizeof time);
    return stamp_ns(&time);
  }
  return clock_ns(CLOCK_REALTIME);
}

// When the answer came, or 0.
static int64_t wait_answer(const struct pinger *pinger, uint16_t sequence) {
  double end_us = load_now_us() + ANSWER_MS * 1e3;
  struct pollfd polled = {.fd = pinger->fd, .events = POLLIN};
  uint8_t bytes[ROOM], control[128];
  do {
    struct iovec vector = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t got = recvmsg(pinger->fd, &message, 0);
    if (got > 0 && is_answer(pinger, bytes, (size_t)got, sequence)) return arrival_ns(&message);
    if (got < 0) poll(&polled, 1, load_slice_ms(end_us));
  } while (load_now_us() < end_us);
  return 0;
}

// Nanoseconds, 0 = no answer. A clock that was set meanwhile gives no time either.
static uint32_t ping_once(const struct pinger *pinger, uint16_t sequence) {
  struct echo echo = {.type = pinger->v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST,
                      .identifier = htons(pinger->identifier),
                      .sequence = htons(sequence)};
  if (pinger->v4) echo.checksum = checksum_of(&echo);  // RFC 3542 3.1: the kernel does it for IPv6
  int64_t sent_ns = clock_ns(CLOCK_REALTIME);
  if (send(pinger->fd, &echo, sizeof echo, MSG_NOSIGNAL) != sizeof echo) return 0;
  int64_t answer_ns = wait_answer(pinger, sequence);
  int64_t took_ns = answer_ns - sent_ns;
  return answer_ns == 0 || took_ns <= 0 || took_ns > UINT32_MAX ? 0 : (uint32_t)took_ns;
}

static void ping_all(const struct pinger *pinger, uint32_t *times, size_t count,
                     double interval_us, double limit_us) {
  double began_us = load_now_us();
  for (size_t i = 0; i < count; i++) {
    double now_us = load_now_us(), due_us = began_us + (double)i * interval_us;
    if (now_us - began_us > limit_us) {
      memset(times + i, 0, (count - i) * sizeof *times);
      return;
    }
    if (due_us > now_us) usleep((useconds_t)(due_us - now_us));
    times[i] = ping_once(pinger, (uint16_t)i);
  }
}

// loadPing(family, source, address, times_ns, identifier, interval_us, timeout_us)
static napi_value load_ping(napi_env env, napi_callback_info info) {
  struct call call;
  union address from, to;
  char source[NAME_SIZE], target[NAME_SIZE];
  uint32_t family, identifier, *times;
  size_t count;
  double interval_us, timeout_us;
  if (!call_open(&call, env, info, 7) || !arg_u32(&call, 0, "family", &family)) return NULL;
  if (!arg_string(&call, 1, "source", source, sizeof source)) return NULL;
  if (!arg_string(&call, 2, "address", target, sizeof target)) return NULL;
  if (!arg_u32s(&call, 3, "times_ns", &times, &count)) return NULL;
  if (!arg_u32(&call, 4, "identifier", &identifier)) return NULL;
  if (!arg_load_time(&call, 5, "interval_us", &interval_us)) return NULL;
  if (!arg_load_time(&call, 6, "timeout_us", &timeout_us)) return NULL;
  bool is_family = family == 4 || family == 6;
  if (!is_family || parse_address(family, source, 0, &from) != 0 ||
      parse_address(family, target, 0, &to) != 0) {
    throw_type(env, "family, source and address", "4 or 6, and two addresses of it");
    return NULL;
  }
  int fd = open_pinger(&from, &to);
  if (fd < 0) return throw_system(env, errno, "socket", target);
  struct pinger pinger = {fd, family == 4, (uint16_t)identifier};
  ping_all(&pinger, times, count, interval_us, timeout_us);
  close(fd);
  return make_number(env, (double)count);
}

const struct entry ping_entries[] = {{"loadPing", load_ping}, {NULL, NULL}};
