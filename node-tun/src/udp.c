// UDP sockets with segmentation and receive offload.
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <unistd.h>

#ifndef UDP_SEGMENT  // Linux 4.18
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO  // Linux 5.0
#define UDP_GRO 104
#endif
#ifndef UDP_NO_CHECK6_TX  // Linux 3.16
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#endif

// Bits that index.ts passes and gets back; keep equal to its table.
enum { REUSE_PORT = 1, SEND_ONLY = 2, SEGMENTATION = 4 };
enum { RECEIVE_OFFLOAD = 8, FREEBIND = 16, FRAGMENTS = 32 };

struct udp_request {
  union address address;
  char text[NAME_SIZE];
  char device[16];
  uint32_t family, port, wants, send_buffer, receive_buffer;
};

static napi_value make_socket(napi_env env, int fd, bool segmentation) {
  union address bound = {0};
  socklen_t size = sizeof bound;
  char text[INET6_ADDRSTRLEN];
  uint32_t port, granted = segmentation ? SEGMENTATION : 0;
  napi_value socket = NULL;
  if (getsockname(fd, &bound.any, &size) < 0) return throw_system_fd(env, errno, "getsockname", fd);
  format_address(&bound, text, sizeof text, &port);
  if (get_option(fd, SOL_UDP, UDP_GRO) > 0) granted |= RECEIVE_OFFLOAD;
  napi_create_object(env, &socket);
  set_number(env, socket, "fd", fd);
  set_string(env, socket, "address", text);
  set_number(env, socket, "port", port);
  set_number(env, socket, "granted", granted);
  // The kernel doubles what was asked, for its own bookkeeping; give back the asker's measure.
  set_number(env, socket, "sendBuffer", get_option(fd, SOL_SOCKET, SO_SNDBUF) / 2);
  set_number(env, socket, "receiveBuffer", get_option(fd, SOL_SOCKET, SO_RCVBUF) / 2);
  return socket;
}

static bool read_address(const struct call *call, struct udp_request *request) {
  if (!arg_u32(call, 0, "family", &request->family)) return false;
  if (!arg_string(call, 1, "address", request->text, sizeof request->text)) return false;
  if (!arg_u32(call, 2, "port", &request->port)) return false;
  if (request->family != 4 && request->family != 6) {
    throw_type(call->env, "family", "4 or 6");
    return false;
  }
  int error = parse_address(request->family, request->text, request->port, &request->address);
  if (error == EINVAL) throw_type(call->env, "address and port", "an IP address and 0 to 65535");
  if (error == ENODEV) throw_system(call->env, error, "if_nametoindex", request->text);
  return error == 0;
}

static bool set_device(int fd, const char *device, struct failure *why) {
  if (device[0] == 0) return true;
  *why = (struct failure){"setsockopt SO_BINDTODEVICE", 0};
  socklen_t size = (socklen_t)strlen(device) + 1;
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, size) == 0) return true;
  why->error = errno;
  return false;
}

// A send-only socket whose port the system is to choose. With SO_REUSEPORT that could be one that
// others share, whose datagrams it would take from them: so it is set when the port is its own.
static bool is_first(const struct udp_request *request) {
  return request->port == 0 && (request->wants & SEND_ONLY);
}

static bool bind_socket(int fd, const struct udp_request *request, struct failure *why) {
  if (bind(fd, &request->address.any, address_length(&request->address)) < 0) {
    *why = (struct failure){"bind", errno};
    return false;
  }
  return !(request->wants & REUSE_PORT) || !is_first(request) ||
         set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, "setsockopt SO_REUSEPORT", why);
}

// All before bind: a send-only socket must not have received anything, nor a shared one alone.
static bool prepare(int fd, const struct udp_request *request, struct failure *why) {
  bool v4 = request->family == 4;
  uint32_t wants = request->wants;
  if (!v4 && !set_option(fd, SOL_IPV6, IPV6_V6ONLY, 1, "setsockopt IPV6_V6ONLY", why)) return false;
  if (!set_packet_options(fd, v4 ? AF_INET : AF_INET6, why)) return false;
  if ((wants & FRAGMENTS) && !set_fragmentable(fd, v4 ? AF_INET : AF_INET6, why)) return false;
  if ((wants & REUSE_PORT) && !is_first(request) &&
      !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, "setsockopt SO_REUSEPORT", why)) {
    return false;
  }
  int freebind = v4 ? IP_FREEBIND : IPV6_FREEBIND;
  if ((wants & FREEBIND) &&
      !set_option(fd, v4 ? SOL_IP : SOL_IPV6, freebind, 1, "setsockopt IP_FREEBIND", why)) {
    return false;
  }
  if ((wants & SEND_ONLY) && !set_filter_none(fd, why)) return false;
  struct failure refused;  // an old kernel has no UDP_GRO: the result says what was granted
  if (wants & RECEIVE_OFFLOAD) set_option(fd, SOL_UDP, UDP_GRO, 1, "", &refused);
  return set_device(fd, request->device, why) && set_buffer(fd, true, request->send_buffer, why) &&
         set_buffer(fd, false, request->receive_buffer, why);
}

