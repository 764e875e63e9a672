// Load for measurements: sockets with time limits, and one direction of a TCP stream at full speed.
// Every call blocks its thread, so it belongs in a thread of its own.
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

// As for any bulk transfer: the machine's limit may be smaller.
enum { DATAGRAM_BUFFER = 32 << 20, BACKLOG = 16 };

struct place {
  union address address;
  char text[NAME_SIZE];
};

bool arg_load_time(const struct call *call, size_t index, const char *name, double *out) {
  if (!arg_double(call, index, name, out)) return false;
  if (*out >= 0 && *out <= LOAD_LONGEST_US) return true;
  throw_type(call->env, name, "microseconds from 0 to 120000000");
  return false;
}

int load_slice_ms(double end_us) {
  double left_ms = (end_us - load_now_us()) / 1e3;
  if (left_ms <= 0) return 0;
  return left_ms > LOAD_SLICE_MS ? LOAD_SLICE_MS : (int)left_ms + 1;
}

void set_flag(napi_env env, napi_value object, const char *key, bool value) {
  napi_value flag = NULL;
  napi_get_boolean(env, value, &flag);
  napi_set_named_property(env, object, key, flag);
}

// family, address and port from argument `index` on.
static bool arg_place(const struct call *call, size_t index, uint32_t family, struct place *out) {
  uint32_t port;
  if (!arg_string(call, index, "address", out->text, sizeof out->text)) return false;
  if (!arg_u32(call, index + 1, "port", &port)) return false;
  int error = parse_address(family, out->text, port, &out->address);
  if (error == EINVAL) throw_type(call->env, "address", "an address of the family, and a port");
  if (error == ENODEV) throw_system(call->env, error, "if_nametoindex", out->text);
  return error == 0;
}

static bool arg_family(const struct call *call, size_t index, uint32_t *out) {
  if (!arg_u32(call, index, "family", out)) return false;
  if (*out == 4 || *out == 6) return true;
  throw_type(call->env, "family", "4 or 6");
  return false;
}

// A blocking call ends after a slice, so that the deadline is looked at.
static bool set_slices(int fd) {
  struct timeval slice = {.tv_sec = 0, .tv_usec = LOAD_SLICE_MS * 1000};
  return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof slice) == 0 &&
         setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &slice, sizeof slice) == 0;
}

static napi_value fail_closing(napi_env env, int fd, const char *syscall, const char *object) {
  int error = errno;
  close(fd);
  return throw_system(env, error, syscall, object);
}

static napi_value describe_socket(napi_env env, int fd) {
  union address bound;
  socklen_t size = sizeof bound;
  char text[NAME_SIZE];
  uint32_t port;
  napi_value made = NULL;
  if (getsockname(fd, &bound.any, &size) != 0) return fail_closing(env, fd, "getsockname", "");
  format_address(&bound, text, sizeof text, &port);
  napi_create_object(env, &made);
  set_number(env, made, "fd", fd);
  set_string(env, made, "address", text);
  set_number(env, made, "port", port);
  return made;
}

