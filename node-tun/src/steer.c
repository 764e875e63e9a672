// Puts packets where the CPU is that has them: a program on TUN chooses the queue, one on a
// SO_REUSEPORT group the socket. Flows that are busy go to queues of their own. A flow changes its
// queue only when the queue's worker has said that it is through with all the flow had there.
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

enum { MOST_QUEUES = 64, MOST_STEPS = 3 * MOST_QUEUES + 100, FLOW_BITS = 10 };
// A flow is busy for a while after it had more than this in a window.
enum { WINDOW_NS = 1000000, BUSY_PACKETS = 8, BUSY_BYTES = 65536, BUSY_NS = 1000000000 };
// A flow not seen for 55 * 2^30 ns is new, and new ones are busy until they had time to show it.
enum { NEW_SHIFT = 30, NEW_AFTER = 55, NEW_BUSY_NS = 100000000 };
// What the old worker sent may still wait in a CPU's backlog: a flow moves in a pause.
enum { PAUSE_NS = 200000 };
// A worker that said nothing for so long after the flow's last packet is taken to be through.
enum { SILENCE_NS = 20000000, STAMP_SHIFT = 10 };

// Queue or socket i is for CPU cpus[i]; `busy` further ones are for busy flows of any CPU.
struct order {
  uint32_t *cpus;
  uint32_t count, busy;
};

// What the program keeps of the flows of one slot. Two CPUs may write it at once: then a count is
// a little off, and the queue is one of the two that were chosen.
struct flow {
  uint64_t last, window, busy_until;
  uint32_t packets, bytes, queue, unused;
};

struct program {
  struct bpf_insn steps[MOST_STEPS];
  uint32_t length;
};

// The instruction set is in the kernel's Documentation/bpf/standardization.
static uint32_t put(struct program *p, uint8_t code, uint8_t to, uint8_t from, int16_t off,
                    int32_t value) {
  p->steps[p->length] = (struct bpf_insn){
      .code = code, .dst_reg = to & 15, .src_reg = from & 15, .off = off, .imm = value};
  return p->length++;
}

