// What all files of the addon share: arguments, errors, checks of the caller's memory.
// Functions that return bool have thrown into JavaScript when they return false.
#ifndef NODE_TUN_COMMON_H
#define NODE_TUN_COMMON_H
#define NAPI_VERSION 8
#include <netinet/in.h>
#include <node_api.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "descriptor.h"

#define MAX_ARGUMENTS 12
#define NAME_SIZE 256

// One call from JavaScript.
struct call {
  napi_env env;
  size_t count;
  napi_value values[MAX_ARGUMENTS];
};

// The caller's memory: a Uint8Array, mostly over a shared WebAssembly.Memory.
struct memory {
  uint8_t *base;
  size_t length;
};

// Arguments of every batch function, checked.
struct batch {
  napi_env env;
  struct memory memory;
  struct descriptor *first;
  uint32_t count;
  uint32_t most_bytes;    // reads: stop when so many have come; 0 = no limit
  uint32_t socket_index;  // reads
  int fd;                 // reads
  const int32_t *fds;     // writes
  size_t fds_length;      // writes
};

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

// arguments.c
bool call_open(struct call *call, napi_env env, napi_callback_info info, size_t needed);
bool arg_u32(const struct call *call, size_t index, const char *name, uint32_t *out);
bool arg_fd(const struct call *call, size_t index, const char *name, int *out);
bool arg_double(const struct call *call, size_t index, const char *name, double *out);
bool arg_bool(const struct call *call, size_t index, const char *name, bool *out);
bool arg_string(const struct call *call, size_t index, const char *name, char *out, size_t size);
bool arg_bytes(const struct call *call, size_t index, const char *name, struct memory *out);
bool arg_u32s(const struct call *call, size_t index, const char *name, uint32_t **out, size_t *n);
bool batch_open_read(struct batch *batch, napi_env env, napi_callback_info info);
bool batch_open_write(struct batch *batch, napi_env env, napi_callback_info info);
napi_value make_number(napi_env env, double value);
napi_value make_string(napi_env env, const char *value);
void set_number(napi_env env, napi_value object, const char *key, double value);
void set_string(napi_env env, napi_value object, const char *key, const char *value);

// addon.c
void throw_type(napi_env env, const char *name, const char *expected);
// Throws SystemCallError; gives NULL so that a function can end with it.
napi_value throw_system(napi_env env, int error, const char *syscall, const char *object);
napi_value throw_system_fd(napi_env env, int error, const char *syscall, int fd);

// tun.c. Reads give a count or the negative errno of the first packet; writes, packets sent.
int read_tun(const struct batch *batch);
uint32_t write_tun(const struct batch *batch);

// datagram.c: UDP and raw sockets
int receive_datagrams(const struct batch *batch);
uint32_t send_datagrams(const struct batch *batch, bool raw);
napi_value read_datagrams(napi_env env, napi_callback_info info);
napi_value write_datagrams(napi_env env, napi_callback_info info, bool raw);

// poll.c: events, or -1 with errno; microseconds of CLOCK_MONOTONIC
struct epoll_event;
int wait_events(int poller, struct epoll_event *events, int most, double timeout_us);
double now_us(void);

// socket.c
struct failure {
  const char *syscall;
  int error;
};
// Each sets an option and gives true, or fills the failure.
bool set_option(int fd, int level, int option, int value, const char *name, struct failure *why);
bool set_packet_options(int fd, int family, struct failure *why);
bool set_fragmentable(int fd, int family, struct failure *why);
bool set_buffer(int fd, bool send, uint32_t bytes, struct failure *why);
bool set_filter_none(int fd, struct failure *why);
int get_option(int fd, int level, int option);
// Text to address: 0, or EINVAL when the text is no address of that family, ENODEV for a scope.
int parse_address(uint32_t family, const char *text, uint32_t port, union address *out);
socklen_t address_length(const union address *address);
void format_address(const union address *address, char *out, size_t size, uint32_t *port);

// What each file registers; see addon.c.
struct entry {
  const char *name;
  napi_callback function;
};
extern const struct entry tun_entries[], udp_entries[], raw_entries[], poll_entries[],
    pass_entries[], steer_entries[], load_entries[], flood_entries[], ping_entries[],
    exchange_entries[], resident_entries[], events_entries[];

// A private copy: another thread may change the descriptor while we look at it.
static inline struct descriptor snapshot(const struct descriptor *at) {
  struct descriptor copy;
  memcpy(&copy, at, sizeof copy);
  __asm__ volatile("" : : : "memory");
  return copy;
}

// Whether the batch holds as much as it may: more may wait behind it.
static inline bool is_full(const struct batch *batch, uint32_t done, uint64_t bytes) {
  return done == batch->count || (batch->most_bytes != 0 && bytes >= batch->most_bytes);
}

static inline bool inside(const struct memory *memory, uint32_t at, uint32_t length) {
  return (uint64_t)at + length <= memory->length;
}

#endif
