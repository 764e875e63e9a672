// What the load generator's files share: a clock, and how long a call may block.
#ifndef NODE_TUN_LOAD_H
#define NODE_TUN_LOAD_H
#include "common.h"

#include <time.h>

// No call blocks its thread for longer; sockets look at the clock at least this often.
#define LOAD_LONGEST_US 120e6
enum { LOAD_SLICE_MS = 100 };

static inline double load_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

// A time in microseconds from 0 to LOAD_LONGEST_US.
bool arg_load_time(const struct call *call, size_t index, const char *name, double *out);
// The time left as poll wants it, at most a slice.
int load_slice_ms(double end_us);
void set_flag(napi_env env, napi_value object, const char *key, bool value);

#endif