static void set(struct program *p, uint8_t to, int32_t value) {
  put(p, BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
}

static void copy(struct program *p, uint8_t to, uint8_t from) {
  put(p, BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}

static void call_helper(struct program *p, int32_t helper) {
  put(p, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

static void load(struct program *p, uint8_t size, uint8_t to, uint8_t from, int off) {
  put(p, BPF_LDX | BPF_MEM | size, to, from, (int16_t)off, 0);
}

static void store(struct program *p, uint8_t size, uint8_t to, int off, uint8_t from) {
  put(p, BPF_STX | BPF_MEM | size, to, from, (int16_t)off, 0);
}

// A conditional jump to where land() will say.
static uint32_t jump(struct program *p, uint8_t comparison, uint8_t left, int32_t right) {
  return put(p, BPF_JMP | comparison | BPF_K, left, 0, 0, right);
}

static uint32_t jump_by(struct program *p, uint8_t class, uint8_t comparison, uint8_t left,
                        uint8_t right) {
  return put(p, class | comparison | BPF_X, left, right, 0, 0);
}

static void land(struct program *p, uint32_t from) {
  p->steps[from].off = (int16_t)(p->length - from - 1);
}

enum { R0, R1, R2, R3, R4, R5, CONTEXT, HASH, FLOW, NOW, FRAME };
// Words of the stack, from its end.
enum { KEY = -4, PORTS = -8, TARGET = -12 };
#define FIELD(field) ((int)offsetof(struct flow, field))
#define SKB(field) ((int)offsetof(struct __sk_buff, field))

// r0 = the map's value at stack[KEY]. Gives the jump for "there is none".
static uint32_t look_up(struct program *p, int map) {
  put(p, BPF_LD | BPF_DW | BPF_IMM, R1, BPF_PSEUDO_MAP_FD, 0, map);
  put(p, 0, 0, 0, 0, 0);
  copy(p, R2, FRAME);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R2, 0, 0, KEY);
  call_helper(p, BPF_FUNC_map_lookup_elem);
  return jump(p, BPF_JEQ, R0, 0);
}

// TUN: what the sending socket gave; 0 for sockets that are not connected, which share a slot.
static void hash_inner(struct program *p) {
  load(p, BPF_W, HASH, CONTEXT, SKB(hash));
}

// UDP: the outer ports, in which the sender's flow hash is. Behind IP options: other bytes of them.
static void hash_outer(struct program *p) {
  load(p, BPF_W, R1, CONTEXT, SKB(protocol));
  set(p, R2, 20);
  uint32_t not6 = jump(p, BPF_JNE, R1, htons(0x86dd));
  set(p, R2, 40);
  land(p, not6);
  copy(p, R1, CONTEXT);
  copy(p, R3, FRAME);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R3, 0, 0, PORTS);
  set(p, R4, 4);
  set(p, R5, BPF_HDR_START_NET);
  call_helper(p, BPF_FUNC_skb_load_bytes_relative);
  load(p, BPF_W, HASH, FRAME, PORTS);
}

// FLOW = the slot of HASH, NOW = the time.
static uint32_t find_flow(struct program *p, int map) {
  put(p, BPF_ALU | BPF_MUL | BPF_K, HASH, 0, 0, (int32_t)2654435761U);
  copy(p, R1, HASH);
  put(p, BPF_ALU | BPF_RSH | BPF_K, R1, 0, 0, 32 - FLOW_BITS);
  store(p, BPF_W, FRAME, KEY, R1);
  uint32_t none = look_up(p, map);
  copy(p, FLOW, R0);
  call_helper(p, BPF_FUNC_ktime_get_ns);
  copy(p, NOW, R0);
  return none;
}

// r3 = packets, r4 = bytes of this window, this packet among them
static void count_packet(struct program *p) {
  load(p, BPF_W, R3, FLOW, FIELD(packets));
  load(p, BPF_W, R4, FLOW, FIELD(bytes));
  load(p, BPF_DW, R5, FLOW, FIELD(window));
  copy(p, R1, NOW);
  put(p, BPF_ALU64 | BPF_SUB | BPF_X, R1, R5, 0, 0);
  uint32_t same = jump(p, BPF_JLE, R1, WINDOW_NS);
  store(p, BPF_DW, FLOW, FIELD(window), NOW);
  set(p, R3, 0);
  set(p, R4, 0);
  land(p, same);
  load(p, BPF_W, R1, CONTEXT, SKB(len));
  put(p, BPF_ALU64 | BPF_ADD | BPF_X, R4, R1, 0, 0);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R3, 0, 0, 1);
  store(p, BPF_W, FLOW, FIELD(packets), R3);
  store(p, BPF_W, FLOW, FIELD(bytes), R4);
}

// r0 = queue of this CPU; a CPU that is not in the list has its number modulo theirs.
static void choose_own(struct program *p, const struct order *order) {
  call_helper(p, BPF_FUNC_get_smp_processor_id);
  copy(p, R1, R0);
  put(p, BPF_ALU64 | BPF_MOD | BPF_K, R0, 0, 0, (int32_t)order->count);
  for (uint32_t i = 0; i < order->count; i++) {
    if (order->cpus[i] % order->count == i) continue;
    uint32_t other = jump(p, BPF_JNE, R1, (int32_t)order->cpus[i]);
    set(p, R0, (int32_t)i);
    land(p, other);
  }
}

// Sets busy_until of a new flow.
static void note_new(struct program *p) {
  load(p, BPF_DW, R2, FLOW, FIELD(last));
  copy(p, R1, NOW);
  put(p, BPF_ALU64 | BPF_SUB | BPF_X, R1, R2, 0, 0);
  put(p, BPF_ALU64 | BPF_RSH | BPF_K, R1, 0, 0, NEW_SHIFT);
  uint32_t known = jump(p, BPF_JLE, R1, NEW_AFTER);
  copy(p, R1, NOW);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R1, 0, 0, NEW_BUSY_NS);
  store(p, BPF_DW, FLOW, FIELD(busy_until), R1);
  land(p, known);
}

