// What UDP and raw sockets share: options, buffers, filters, addresses as text.
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

bool set_option(int fd, int level, int option, int value, const char *name, struct failure *why) {
  if (setsockopt(fd, level, option, &value, sizeof value) == 0) return true;
  *why = (struct failure){name, errno};
  return false;
}

int get_option(int fd, int level, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, level, option, &value, &size) == 0 ? value : -1;
}

// TOS and destination with every packet. PROBE sets the don't-fragment bit but does not believe the
// kernel's cached path MTU: a tunnel has its own, and a forged ICMP must not shrink it.
bool set_packet_options(int fd, int family, struct failure *why) {
  if (family == AF_INET) {
    return set_option(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, "setsockopt IP_MTU_DISCOVER",
                      why) &&
           set_option(fd, SOL_IP, IP_RECVTOS, 1, "setsockopt IP_RECVTOS", why) &&
           set_option(fd, SOL_IP, IP_PKTINFO, 1, "setsockopt IP_PKTINFO", why);
  }
  return set_option(fd, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE,
                    "setsockopt IPV6_MTU_DISCOVER", why) &&
         set_option(fd, SOL_IPV6, IPV6_RECVTCLASS, 1, "setsockopt IPV6_RECVTCLASS", why) &&
         set_option(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1, "setsockopt IPV6_RECVPKTINFO", why);
}

enum { EVERY_LINK = 1280 };  // bytes that every IPv6 link carries, RFC 8200 section 5

// Lets packets be fragmented after all: over IPv4 here and on the way, over IPv6 here alone, where
// they do not fit the route, and then to what every link carries. After set_packet_options.
bool set_fragmentable(int fd, int family, struct failure *why) {
  if (family == AF_INET) {
    return set_option(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, "setsockopt IP_MTU_DISCOVER",
                      why);
  }
  return set_option(fd, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT,
                    "setsockopt IPV6_MTU_DISCOVER", why) &&
         set_option(fd, SOL_IPV6, IPV6_MTU, EVERY_LINK, "setsockopt IPV6_MTU", why);
}

// FORCE passes the machine's limit and needs CAP_NET_ADMIN; without it the limit holds.
bool set_buffer(int fd, bool send, uint32_t bytes, struct failure *why) {
  int value = bytes > INT32_MAX / 2 ? INT32_MAX / 2 : (int)bytes;
  if (bytes == 0) return true;
  int force = send ? SO_SNDBUFFORCE : SO_RCVBUFFORCE;
  if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof value) == 0) return true;
  return set_option(fd, SOL_SOCKET, send ? SO_SNDBUF : SO_RCVBUF, value,
                    send ? "setsockopt SO_SNDBUF" : "setsockopt SO_RCVBUF", why);
}

bool set_filter_none(int fd, struct failure *why) {
  struct sock_filter drop_all[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  struct sock_fprog program = {1, drop_all};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0) return true;
  *why = (struct failure){"setsockopt SO_ATTACH_FILTER", errno};
  return false;
}

static int parse_scope(const char *scope, uint32_t *out) {
  if (scope == NULL) return 0;
  *out = if_nametoindex(scope);
  if (*out == 0) *out = (uint32_t)strtoul(scope, NULL, 10);
  return *out == 0 ? ENODEV : 0;
}

int parse_address(uint32_t family, const char *text, uint32_t port, union address *out) {
  memset(out, 0, sizeof *out);
  if (port > UINT16_MAX) return EINVAL;
  if (family == 4) {
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, text, &out->v4.sin_addr) == 1 ? 0 : EINVAL;
  }
  char plain[NAME_SIZE];
  snprintf(plain, sizeof plain, "%s", text);
  char *scope = strchr(plain, '%');
  if (scope != NULL) *scope++ = 0;
  out->v6.sin6_family = AF_INET6;
  out->v6.sin6_port = htons((uint16_t)port);
  if (inet_pton(AF_INET6, plain, &out->v6.sin6_addr) != 1) return EINVAL;
  return parse_scope(scope, &out->v6.sin6_scope_id);
}

socklen_t address_length(const union address *address) {
  return address->any.sa_family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}

void format_address(const union address *address, char *out, size_t size, uint32_t *port) {
  bool v4 = address->any.sa_family == AF_INET;
  const void *bytes = v4 ? (const void *)&address->v4.sin_addr : &address->v6.sin6_addr;
  *port = ntohs(v4 ? address->v4.sin_port : address->v6.sin6_port);
  if (inet_ntop(address->any.sa_family, bytes, out, (socklen_t)size) == NULL) out[0] = 0;
}