// loadListen(family, datagrams, address, port)
static napi_value load_listen(napi_env env, napi_callback_info info) {
  struct call call;
  struct place at;
  struct failure why;
  uint32_t family;
  bool datagrams;
  if (!call_open(&call, env, info, 4) || !arg_family(&call, 0, &family)) return NULL;
  if (!arg_bool(&call, 1, "datagrams", &datagrams)) return NULL;
  if (!arg_place(&call, 2, family, &at)) return NULL;
  int type = (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  int fd = socket(at.address.any.sa_family, type, 0);
  if (fd < 0) return throw_system(env, errno, "socket", at.text);
  if (datagrams && !set_buffer(fd, false, DATAGRAM_BUFFER, &why)) {
    errno = why.error;
    return fail_closing(env, fd, why.syscall, at.text);
  }
  if (bind(fd, &at.address.any, address_length(&at.address)) != 0) {
    return fail_closing(env, fd, "bind", at.text);
  }
  if (!datagrams && listen(fd, BACKLOG) != 0) return fail_closing(env, fd, "listen", at.text);
  return describe_socket(env, fd);
}

// loadAccept(fd, timeout_us): a descriptor, or -1
static napi_value load_accept(napi_env env, napi_callback_info info) {
  struct call call;
  int fd;
  double timeout_us;
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_load_time(&call, 1, "timeout_us", &timeout_us)) return NULL;
  double end_us = load_now_us() + timeout_us;
  struct pollfd polled = {.fd = fd, .events = POLLIN};
  for (;;) {
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (accepted >= 0 && set_slices(accepted)) return make_number(env, accepted);
    if (accepted >= 0) return fail_closing(env, accepted, "setsockopt", "SO_RCVTIMEO");
    // A connection may be gone again before it is taken: that is no fault of the listener.
    bool passing = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
    if (!passing) return throw_system_fd(env, errno, "accept4", fd);
    if (load_now_us() >= end_us) return make_number(env, -1);
    poll(&polled, 1, load_slice_ms(end_us));
  }
}

// SO_SNDTIMEO limits connect(2), too (socket(7)); it then fails with EINPROGRESS.
static bool connect_within(int fd, const struct place *to, double timeout_us) {
  long whole_us = timeout_us < 1 ? 1 : (long)timeout_us;
  struct timeval limit = {.tv_sec = whole_us / 1000000, .tv_usec = whole_us % 1000000};
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) return false;
  if (connect(fd, &to->address.any, address_length(&to->address)) == 0) return set_slices(fd);
  if (errno == EINPROGRESS || errno == EAGAIN) errno = ETIMEDOUT;
  return false;
}

// Before connect: BBR would leave its pacing behind in a socket that changes to another later.
static bool set_congestion(int fd, const char *name) {
  socklen_t length = (socklen_t)strlen(name);
  return length == 0 || setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, length) == 0;
}