// openUdp(family, address, port, wants, sendBuffer, receiveBuffer, device)
static napi_value open_udp(napi_env env, napi_callback_info info) {
  struct call call;
  struct udp_request request;
  if (!call_open(&call, env, info, 7) || !read_address(&call, &request)) return NULL;
  if (!arg_u32(&call, 3, "wants", &request.wants)) return NULL;
  if (!arg_u32(&call, 4, "sendBuffer", &request.send_buffer)) return NULL;
  if (!arg_u32(&call, 5, "receiveBuffer", &request.receive_buffer)) return NULL;
  if (!arg_string(&call, 6, "device", request.device, sizeof request.device)) return NULL;
  int fd = socket(request.address.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return throw_system(env, errno, "socket", "UDP");
  struct failure why = {"bind", 0};
  if (!prepare(fd, &request, &why) || !bind_socket(fd, &request, &why)) {
    close(fd);
    char object[NAME_SIZE + 32];
    snprintf(object, sizeof object, request.family == 4 ? "%s:%u" : "[%s]:%u", request.text,
             request.port);
    return throw_system(env, why.error, why.syscall, object);
  }
  bool segmentation = (request.wants & SEGMENTATION) && get_option(fd, SOL_UDP, UDP_SEGMENT) >= 0;
  return make_socket(env, fd, segmentation);
}

static napi_value adopt_udp(napi_env env, napi_callback_info info) {
  struct call call;
  struct failure why;
  int fd;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  int protocol = get_option(fd, SOL_SOCKET, SO_PROTOCOL);
  if (protocol < 0) return throw_system_fd(env, errno, "getsockopt SO_PROTOCOL", fd);
  if (protocol != IPPROTO_UDP) return throw_system_fd(env, EPROTOTYPE, "adopt", fd);
  int status = fcntl(fd, F_GETFL);
  if (status < 0 || fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    return throw_system_fd(env, errno, "fcntl", fd);
  }
  if (!set_packet_options(fd, get_option(fd, SOL_SOCKET, SO_DOMAIN), &why)) {
    return throw_system_fd(env, why.error, why.syscall, fd);
  }
  return make_socket(env, fd, get_option(fd, SOL_UDP, UDP_SEGMENT) >= 0);
}

// True when a bind without SO_REUSEPORT succeeds: with it, a second process of the same user would
// share the port without a word.
static napi_value probe_port(napi_env env, napi_callback_info info) {
  struct call call;
  struct udp_request request;
  napi_value answer = NULL;
  if (!call_open(&call, env, info, 3) || !read_address(&call, &request)) return NULL;
  int fd = socket(request.address.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return throw_system(env, errno, "socket", "UDP");
  struct failure why = {"bind", 0};
  bool ready = request.family == 4 ||
               set_option(fd, SOL_IPV6, IPV6_V6ONLY, 1, "setsockopt IPV6_V6ONLY", &why);
  if (ready && bind(fd, &request.address.any, address_length(&request.address)) < 0) {
    why.error = errno;
  }
  close(fd);
  if (why.error != 0 && why.error != EADDRINUSE) {
    return throw_system(env, why.error, why.syscall, request.text);
  }
  napi_get_boolean(env, why.error == 0, &answer);
  return answer;
}

// setUdpChecksums(fd, send, zeroes): zero checksums over IPv4 are taken by every socket (RFC 1122),
// over IPv6 by those alone that say so (RFC 6935).
static napi_value set_checksums(napi_env env, napi_callback_info info) {
  struct call call;
  struct failure why;
  int fd;
  bool send, zeroes;
  if (!call_open(&call, env, info, 3) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_bool(&call, 1, "send", &send) || !arg_bool(&call, 2, "zeroes", &zeroes)) return NULL;
  int family = get_option(fd, SOL_SOCKET, SO_DOMAIN);
  if (family < 0) return throw_system_fd(env, errno, "getsockopt SO_DOMAIN", fd);
  bool done = family == AF_INET6
                  ? set_option(fd, SOL_UDP, UDP_NO_CHECK6_TX, !send, "setsockopt UDP_NO_CHECK6_TX",
                               &why) &&
                        set_option(fd, SOL_UDP, UDP_NO_CHECK6_RX, zeroes,
                                   "setsockopt UDP_NO_CHECK6_RX", &why)
                  : set_option(fd, SOL_SOCKET, SO_NO_CHECK, !send, "setsockopt SO_NO_CHECK", &why);
  return done ? NULL : throw_system_fd(env, why.error, why.syscall, fd);
}

// receiveDrops(fd): what the kernel dropped at the socket since it was opened.
static napi_value receive_drops(napi_env env, napi_callback_info info) {
  struct call call;
  int fd;
  uint32_t said[SK_MEMINFO_VARS] = {0};
  socklen_t size = sizeof said;
  napi_value answer = NULL;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, said, &size) < 0) {
    return throw_system_fd(env, errno, "getsockopt SO_MEMINFO", fd);
  }
  napi_create_uint32(env, said[SK_MEMINFO_DROPS], &answer);
  return answer;
}

static napi_value write_udp(napi_env env, napi_callback_info info) {
  return write_datagrams(env, info, false);
}

const struct entry udp_entries[] = {
    {"openUdp", open_udp},           {"adoptUdp", adopt_udp},
    {"probePort", probe_port},       {"readUdpBatch", read_datagrams},
    {"writeUdpBatch", write_udp},    {"setUdpChecksums", set_checksums},
    {"receiveDrops", receive_drops}, {NULL, NULL},
};
