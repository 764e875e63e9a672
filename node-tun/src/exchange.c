// Both sides of one worker in one call each way: waits and reads what is ready; writes what was
// made. A packet then crosses between JavaScript and C twice, and a wake-up runs little cold code.
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

// Words of the plan; index.ts exports them to the caller. AT: offsets into the memory, of a
// descriptor batch or of a 32-bit word.
enum {
  NOW = 0,   // double: microseconds of CLOCK_MONOTONIC when the last reads began
  WAIT = 1,  // double: microseconds to wait when no side may hold more, below 0 = no limit
  POLLER = 4,
  READY,  // bits: sides that may hold more; the next receive reads these and does not wait
  GUARD,  // nothing is read while the guard's first word is another: the handles are not the latest
  DEVICE,
  STATE_AT,
  STATE_WAITING,
  STATE_RUNNING,
  BATCH,
  BATCH_BYTES,  // a read that has brought so many is not gone on with; 0 = no limit
  DEVICE_IN_AT,
  DEVICE_IN_COUNT_AT,
  WIRE_IN_AT,
  WIRE_IN_COUNT_AT,
  DEVICE_OUT_AT,
  DEVICE_OUT_COUNT_AT,
  WIRE_OUT_AT,
  WIRE_OUT_COUNT_AT,
  SOCKETS,
  FIRST_SOCKET,
  MOST_SOCKETS = 64,
  // Sockets to receive from, and the one to begin with: pairs of a descriptor and the index that
  // its datagrams get.
  LISTENING = FIRST_SOCKET + MOST_SOCKETS,
  NEXT_LISTENING,
  FIRST_LISTENING,
  MOST_LISTENING = 16,
  PLAN_SIZE = FIRST_LISTENING + 2 * MOST_LISTENING,
};
// Bits of READY and of receive's answer, and the poller's tokens as bits.
enum { BIT_DEVICE = 1, BIT_WIRE = 2, BIT_WAKE = 4, MOST_EVENTS = 8 };

// What the two functions of one exchange share. The references keep the arrays alive.
struct exchange {
  struct memory memory;
  int32_t *plan;
  const uint32_t *guard;
  napi_ref references[3];
  int functions;
};

static void let_go(napi_env env, void *data, void *hint) {
  struct exchange *exchange = data;
  (void)hint;
  if (--exchange->functions > 0) return;
  for (int i = 0; i < 3; i++) napi_delete_reference(env, exchange->references[i]);
  free(exchange);
}

static struct exchange *exchange_of(napi_env env, napi_callback_info info) {
  void *data = NULL;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  return data;
}

static napi_value throw_outside(napi_env env) {
  return throw_system(env, EFAULT, "exchange", "a place outside of the memory");
}

static uint32_t *word_at(const struct exchange *exchange, int field) {
  uint32_t at = (uint32_t)exchange->plan[field];
  if (at % sizeof(uint32_t) != 0 || !inside(&exchange->memory, at, sizeof(uint32_t))) return NULL;
  return (uint32_t *)(exchange->memory.base + at);
}

static bool batch_at(const struct exchange *exchange, int field, uint32_t count,
                     struct batch *out) {
  uint32_t at = (uint32_t)exchange->plan[field];
  uint64_t end = (uint64_t)at + (uint64_t)count * sizeof(struct descriptor);
  uintptr_t first = (uintptr_t)exchange->memory.base + at;
  if (end > exchange->memory.length || first % _Alignof(struct descriptor) != 0) return false;
  *out = (struct batch){
      .memory = exchange->memory, .first = (struct descriptor *)first, .count = count};
  return true;
}

// Says "waiting" before it may block and "running" before anything else is read: others go by it.
static int wait_for_sides(const struct exchange *exchange, uint32_t *state) {
  struct epoll_event events[MOST_EVENTS];
  int32_t *plan = exchange->plan;
  double wait_us;
  int bits = 0;
  memcpy(&wait_us, (double *)plan + WAIT, sizeof wait_us);
  __atomic_store_n(state, (uint32_t)plan[STATE_WAITING], __ATOMIC_SEQ_CST);
  int got = wait_events(plan[POLLER], events, MOST_EVENTS, wait_us);
  int error = errno;
  __atomic_store_n(state, (uint32_t)plan[STATE_RUNNING], __ATOMIC_SEQ_CST);
  for (int i = 0; i < got; i++) bits |= 1 << (events[i].data.u64 & 3);
  errno = error;
  return got < 0 ? -1 : bits;
}

