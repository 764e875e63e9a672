// A poller that blocks the calling thread, and wake-ups from any other thread.
#include "common.h"

#include <errno.h>
#include <math.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_epoll_pwait2  // Linux 5.11; one number on every architecture
#define SYS_epoll_pwait2 441
#endif

enum { MAX_EVENTS = 64 };
static const double FOREVER_US = 1e15;

static napi_value open_poller(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? throw_system(env, errno, "epoll_create1", "poller") : make_number(env, fd);
}

static napi_value poller_add(napi_env env, napi_callback_info info) {
  struct call call;
  int poller, fd;
  uint32_t token;
  if (!call_open(&call, env, info, 3) || !arg_fd(&call, 0, "poller", &poller)) return NULL;
  if (!arg_fd(&call, 1, "fd", &fd) || !arg_u32(&call, 2, "token", &token)) return NULL;
  struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = token}};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0) return NULL;
  return throw_system_fd(env, errno, "epoll_ctl EPOLL_CTL_ADD", fd);
}

static napi_value poller_remove(napi_env env, napi_callback_info info) {
  struct call call;
  int poller, fd;
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "poller", &poller)) return NULL;
  if (!arg_fd(&call, 1, "fd", &fd)) return NULL;
  if (epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL) == 0) return NULL;
  return throw_system_fd(env, errno, "epoll_ctl EPOLL_CTL_DEL", fd);
}

double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

// The kernel's own shape of a time: 64 bits on every architecture.
struct kernel_time {
  int64_t seconds, nanoseconds;
};

static int wait_once(int poller, struct epoll_event *events, int most, double left_us) {
  if (left_us < 0) return epoll_wait(poller, events, most, -1);
  if (left_us == 0) return epoll_wait(poller, events, most, 0);
  double whole_us = ceil(left_us);
  int64_t seconds = (int64_t)(whole_us / 1e6);
  struct kernel_time time = {seconds, (int64_t)(whole_us - (double)seconds * 1e6) * 1000};
  int got = (int)syscall(SYS_epoll_pwait2, poller, events, most, &time, NULL, 0);
  if (got >= 0 || errno != ENOSYS) return got;
  double left_ms = ceil(whole_us / 1e3);
  return epoll_wait(poller, events, most, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
}

// timeout_us: below 0 = forever. An interrupted wait goes on with what is left of the time.
int wait_events(int poller, struct epoll_event *events, int most, double timeout_us) {
  if (timeout_us > FOREVER_US) timeout_us = -1;
  double deadline = timeout_us > 0 ? now_us() + timeout_us : 0, left = timeout_us;
  for (;;) {
    int got = wait_once(poller, events, most, left);
    if (got >= 0 || errno != EINTR) return got;
    if (timeout_us <= 0) continue;
    left = deadline - now_us();
    if (left < 0) left = 0;
  }
}

static napi_value poller_wait(napi_env env, napi_callback_info info) {
  struct call call;
  struct epoll_event events[MAX_EVENTS];
  int poller;
  uint32_t *ready;
  size_t room;
  double timeout_us;
  if (!call_open(&call, env, info, 3) || !arg_fd(&call, 0, "poller", &poller)) return NULL;
  if (!arg_u32s(&call, 1, "ready", &ready, &room)) return NULL;
  if (!arg_double(&call, 2, "timeout_us", &timeout_us)) return NULL;
  if (room == 0) {
    throw_type(env, "ready", "a Uint32Array with room for at least one token");
    return NULL;
  }
  int most = room < MAX_EVENTS ? (int)room : MAX_EVENTS;
  int got = wait_events(poller, events, most, timeout_us);
  if (got < 0) return throw_system_fd(env, errno, "epoll_wait", poller);
  for (int i = 0; i < got; i++) ready[i] = (uint32_t)events[i].data.u64;
  return make_number(env, got);
}

static napi_value open_wake(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? throw_system(env, errno, "eventfd", "wake") : make_number(env, fd);
}

static napi_value wake(napi_env env, napi_callback_info info) {
  struct call call;
  uint64_t one = 1;
  int fd;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  // EAGAIN: the counter is full, so the wake-up is already pending.
  if (write(fd, &one, sizeof one) >= 0 || errno == EAGAIN) return NULL;
  return throw_system_fd(env, errno, "write", fd);
}

static napi_value clear_wake(napi_env env, napi_callback_info info) {
  struct call call;
  uint64_t count;
  int fd;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (read(fd, &count, sizeof count) >= 0 || errno == EAGAIN) return NULL;
  return throw_system_fd(env, errno, "read", fd);
}

const struct entry poll_entries[] = {
    {"openPoller", open_poller}, {"pollerAdd", poller_add}, {"pollerRemove", poller_remove},
    {"pollerWait", poller_wait}, {"openWake", open_wake},   {"wake", wake},
    {"clearWake", clear_wake},   {NULL, NULL},
};
