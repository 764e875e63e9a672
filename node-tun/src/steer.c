// Puts packets where the CPU is that has them: a program on TUN chooses the queue, one on a
// SO_REUSEPORT group the socket. Busy flows go to queues of their own, both directions to the same
// one. A flow changes its queue only when its worker has said that it is through with all of it.
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "steer.h"

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

// The loaded program, or -1 with errno.
static int load_program(const struct order *order, bool outer) {
  struct program program;
  union bpf_attr attributes;
  write_program(&program, order, outer);
  memset(&attributes, 0, sizeof attributes);
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = (uint64_t)(uintptr_t)program.steps;
  attributes.insn_cnt = program.length;
  attributes.license = (uint64_t)(uintptr_t)"Apache-2.0";
  return call_bpf(BPF_PROG_LOAD, &attributes);
}

// openFlows(): what the programs of one device and its sockets remember of their flows
static napi_value open_flows(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = make_map(1u << FLOW_BITS, sizeof(struct flow), 0);
  return fd < 0 ? throw_system(env, errno, "bpf BPF_MAP_CREATE", "flows") : make_number(env, fd);
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
  if (!arg_fd(call, 3, "stamps", &out->stamps)) return false;
  if (!arg_fd(call, 4, "flows", &out->flows)) return false;
  if (!arg_u32(call, 5, "packetAt", &out->packet_at)) return false;
  if (!arg_bool(call, 6, "geneve", &out->geneve)) return false;
  out->count = (uint32_t)count;
  bool some = count >= 1 || out->busy >= 1;
  if (some && count <= MOST_QUEUES && out->busy <= MOST_QUEUES - count) return true;
  throw_type(call->env, "cpus and busy", "1 to 64 in sum");
  return false;
}

// (fd, cpus, busy, stamps, flows, packetAt, geneve)
static napi_value steer(napi_env env, napi_callback_info info, bool outer) {
  struct call call;
  struct order order;
  int fd;
  if (!call_open(&call, env, info, 7) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_order(&call, &order)) return NULL;
  int program = load_program(&order, outer);
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

// gatherUdp(fd, index): all datagrams of the group go to its socket of that number
static napi_value gather_udp(napi_env env, napi_callback_info info) {
  struct call call;
  uint32_t index;
  int fd;
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_u32(&call, 1, "index", &index)) return NULL;
  struct sock_filter steps[] = {BPF_STMT(BPF_RET | BPF_K, index)};
  struct sock_fprog program = {1, steps};
  int done = setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
  if (done == 0) return NULL;
  return throw_system_fd(env, errno, "setsockopt SO_ATTACH_REUSEPORT_CBPF", fd);
}

// spreadUdp(fd): by flow again, as without any program. A kernel before 5.3 keeps the one it has.
static napi_value spread_udp(napi_env env, napi_callback_info info) {
  struct call call;
  int fd, none = 0;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof none) == 0) return NULL;
  if (errno == ENOENT || errno == ENOPROTOOPT) return NULL;
  return throw_system_fd(env, errno, "setsockopt SO_DETACH_REUSEPORT_BPF", fd);
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

// The kernel's own shape, as far as it had it in Linux 3.14.
struct schedule {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns, deadline_ns, period_ns;
};

// setThreadSlice(microseconds): whether the kernel now plans this thread in turns so short, so that
// it runs at once when it is woken (Linux 6.12). With an older kernel, or another policy, nothing
// changes.
static napi_value set_thread_slice(napi_env env, napi_callback_info info) {
  struct call call;
  uint32_t slice_us;
  napi_value result = NULL;
  struct schedule now = {0};
  if (!call_open(&call, env, info, 1) || !arg_u32(&call, 0, "microseconds", &slice_us)) return NULL;
  bool done = syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) == 0 && now.policy == SCHED_OTHER;
  if (done) {
    now.runtime_ns = (uint64_t)slice_us * 1000;
    done = syscall(SYS_sched_setattr, 0, &now, 0) == 0 &&
           syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) == 0 &&
           now.runtime_ns == (uint64_t)slice_us * 1000;
  }
  napi_get_boolean(env, done, &result);
  return result;
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
    {"mapStamps", map_stamps}, {"openFlows", open_flows},     {"setThreadSlice", set_thread_slice},
    {"gatherUdp", gather_udp}, {"spreadUdp", spread_udp},
    {NULL, NULL},
};
