// Load for measurements: datagrams by sendmmsg, as fast as they go or paced; and their count.
#include "load.h"

#include <errno.h>
#include <poll.h>

enum {
  BATCH = 64,
  BURST = 16,    // most that a paced sender sends at once
  PATIENCE = 3,  // times the planned length after which a paced sender gives up
  ROOM = 2048,   // bytes kept of a datagram
};

// A path may refuse for a moment (full queue, nobody listens yet): that is loss, not an error.
static bool is_loss(int error) {
  return error == ENOBUFS || error == ECONNREFUSED || error == EAGAIN || error == EINTR;
}

struct flow {
  int fd;
  double rate;
  double length_us;
  double sent;
};

// How many of a paced flow are due. After a pause the flow goes on at its rate and ends later:
// catching up would be a burst that nobody asked for.
static unsigned due_now(const struct flow *flow, double now_us, double *start_us) {
  double due = (now_us - *start_us) * flow->rate / 1e6 - flow->sent;
  if (due < 1) return 0;
  if (due <= BURST) return (unsigned)due;
  *start_us += (due - BURST) / flow->rate * 1e6;
  return BURST;
}

// 0, or the error that ended it.
static int send_flow(struct flow *flow, struct mmsghdr *messages) {
  double began_us = load_now_us(), start_us = began_us;
  double most_us = flow->length_us * (flow->rate > 0 ? PATIENCE : 1);
  double wanted = flow->rate > 0 ? flow->rate * flow->length_us / 1e6 : 1e18;
  for (;;) {
    double now_us = load_now_us();
    if (now_us - began_us >= most_us || flow->sent >= wanted) return 0;
    unsigned due = flow->rate > 0 ? due_now(flow, now_us, &start_us) : BATCH;
    if (due == 0) continue;
    int sent = sendmmsg(flow->fd, messages, due, 0);
    if (sent > 0) flow->sent += sent;
    if (sent < 0 && !is_loss(errno)) return errno;
  }
}

// loadSendDatagrams(fd, payload, rate, duration_us): rate 0 = as fast as they go; gives how many
static napi_value load_send_datagrams(napi_env env, napi_callback_info info) {
  struct call call;
  struct memory payload;
  struct flow flow = {.sent = 0};
  struct mmsghdr messages[BATCH] = {0};
  if (!call_open(&call, env, info, 4) || !arg_fd(&call, 0, "fd", &flow.fd)) return NULL;
  if (!arg_bytes(&call, 1, "payload", &payload)) return NULL;
  if (!arg_double(&call, 2, "rate", &flow.rate)) return NULL;
  if (!arg_load_time(&call, 3, "duration_us", &flow.length_us)) return NULL;
  if (flow.rate < 0 || flow.rate > 1e9) {
    throw_type(env, "rate", "packets a second from 0 to 1000000000");
    return NULL;
  }
  struct iovec vector = {payload.base, payload.length};
  for (int i = 0; i < BATCH; i++) {
    messages[i].msg_hdr.msg_iov = &vector;
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  int error = send_flow(&flow, messages);
  if (error != 0) return throw_system_fd(env, error, "sendmmsg", flow.fd);
  return make_number(env, flow.sent);
}

struct count {
  double packets, bytes, foreign, first_us, last_us;
};

static bool begins_with(const struct mmsghdr *message, const struct memory *begin) {
  if (begin->length == 0) return true;  // its base is NULL, which memcmp may not be given
  return message->msg_len >= begin->length &&
         memcmp(message->msg_hdr.msg_iov->iov_base, begin->base, begin->length) == 0;
}

static void count_batch(struct count *count, const struct mmsghdr *messages, int got,
                        const struct memory *begin) {
  double now_us = load_now_us();
  for (int i = 0; i < got; i++) {
    if (!begins_with(&messages[i], begin)) {
      count->foreign++;
      continue;
    }
    if (count->packets == 0) count->first_us = now_us;
    count->last_us = now_us;
    count->packets++;
    count->bytes += messages[i].msg_len;
  }
}

// 0, or the error that ended it.
static int count_until(int fd, double end_us, const struct memory *begin, struct count *count) {
  uint8_t buffers[BATCH][ROOM];
  struct iovec vectors[BATCH];
  struct mmsghdr messages[BATCH] = {0};
  struct pollfd polled = {.fd = fd, .events = POLLIN};
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){buffers[i], ROOM};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  do {
    int got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (got > 0) count_batch(count, messages, got, begin);
    if (got < 0 && !is_loss(errno)) return errno;
    if (got < 0) poll(&polled, 1, load_slice_ms(end_us));
  } while (load_now_us() < end_us);
  return 0;
}

// loadCountDatagrams(fd, begin, timeout_us): counts those that begin with these bytes, and others
static napi_value load_count_datagrams(napi_env env, napi_callback_info info) {
  struct call call;
  struct memory begin;
  struct count count = {0};
  napi_value result = NULL;
  double timeout_us;
  int fd;
  if (!call_open(&call, env, info, 3) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_bytes(&call, 1, "begin", &begin)) return NULL;
  if (!arg_load_time(&call, 2, "timeout_us", &timeout_us)) return NULL;
  if (begin.length > ROOM) {
    throw_type(env, "begin", "at most 2048 bytes long");
    return NULL;
  }
  int error = count_until(fd, load_now_us() + timeout_us, &begin, &count);
  if (error != 0) return throw_system_fd(env, error, "recvmmsg", fd);
  napi_create_object(env, &result);
  set_number(env, result, "packets", count.packets);
  set_number(env, result, "bytes", count.bytes);
  set_number(env, result, "foreign", count.foreign);
  set_number(env, result, "first_us", count.first_us);
  set_number(env, result, "last_us", count.last_us);
  return result;
}

const struct entry flood_entries[] = {
    {"loadSendDatagrams", load_send_datagrams},
    {"loadCountDatagrams", load_count_datagrams},
    {NULL, NULL},
};