// Datagrams received from all sockets, or the negative errno where there were none. The next read
// begins behind the socket that filled the batch, so none starves the others.
static int receive_all(int32_t *plan, const struct batch *batch) {
  uint32_t sockets = (uint32_t)plan[LISTENING], next = (uint32_t)plan[NEXT_LISTENING];
  uint32_t done = 0;
  if (sockets > MOST_LISTENING) return -EFAULT;
  for (uint32_t i = 0; i < sockets && done < batch->count; i++) {
    if (next >= sockets) next = 0;
    const int32_t *pair = plan + FIRST_LISTENING + 2 * next++;
    struct batch part = *batch;
    part.first += done;
    part.count -= done;
    part.fd = pair[0];
    part.socket_index = (uint32_t)pair[1];
    int got = receive_datagrams(&part);
    if (got < 0) return done > 0 ? (int)done : got;
    done += (uint32_t)got;
  }
  plan[NEXT_LISTENING] = (int32_t)next;
  return (int)done;
}

// Reads one side: its count goes to the memory. False with errno when nothing could be read.
static bool read_side(struct exchange *exchange, int side, int at, int count_at, int *full) {
  struct batch batch;
  uint64_t bytes = 0;
  uint32_t *count = word_at(exchange, count_at);
  if (count == NULL || !batch_at(exchange, at, (uint32_t)exchange->plan[BATCH], &batch)) {
    errno = EFAULT;
    return false;
  }
  batch.fd = exchange->plan[DEVICE];
  batch.most_bytes = (uint32_t)exchange->plan[BATCH_BYTES];
  int got = side == BIT_DEVICE ? read_tun(&batch) : receive_all(exchange->plan, &batch);
  *count = got < 0 ? 0 : (uint32_t)got;
  for (int i = 0; i < got; i++) bytes += batch.first[i].length;
  if (got >= 0 && is_full(&batch, (uint32_t)got, bytes)) *full |= side;
  errno = got < 0 ? -got : 0;
  return got >= 0;
}

// receive(): sides read and found empty behind what was read, and BIT_WAKE when that was the reason
static napi_value receive(napi_env env, napi_callback_info info) {
  struct exchange *exchange = exchange_of(env, info);
  int32_t *plan = exchange->plan;
  int bits = plan[READY], full = 0;
  uint32_t *state = word_at(exchange, STATE_AT);
  napi_value answer = NULL;
  if (state == NULL) return throw_outside(env);
  if (bits == 0) bits = wait_for_sides(exchange, state);
  if (bits < 0) return throw_system_fd(env, errno, "epoll_wait", plan[POLLER]);
  plan[READY] = bits & (BIT_DEVICE | BIT_WIRE);
  if (__atomic_load_n(exchange->guard, __ATOMIC_SEQ_CST) != (uint32_t)plan[GUARD]) {
    napi_create_int32(env, BIT_WAKE, &answer);
    return answer;
  }
  double now = now_us();
  memcpy((double *)plan + NOW, &now, sizeof now);
  plan[READY] = 0;
  if ((bits & BIT_DEVICE) &&
      !read_side(exchange, BIT_DEVICE, DEVICE_IN_AT, DEVICE_IN_COUNT_AT, &full)) {
    return throw_system_fd(env, errno, "read", plan[DEVICE]);
  }
  if ((bits & BIT_WIRE) && !read_side(exchange, BIT_WIRE, WIRE_IN_AT, WIRE_IN_COUNT_AT, &full)) {
    return throw_system_fd(env, errno, "recvmmsg", plan[FIRST_LISTENING]);
  }
  // While one side is full nobody asks the poller, so both are read: none must starve the other.
  plan[READY] = full == 0 ? 0 : BIT_DEVICE | BIT_WIRE;
  napi_create_int32(env, bits & ~full, &answer);
  return answer;
}

