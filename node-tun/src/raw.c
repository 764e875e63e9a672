// Raw IP sockets by protocol. Every raw socket of a protocol gets a copy of every packet
// (SO_REUSEPORT does not spread them), so sockets that share the work carry a filter each.
#include "common.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <unistd.h>

#include "share.h"

struct raw_request {
  union address address;
  char text[NAME_SIZE];
  uint32_t family, protocol, send_buffer, receive_buffer, index, count;
  bool receive, fragments;
};

static bool read_request(const struct call *call, struct raw_request *request) {
  if (!arg_u32(call, 0, "family", &request->family)) return false;
  if (!arg_u32(call, 1, "protocol", &request->protocol)) return false;
  if (!arg_string(call, 2, "address", request->text, sizeof request->text)) return false;
  if (!arg_u32(call, 3, "sendBuffer", &request->send_buffer)) return false;
  if (!arg_u32(call, 4, "receiveBuffer", &request->receive_buffer)) return false;
  if (!arg_u32(call, 5, "share.index", &request->index)) return false;
  if (!arg_u32(call, 6, "share.count", &request->count)) return false;
  if (!arg_bool(call, 7, "receive", &request->receive)) return false;
  if (!arg_bool(call, 8, "fragments", &request->fragments)) return false;
  const char *wrong = NULL, *expected = "";
  if (request->family != 4 && request->family != 6) wrong = "family", expected = "4 or 6";
  if (request->protocol < 1 || request->protocol > 254) {
    wrong = "protocol", expected = "an IP protocol number from 1 to 254";
  }
  if (request->count < 1 || request->count > 1024 || request->index >= request->count) {
    wrong = "share", expected = "an index below a count of 1 to 1024";
  }
  if (wrong != NULL) {
    throw_type(call->env, wrong, expected);
    return false;
  }
  int error = parse_address(request->family, request->text, 0, &request->address);
  if (error == EINVAL) throw_type(call->env, "address", "an IP address of the family");
  if (error == ENODEV) throw_system(call->env, error, "if_nametoindex", request->text);
  return error == 0;
}

static bool prepare(int fd, const struct raw_request *request, struct failure *why) {
  int family = request->address.any.sa_family;
  if (!set_packet_options(fd, family, why)) return false;
  if (request->fragments && !set_fragmentable(fd, family, why)) return false;
  if (!set_buffer(fd, true, request->send_buffer, why)) return false;
  if (!set_buffer(fd, false, request->receive_buffer, why)) return false;
  *why = (struct failure){"bind", 0};
  if (bind(fd, &request->address.any, address_length(&request->address)) == 0) return true;
  why->error = errno;
  return false;
}

// The filter that drops all stops the flow; what came before it is taken out; then the real one.
// Otherwise the packets between socket() and the filter would be read by several sockets.
static bool start_filter(int fd, const struct raw_request *request, struct failure *why) {
  char byte;
  while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) continue;
  if (request->count > 1) {
    struct share_program program;
    make_share_program(&program, request->family, request->protocol, request->index,
                       request->count);
    struct sock_fprog filter = {program.length, program.code};
    *why = (struct failure){"setsockopt SO_ATTACH_FILTER", 0};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0) return true;
  } else {
    int unused = 0;
    *why = (struct failure){"setsockopt SO_DETACH_FILTER", 0};
    if (setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) == 0) return true;
  }
  why->error = errno;
  return false;
}

// openRaw(family, protocol, address, sendBuffer, receiveBuffer, shareIndex, shareCount, receive,
//         fragments)
// A socket that only sends keeps the filter that drops all.
static napi_value open_raw(napi_env env, napi_callback_info info) {
  struct call call;
  struct raw_request request;
  char object[NAME_SIZE + 48];
  if (!call_open(&call, env, info, 9) || !read_request(&call, &request)) return NULL;
  snprintf(object, sizeof object, "protocol %u on %s", request.protocol, request.text);
  int fd = socket(request.address.any.sa_family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
                  (int)request.protocol);
  if (fd < 0) return throw_system(env, errno, "socket", object);
  struct failure why;
  if (set_filter_none(fd, &why) && prepare(fd, &request, &why) &&
      (!request.receive || start_filter(fd, &request, &why))) {
    napi_value raw = NULL;
    napi_create_object(env, &raw);
    set_number(env, raw, "fd", fd);
    return raw;
  }
  close(fd);
  return throw_system(env, why.error, why.syscall, object);
}

static napi_value write_raw(napi_env env, napi_callback_info info) {
  return write_datagrams(env, info, true);
}

const struct entry raw_entries[] = {
    {"openRaw", open_raw},
    {"readRawBatch", read_datagrams},
    {"writeRawBatch", write_raw},
    {NULL, NULL},
};