// loadConnect(family, datagrams, source, address, port, timeout_us, congestion)
static napi_value load_connect(napi_env env, napi_callback_info info) {
  struct call call;
  struct place from, to;
  struct failure why;
  uint32_t family;
  bool datagrams;
  double timeout_us;
  char object[2 * NAME_SIZE + 8], congestion[16];  // TCP_CA_NAME_MAX
  if (!call_open(&call, env, info, 7) || !arg_family(&call, 0, &family)) return NULL;
  if (!arg_bool(&call, 1, "datagrams", &datagrams)) return NULL;
  if (!arg_string(&call, 2, "source", from.text, sizeof from.text)) return NULL;
  if (!arg_place(&call, 3, family, &to)) return NULL;
  if (!arg_load_time(&call, 5, "timeout_us", &timeout_us)) return NULL;
  if (!arg_string(&call, 6, "congestion", congestion, sizeof congestion)) return NULL;
  if (parse_address(family, from.text, 0, &from.address) != 0) {
    throw_type(env, "source", "an address of the family");
    return NULL;
  }
  snprintf(object, sizeof object, "%s to %s", from.text, to.text);
  int type = (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC;
  int fd = socket(to.address.any.sa_family, type, 0);
  if (fd < 0) return throw_system(env, errno, "socket", object);
  if (datagrams && !set_buffer(fd, true, DATAGRAM_BUFFER, &why)) {
    errno = why.error;
    return fail_closing(env, fd, why.syscall, object);
  }
  if (!datagrams && !set_congestion(fd, congestion)) {
    return fail_closing(env, fd, "setsockopt TCP_CONGESTION", congestion);
  }
  if (bind(fd, &from.address.any, address_length(&from.address)) != 0) {
    return fail_closing(env, fd, "bind", object);
  }
  if (connect_within(fd, &to, timeout_us)) return make_number(env, fd);
  return fail_closing(env, fd, "connect", object);
}

static bool is_passing(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

struct transfer {
  int fd;
  struct memory bytes;
  double end_us;
};

// fd, bytes, a time: the arguments of all that move bytes.
static bool arg_transfer(struct call *call, napi_env env, napi_callback_info info, const char *name,
                         struct transfer *out) {
  double time_us;
  if (!call_open(call, env, info, 3) || !arg_fd(call, 0, "fd", &out->fd)) return false;
  if (!arg_bytes(call, 1, "bytes", &out->bytes)) return false;
  if (!arg_load_time(call, 2, name, &time_us)) return false;
  out->end_us = load_now_us() + time_us;
  if (out->bytes.length > 0) return true;
  throw_type(env, "bytes", "at least one byte long");
  return false;
}

// loadRead(fd, bytes, timeout_us): fills all of bytes; fewer at the stream's end or the time's
static napi_value load_read(napi_env env, napi_callback_info info) {
  struct call call;
  struct transfer to;
  size_t done = 0;
  if (!arg_transfer(&call, env, info, "timeout_us", &to)) return NULL;
  while (done < to.bytes.length) {
    ssize_t got = recv(to.fd, to.bytes.base + done, to.bytes.length - done, 0);
    if (got == 0) break;
    if (got > 0) done += (size_t)got;
    if (got < 0 && !is_passing(errno)) return throw_system_fd(env, errno, "recv", to.fd);
    if (load_now_us() >= to.end_us) break;
  }
  return make_number(env, (double)done);
}

// loadWrite(fd, bytes, timeout_us): writes bytes once; fewer at the time's end
static napi_value load_write(napi_env env, napi_callback_info info) {
  struct call call;
  struct transfer from;
  size_t done = 0;
  if (!arg_transfer(&call, env, info, "timeout_us", &from)) return NULL;
  while (done < from.bytes.length) {
    size_t left = from.bytes.length - done;
    ssize_t sent = send(from.fd, from.bytes.base + done, left, MSG_NOSIGNAL);
    if (sent > 0) done += (size_t)sent;
    if (sent < 0 && !is_passing(errno)) return throw_system_fd(env, errno, "send", from.fd);
    if (load_now_us() >= from.end_us) break;
  }
  return make_number(env, (double)done);
}

// loadSendStream(fd, bytes, duration_us): bytes again and again; gives how many went
static napi_value load_send_stream(napi_env env, napi_callback_info info) {
  struct call call;
  struct transfer from;
  double total = 0;
  if (!arg_transfer(&call, env, info, "duration_us", &from)) return NULL;
  while (load_now_us() < from.end_us) {
    ssize_t sent = send(from.fd, from.bytes.base, from.bytes.length, MSG_NOSIGNAL);
    if (sent > 0) total += (double)sent;
    if (sent < 0 && !is_passing(errno)) return throw_system_fd(env, errno, "send", from.fd);
  }
  return make_number(env, total);
}

// loadReceiveStream(fd, bytes, timeout_us): throws away what comes, until the end or the time's end
static napi_value load_receive_stream(napi_env env, napi_callback_info info) {
  struct call call;
  struct transfer to;
  double total = 0, first_us = 0, last_us = 0;
  bool ended = false;
  napi_value result = NULL;
  if (!arg_transfer(&call, env, info, "timeout_us", &to)) return NULL;
  do {
    ssize_t got = recv(to.fd, to.bytes.base, to.bytes.length, 0);
    if (got < 0 && !is_passing(errno)) return throw_system_fd(env, errno, "recv", to.fd);
    ended = got == 0;
    if (got <= 0) continue;
    last_us = load_now_us();
    if (total == 0) first_us = last_us;
    total += (double)got;
  } while (!ended && load_now_us() < to.end_us);
  napi_create_object(env, &result);
  set_number(env, result, "bytes", total);
  set_number(env, result, "first_us", first_us);
  set_number(env, result, "last_us", last_us);
  set_flag(env, result, "ended", ended);
  return result;
}

const struct entry load_entries[] = {
    {"loadListen", load_listen},
    {"loadAccept", load_accept},
    {"loadConnect", load_connect},
    {"loadRead", load_read},
    {"loadWrite", load_write},
    {"loadSendStream", load_send_stream},
    {"loadReceiveStream", load_receive_stream},
    {NULL, NULL},
};
