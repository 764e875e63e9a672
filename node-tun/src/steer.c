// Puts packets where the CPU is that has them: a program on TUN that chooses the queue, one on a
// SO_REUSEPORT group that chooses the socket, and threads pinned to CPUs.
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

enum { MOST_CPUS = 64, MOST_STEPS = 2 * MOST_CPUS + 4 };

// Queue or socket i is for CPU cpus[i]; a CPU that is not in the list has its number as index.
struct order {
  uint32_t *cpus;
  size_t count;
};

static bool arg_order(const struct call *call, struct order *out) {
  if (!arg_u32s(call, 1, "cpus", &out->cpus, &out->count)) return false;
  if (out->count >= 1 && out->count <= MOST_CPUS) return true;
  throw_type(call->env, "cpus", "1 to 64 CPU numbers");
  return false;
}

static int load_program(const struct bpf_insn *steps, uint32_t count) {
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = (uint64_t)(uintptr_t)steps;
  attributes.insn_cnt = count;
  attributes.license = (uint64_t)(uintptr_t)"Apache-2.0";
  return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
}

// r0 = CPU; then `if r0 == cpus[i]: return i` where the number alone does not say it. The kernel
// takes the result modulo the number of queues.
static uint32_t write_tun_program(struct bpf_insn *steps, const struct order *order) {
  uint32_t n = 0;
  steps[n++] = (struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_smp_processor_id};
  for (uint32_t i = 0; i < order->count; i++) {
    if (order->cpus[i] % order->count == i) continue;
    int32_t cpu = (int32_t)order->cpus[i];
    steps[n++] = (struct bpf_insn){.code = BPF_JMP | BPF_JNE | BPF_K, .off = 2, .imm = cpu};
    steps[n++] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = (int32_t)i};
    steps[n++] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
  }
  steps[n++] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
  return n;
}

static napi_value steer_tun(napi_env env, napi_callback_info info) {
  struct call call;
  struct order order;
  struct bpf_insn steps[3 * MOST_CPUS + 2];
  int fd;
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_order(&call, &order)) return NULL;
  int program = load_program(steps, write_tun_program(steps, &order));
  if (program < 0) return throw_system_fd(env, errno, "bpf BPF_PROG_LOAD", fd);
  int error = ioctl(fd, TUNSETSTEERINGEBPF, &program) == 0 ? 0 : errno;
  close(program);  // the device holds it
  return error == 0 ? NULL : throw_system_fd(env, error, "ioctl TUNSETSTEERINGEBPF", fd);
}

static napi_value unsteer_tun(napi_env env, napi_callback_info info) {
  struct call call;
  int fd, none = -1;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (ioctl(fd, TUNSETSTEERINGEBPF, &none) == 0) return NULL;
  return throw_system_fd(env, errno, "ioctl TUNSETSTEERINGEBPF", fd);
}

// A = CPU; for an index that no socket of the group has the kernel takes the packet's own hash.
static napi_value steer_udp(napi_env env, napi_callback_info info) {
  struct call call;
  struct order order;
  struct sock_filter steps[MOST_STEPS];
  uint16_t n = 0;
  int fd;
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_order(&call, &order)) return NULL;
  steps[n++] =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_CPU));
  for (uint32_t i = 0; i < order.count; i++) {
    if (order.cpus[i] == i) continue;
    steps[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, order.cpus[i], 0, 1);
    steps[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, i);
  }
  steps[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_A, 0);
  struct sock_fprog program = {n, steps};
  int size = sizeof program;
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, (socklen_t)size) == 0) {
    return NULL;
  }
  return throw_system_fd(env, errno, "setsockopt SO_ATTACH_REUSEPORT_CBPF", fd);
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
    {"pinThread", pin_thread}, {"allowedCpus", allowed_cpus}, {NULL, NULL},
};