// stack[TARGET] = the queue where the flow should be
static void choose_target(struct program *p, const struct order *order) {
  uint32_t many = jump(p, BPF_JGT, R3, BUSY_PACKETS), large = jump(p, BPF_JGT, R4, BUSY_BYTES);
  load(p, BPF_DW, R1, FLOW, FIELD(busy_until));
  uint32_t still = jump_by(p, BPF_JMP, BPF_JGT, R1, NOW);
  choose_own(p, order);
  uint32_t done = put(p, BPF_JMP | BPF_JA, 0, 0, 0, 0);
  land(p, many);
  land(p, large);
  copy(p, R1, NOW);
  put(p, BPF_ALU64 | BPF_ADD | BPF_K, R1, 0, 0, BUSY_NS);
  store(p, BPF_DW, FLOW, FIELD(busy_until), R1);
  land(p, still);
  copy(p, R0, HASH);
  put(p, BPF_ALU | BPF_MOD | BPF_K, R0, 0, 0, (int32_t)order->busy);
  put(p, BPF_ALU | BPF_ADD | BPF_K, R0, 0, 0, (int32_t)order->count);
  land(p, done);
  store(p, BPF_W, FRAME, TARGET, R0);
}

// The flow goes over when its present queue's stamp is later than its last packet, or that packet
// was long ago. r0 = the queue. Gives the jump for "no such stamp".
static uint32_t change_queue(struct program *p, int stamps) {
  load(p, BPF_W, R1, FLOW, FIELD(queue));
  store(p, BPF_W, FRAME, KEY, R1);
  uint32_t none = look_up(p, stamps);
  load(p, BPF_W, R1, R0, 0);
  load(p, BPF_DW, R2, FLOW, FIELD(last));
  store(p, BPF_DW, FLOW, FIELD(last), NOW);
  load(p, BPF_W, R0, FRAME, TARGET);
  put(p, BPF_ALU64 | BPF_SUB | BPF_X, NOW, R2, 0, 0);
  uint32_t silent = jump(p, BPF_JGT, NOW, SILENCE_NS);
  uint32_t no_pause = jump(p, BPF_JLE, NOW, PAUSE_NS);
  put(p, BPF_ALU64 | BPF_RSH | BPF_K, R2, 0, 0, STAMP_SHIFT);
  put(p, BPF_ALU | BPF_SUB | BPF_X, R1, R2, 0, 0);
  uint32_t through = put(p, BPF_JMP32 | BPF_JSGT | BPF_K, R1, 0, 0, 0);
  land(p, no_pause);
  load(p, BPF_W, R0, FLOW, FIELD(queue));
  land(p, silent);
  land(p, through);
  store(p, BPF_W, FLOW, FIELD(queue), R0);
  return none;
}