// send(): writes both outputs; the memory's counts say how many, STATUS of each what came of it
static napi_value send_outputs(napi_env env, napi_callback_info info) {
  struct exchange *exchange = exchange_of(env, info);
  const int32_t *plan = exchange->plan;
  const uint32_t *to_wire = word_at(exchange, WIRE_OUT_COUNT_AT);
  const uint32_t *to_device = word_at(exchange, DEVICE_OUT_COUNT_AT);
  struct batch wire, device;
  uint32_t sockets = (uint32_t)plan[SOCKETS];
  if (to_wire == NULL || to_device == NULL || sockets > MOST_SOCKETS) return throw_outside(env);
  if (!batch_at(exchange, WIRE_OUT_AT, *to_wire, &wire)) return throw_outside(env);
  if (!batch_at(exchange, DEVICE_OUT_AT, *to_device, &device)) return throw_outside(env);
  wire.fds = plan + FIRST_SOCKET;
  wire.fds_length = sockets;
  device.fds = plan + DEVICE;
  device.fds_length = 1;
  if (wire.count > 0) send_datagrams(&wire, false);
  if (device.count > 0) write_tun(&device);
  return NULL;
}

static bool add_function(napi_env env, napi_value object, const char *name, napi_callback function,
                         struct exchange *exchange) {
  napi_value made = NULL;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, exchange, &made) != napi_ok ||
      napi_add_finalizer(env, made, exchange, let_go, NULL, NULL) != napi_ok) {
    return false;
  }
  exchange->functions++;
  napi_set_named_property(env, object, name, made);
  return true;
}

// openExchange(memory, plan, guard): { receive, send }
static napi_value open_exchange(napi_env env, napi_callback_info info) {
  struct call call;
  struct memory memory;
  uint32_t *plan, *guard;
  size_t words, guards;
  napi_value pair = NULL;
  if (!call_open(&call, env, info, 3) || !arg_bytes(&call, 0, "memory", &memory)) return NULL;
  if (!arg_u32s(&call, 1, "plan", &plan, &words)) return NULL;
  if (!arg_u32s(&call, 2, "guard", &guard, &guards)) return NULL;
  if (guards < 1 || words < PLAN_SIZE || (uintptr_t)plan % sizeof(double) != 0) {
    throw_type(env, "plan and guard", "exchangePlan.SIZE words at a multiple of 8, and a word");
    return NULL;
  }
  struct exchange *exchange = calloc(1, sizeof *exchange);
  if (exchange == NULL) return throw_system(env, ENOMEM, "exchange", "memory");
  exchange->memory = memory;
  exchange->plan = (int32_t *)plan;
  exchange->guard = guard;
  for (int i = 0; i < 3; i++) {
    napi_create_reference(env, call.values[i], 1, &exchange->references[i]);
  }
  napi_create_object(env, &pair);
  bool made = add_function(env, pair, "receive", receive, exchange) &&
              add_function(env, pair, "send", send_outputs, exchange);
  return made ? pair : throw_system(env, ENOMEM, "exchange", "functions");
}

#define FIELD(name) {#name, name}
static napi_value plan_layout(napi_env env, napi_callback_info info) {
  static const struct {
    const char *name;
    int value;
  } fields[] = {
      FIELD(NOW), FIELD(WAIT), FIELD(POLLER), FIELD(READY), FIELD(GUARD), FIELD(DEVICE),
      FIELD(STATE_AT), FIELD(STATE_WAITING), FIELD(STATE_RUNNING), FIELD(BATCH), FIELD(BATCH_BYTES),
      FIELD(DEVICE_IN_AT), FIELD(DEVICE_IN_COUNT_AT), FIELD(WIRE_IN_AT), FIELD(WIRE_IN_COUNT_AT),
      FIELD(DEVICE_OUT_AT), FIELD(DEVICE_OUT_COUNT_AT), FIELD(WIRE_OUT_AT),
      FIELD(WIRE_OUT_COUNT_AT), FIELD(SOCKETS), FIELD(FIRST_SOCKET), FIELD(LISTENING),
      FIELD(FIRST_LISTENING), FIELD(BIT_DEVICE),
      FIELD(BIT_WIRE), FIELD(BIT_WAKE),
      {"SIZE", PLAN_SIZE},
  };
  napi_value layout = NULL;
  (void)info;
  napi_create_object(env, &layout);
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    set_number(env, layout, fields[i].name, fields[i].value);
  }
  return layout;
}

const struct entry exchange_entries[] = {
    {"openExchange", open_exchange}, {"exchangePlan", plan_layout}, {NULL, NULL}};
