// Raw IP sockets by protocol. Every raw socket of a protocol gets a copy of every packet
// (SO_REUSEPORT does not spread them), so sockets that share the work carry a filter each.
#include "common.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "share.h"

struct raw_request {
  union address address;
  char text[NAME_SIZE];
  struct share share;
  uint32_t send_buffer, receive_buffer;
  bool receive, fragments;
};

// Four numbers from argument `at` on.
static bool read_share(const struct call *call, size_t at, struct share *share) {
  if (!arg_u32(call, at, "family", &share->family)) return false;
  if (!arg_u32(call, at + 1, "protocol", &share->protocol)) return false;
  if (!arg_u32(call, at + 2, "share.index", &share->index)) return false;
  if (!arg_u32(call, at + 3, "share.count", &share->count)) return false;
  const char *wrong = NULL, *expected = "";
  if (share->family != 4 && share->family != 6) wrong = "family", expected = "4 or 6";
  if (share->protocol < 1 || share->protocol > 254) {
    wrong = "protocol", expected = "an IP protocol number from 1 to 254";
  }
  if (share->count < 1 || share->count > 1024 || share->index >= share->count) {
    wrong = "share", expected = "an index below a count of 1 to 1024";
  }
  if (wrong != NULL) throw_type(call->env, wrong, expected);
  return wrong == NULL;
}

static bool read_request(const struct call *call, struct raw_request *request) {
  if (!read_share(call, 0, &request->share)) return false;
  if (!arg_string(call, 4, "address", request->text, sizeof request->text)) return false;
  if (!arg_u32(call, 5, "sendBuffer", &request->send_buffer)) return false;
  if (!arg_u32(call, 6, "receiveBuffer", &request->receive_buffer)) return false;
  if (!arg_bool(call, 7, "receive", &request->receive)) return false;
  if (!arg_bool(call, 8, "fragments", &request->fragments)) return false;
  int error = parse_address(request->share.family, request->text, 0, &request->address);
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

// Puts a filter in the place of the one before, in one step; without one when everything passes.
static bool attach(int fd, const struct share *share, const struct sources *sources,
                   struct failure *why) {
  struct filter *filter = malloc(sizeof *filter);
  if (filter == NULL || !make_raw_filter(filter, share, sources)) {
    free(filter);
    *why = (struct failure){"malloc", ENOMEM};
    return false;
  }
  struct sock_fprog program = {filter->length, filter->code};
  int done = 0, unused = 0;
  *why = (struct failure){"setsockopt SO_ATTACH_FILTER", 0};
  if (filter->overflow) {
    done = -1;
    errno = E2BIG;
  } else if (sources == NULL && share->count == 1) {
    why->syscall = "setsockopt SO_DETACH_FILTER";
    done = setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
    if (done != 0 && errno == ENOENT) done = 0;
  } else {
    done = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
  }
  if (done != 0) why->error = errno;
  free(filter);
  return done == 0;
}

// The filter that drops all stops the flow; what came before it is taken out; then the real one.
// Otherwise the packets between socket() and the filter would be read by several sockets.
static bool start_filter(int fd, const struct raw_request *request, struct failure *why) {
  char byte;
  while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) continue;
  return attach(fd, &request->share, NULL, why);
}

// filterRaw(fd, family, protocol, shareIndex, shareCount, sources, sample)
// Old and new filter together have to fit the socket's option memory: a long one is tried a second
// time in the place of a short one. That one stays when the long one cannot be.
static napi_value filter_raw(napi_env env, napi_callback_info info) {
  struct call call;
  struct share share;
  struct memory bytes;
  struct sources sources;
  int fd;
  if (!call_open(&call, env, info, 7) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!read_share(&call, 1, &share) || !arg_bytes(&call, 5, "sources", &bytes)) return NULL;
  if (!arg_u32(&call, 6, "sample", &sources.sample)) return NULL;
  size_t size = share.family == 4 ? 4 : 16;
  if (bytes.length % size != 0) return throw_type(env, "sources", "whole addresses"), NULL;
  sources.bytes = bytes.base;
  // More than fit are too many already.
  sources.count = (uint32_t)(bytes.length / size < FILTER_MOST ? bytes.length / size : FILTER_MOST);
  struct failure why, first;
  // One in one is everything.
  if (attach(fd, &share, sources.sample == 1 ? NULL : &sources, &first)) return NULL;
  if (!attach(fd, &share, NULL, &why)) return throw_system_fd(env, why.error, why.syscall, fd);
  if (first.error == ENOMEM && attach(fd, &share, &sources, &first)) return NULL;
  return throw_system_fd(env, first.error, first.syscall, fd);
}

// openRaw(family, protocol, shareIndex, shareCount, address, sendBuffer, receiveBuffer, receive,
//         fragments)
// A socket that only sends keeps the filter that drops all.
static napi_value open_raw(napi_env env, napi_callback_info info) {
  struct call call;
  struct raw_request request;
  char object[NAME_SIZE + 48];
  if (!call_open(&call, env, info, 9) || !read_request(&call, &request)) return NULL;
  snprintf(object, sizeof object, "protocol %u on %s", request.share.protocol, request.text);
  int fd = socket(request.address.any.sa_family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
                  (int)request.share.protocol);
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
    {"filterRaw", filter_raw},
    {"readRawBatch", read_datagrams},
    {"writeRawBatch", write_raw},
    {NULL, NULL},
};