static void write_program(struct program *p, const struct order *order, bool outer, int flows,
                          int stamps) {
  p->length = 0;
  copy(p, CONTEXT, R1);
  if (order->busy == 0) {
    choose_own(p, order);
    put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    return;
  }
  set(p, R1, 0);
  store(p, BPF_W, FRAME, PORTS, R1);
  if (outer) hash_outer(p);
  if (!outer) hash_inner(p);
  uint32_t no_flow = find_flow(p, flows);
  note_new(p);
  count_packet(p);
  choose_target(p, order);
  uint32_t no_stamp = change_queue(p, stamps);
  land(p, no_flow);
  land(p, no_stamp);
  put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static int call_bpf(int command, union bpf_attr *attributes) {
  return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int make_map(uint32_t entries, uint32_t size, uint32_t flags) {
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = sizeof(uint32_t);
  attributes.value_size = size;
  attributes.max_entries = entries;
  attributes.map_flags = flags;
  return call_bpf(BPF_MAP_CREATE, &attributes);
}

// The loaded program, or -1 with errno. The map of flows lives as long as the program.
static int load_program(const struct order *order, bool outer, int stamps) {
  struct program program;
  union bpf_attr attributes;
  int flows = make_map(1u << FLOW_BITS, sizeof(struct flow), 0);
  if (flows < 0) return -1;
  write_program(&program, order, outer, flows, stamps);
  memset(&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = (uint64_t)(uintptr_t)program.steps;
  attributes.insn_cnt = program.length;
  attributes.license = (uint64_t)(uintptr_t)"Apache-2.0";
  int loaded = call_bpf(BPF_PROG_LOAD, &attributes), error = errno;
  close(flows);
  errno = error;
  return loaded;
}

// openStamps(): a map of one 32-bit stamp per queue, which workers write and the programs read
static napi_value open_stamps(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = make_map(MOST_QUEUES, sizeof(uint64_t), BPF_F_MMAPABLE);
  return fd < 0 ? throw_system(env, errno, "bpf BPF_MAP_CREATE", "stamps") : make_number(env, fd);
}

static void unmap_stamps(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  munmap(data, MOST_QUEUES * sizeof(uint64_t));
}

// mapStamps(fd): the same memory as an ArrayBuffer
static napi_value map_stamps(napi_env env, napi_callback_info info) {
  struct call call;
  int fd;
  napi_value buffer = NULL;
  size_t size = MOST_QUEUES * sizeof(uint64_t);
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return throw_system_fd(env, errno, "mmap", fd);
  if (napi_create_external_arraybuffer(env, data, size, unmap_stamps, NULL, &buffer) == napi_ok) {
    return buffer;
  }
  munmap(data, size);
  return throw_system_fd(env, ENOMEM, "arraybuffer", fd);
}

static bool arg_order(const struct call *call, struct order *out) {
  size_t count;
  if (!arg_u32s(call, 1, "cpus", &out->cpus, &count)) return false;
  if (!arg_u32(call, 2, "busy", &out->busy)) return false;
  out->count = (uint32_t)count;
  if (count >= 1 && count <= MOST_QUEUES && out->busy <= MOST_QUEUES - count) return true;
  throw_type(call->env, "cpus and busy", "1 to 64 in sum");
  return false;
}

// (fd, cpus, busy, stamps)
static napi_value steer(napi_env env, napi_callback_info info, bool outer) {
  struct call call;
  struct order order;
  int fd, stamps;
  if (!call_open(&call, env, info, 4) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_order(&call, &order) || !arg_fd(&call, 3, "stamps", &stamps)) return NULL;
  int program = load_program(&order, outer, stamps);
  if (program < 0) return throw_system_fd(env, errno, "bpf", fd);
  int done = outer ? setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof program)
                   : ioctl(fd, TUNSETSTEERINGEBPF, &program);
  int error = errno;
  close(program);  // the device or the group of sockets holds it
  if (done == 0) return NULL;
  const char *name = outer ? "setsockopt SO_ATTACH_REUSEPORT_EBPF" : "ioctl TUNSETSTEERINGEBPF";
  return throw_system_fd(env, error, name, fd);
}

static napi_value steer_tun(napi_env env, napi_callback_info info) {
  return steer(env, info, false);
}

static napi_value steer_udp(napi_env env, napi_callback_info info) {
  return steer(env, info, true);
}

static napi_value unsteer_tun(napi_env env, napi_callback_info info) {
  struct call call;
  int fd, none = -1;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (ioctl(fd, TUNSETSTEERINGEBPF, &none) == 0) return NULL;
  return throw_system_fd(env, errno, "ioctl TUNSETSTEERINGEBPF", fd);
}

static napi_value pin_thread(napi_env env, napi_callback_info info) {
  struct call call;
  uint32_t cpu;
  cpu_set_t set;
  if (!call_open(&call, env, info, 1) || !arg_u32(&call, 0, "cpu", &cpu)) return NULL;
  if (cpu >= CPU_SETSIZE) return throw_system(env, EINVAL, "sched_setaffinity", "thread");
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) == 0) return NULL;
  return throw_system(env, errno, "sched_setaffinity", "thread");
}

static napi_value allowed_cpus(napi_env env, napi_callback_info info) {
  cpu_set_t set;
  napi_value list = NULL;
  uint32_t count = 0;
  (void)info;
  if (sched_getaffinity(0, sizeof set, &set) != 0) {
    return throw_system(env, errno, "sched_getaffinity", "thread");
  }
  napi_create_array(env, &list);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (CPU_ISSET(cpu, &set)) napi_set_element(env, list, count++, make_number(env, cpu));
  }
  return list;
}

const struct entry steer_entries[] = {
    {"steerTun", steer_tun},   {"unsteerTun", unsteer_tun},   {"steerUdp", steer_udp},
    {"pinThread", pin_thread}, {"allowedCpus", allowed_cpus}, {"openStamps", open_stamps},
    {"mapStamps", map_stamps},  {NULL, NULL},
};
