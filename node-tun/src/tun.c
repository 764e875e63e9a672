// TUN and TAP queues: open with what the kernel grants, read and write whole batches.
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "features.h"

#define VNET_HEADER_SIZE 10  // struct virtio_net_hdr without num_buffers
// The longest that a packet is: vnet header, Ethernet header with one VLAN tag, 65,535 bytes of IP.
#define PACKET_MOST (VNET_HEADER_SIZE + 18 + 65535)

// Bits that index.ts passes; keep equal to its table.
enum { WANT_TAP = 1, WANT_MULTI = 2, WANT_VNET = 4, WANT_OFFLOADS = 8, WANT_EXCLUSIVE = 16 };

static napi_value make_queue(napi_env env, int fd, const struct ifreq *device, unsigned offloads) {
  napi_value queue = NULL;
  unsigned flags = (unsigned short)device->ifr_flags;
  unsigned is = (flags & IFF_TAP ? WANT_TAP : 0) | (flags & IFF_MULTI_QUEUE ? WANT_MULTI : 0) |
                (flags & IFF_VNET_HDR ? WANT_VNET : 0);
  napi_create_object(env, &queue);
  set_number(env, queue, "fd", fd);
  set_string(env, queue, "name", device->ifr_name);
  set_number(env, queue, "is", is);
  set_number(env, queue, "offloads", offloads);
  return queue;
}

// The richest set first: a kernel refuses the whole set for one bit it does not know.
static unsigned grant_offloads(int fd) {
  static const unsigned steps[] = {
      TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6,
      TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
      TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
      TUN_F_CSUM,
  };
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)steps[i]) == 0) return steps[i];
  }
  return 0;
}

static int attach(int fd, uint32_t wants, struct ifreq *request, const char **step) {
  int flags = IFF_NO_PI | (wants & WANT_TAP ? IFF_TAP : IFF_TUN);
  if (wants & WANT_MULTI) flags |= IFF_MULTI_QUEUE;
  if (wants & WANT_VNET) flags |= IFF_VNET_HDR;
  if (wants & WANT_EXCLUSIVE) flags |= IFF_TUN_EXCL;
  request->ifr_flags = (short)flags;
  *step = "ioctl TUNSETIFF";
  if (ioctl(fd, TUNSETIFF, request) < 0) return errno;
  int size = VNET_HEADER_SIZE;
  *step = "ioctl TUNSETVNETHDRSZ";
  if ((wants & WANT_VNET) && ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) return errno;
  return 0;
}

// openTun(name, wants, persist: -1 leave, 0 off, 1 on)
static napi_value open_tun(napi_env env, napi_callback_info info) {
  struct call call;
  struct ifreq request = {0};
  uint32_t wants;
  double persist;
  const char *step = "open";
  if (!call_open(&call, env, info, 3)) return NULL;
  if (!arg_string(&call, 0, "name", request.ifr_name, sizeof request.ifr_name)) return NULL;
  if (!arg_u32(&call, 1, "wants", &wants)) return NULL;
  if (!arg_double(&call, 2, "persist", &persist)) return NULL;
  char asked[IFNAMSIZ];
  memcpy(asked, request.ifr_name, sizeof asked);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return throw_system(env, errno, step, "/dev/net/tun");
  int error = attach(fd, wants, &request, &step);
  if (error == 0 && persist >= 0) {
    step = "ioctl TUNSETPERSIST";
    if (ioctl(fd, TUNSETPERSIST, persist > 0 ? 1UL : 0UL) < 0) error = errno;
  }
  if (error != 0) {
    close(fd);
    return throw_system(env, error, step, asked);
  }
  unsigned granted = 0;
  if (wants & WANT_OFFLOADS) {
    granted = grant_offloads(fd);
  } else {
    ioctl(fd, TUNSETOFFLOAD, 0UL);  // a persistent device may still have an earlier owner's
  }
  return make_queue(env, fd, &request, granted);
}

static napi_value set_persist(napi_env env, napi_callback_info info) {
  struct call call;
  int fd;
  bool on;
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_bool(&call, 1, "on", &on)) return NULL;
  if (ioctl(fd, TUNSETPERSIST, on ? 1UL : 0UL) == 0) return NULL;
  return throw_system_fd(env, errno, "ioctl TUNSETPERSIST", fd);
}

// A queue that is not attached gets no packets any more, and loses those in it; it can still write.
static napi_value attach_tun(napi_env env, napi_callback_info info) {
  struct call call;
  struct ifreq request = {0};
  int fd;
  bool on;
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_bool(&call, 1, "on", &on)) return NULL;
  request.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
  if (ioctl(fd, TUNSETQUEUE, &request) == 0) return NULL;
  return throw_system_fd(env, errno, "ioctl TUNSETQUEUE", fd);
}

static napi_value adopt_tun(napi_env env, napi_callback_info info) {
  struct call call;
  struct ifreq request = {0};
  int fd;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (ioctl(fd, TUNGETIFF, &request) < 0) {
    return throw_system_fd(env, errno, "ioctl TUNGETIFF", fd);
  }
  if ((request.ifr_flags & IFF_NO_PI) == 0) return throw_system_fd(env, EPROTOTYPE, "adopt", fd);
  int status = fcntl(fd, F_GETFL);
  if (status < 0 || fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    return throw_system_fd(env, errno, "fcntl", fd);
  }
  int size = VNET_HEADER_SIZE;
  if ((request.ifr_flags & IFF_VNET_HDR) && ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) {
    return throw_system_fd(env, errno, "ioctl TUNSETVNETHDRSZ", fd);
  }
  return make_queue(env, fd, &request, device_offloads(request.ifr_name));
}

// Into a slot that no packet fills, plain read: a seventh cheaper than readv. Into a smaller one,
// with a byte behind the slot that tells a cut packet from one that just fits: the kernel does not.
static ssize_t read_packet(int fd, uint8_t *slot, uint32_t capacity) {
  uint8_t beyond;
  struct iovec vectors[] = {{slot, capacity}, {&beyond, 1}};
  for (;;) {
    ssize_t got = capacity > PACKET_MOST ? read(fd, slot, capacity) : readv(fd, vectors, 2);
    if (got >= 0 || errno != EINTR) return got;
  }
}

// One packet into one slot: 0 or an errno.
static int read_one(const struct batch *batch, struct descriptor *at) {
  struct descriptor slot = snapshot(at);
  if (!inside(&batch->memory, slot.address, slot.capacity)) return EFAULT;
  ssize_t got = read_packet(batch->fd, batch->memory.base + slot.address, slot.capacity);
  if (got < 0) return errno;
  if (got == 0) return EAGAIN;
  uint32_t most = slot.capacity > PACKET_MOST ? slot.capacity - 1 : slot.capacity;
  bool cut = got > most;
  struct descriptor filled = {.address = slot.address,
                              .capacity = slot.capacity,
                              .length = (size_t)got > slot.capacity ? slot.capacity : (uint32_t)got,
                              .flags = cut ? DESCRIPTOR_TRUNCATED : 0,
                              .socket = (uint16_t)batch->socket_index};
  memcpy(at, &filled, sizeof filled);
  return 0;
}

int read_tun(const struct batch *batch) {
  int done = 0;
  uint64_t bytes = 0;
  for (; !is_full(batch, (uint32_t)done, bytes); done++) {
    int error = read_one(batch, &batch->first[done]);
    if (error == EAGAIN) break;
    // What was read is handed over first; the error stands at the next call again.
    if (error != 0 && done == 0) return -error;
    if (error != 0) break;
    bytes += batch->first[done].length;
  }
  return done;
}

static napi_value read_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!batch_open_read(&batch, env, info)) return NULL;
  int done = read_tun(&batch);
  return done < 0 ? throw_system_fd(env, -done, "read", batch.fd) : make_number(env, done);
}

static int write_one(const struct batch *batch, const struct descriptor *packet) {
  if (packet->socket >= batch->fds_length) return EBADF;
  if (!inside(&batch->memory, packet->address, packet->length)) return EFAULT;
  ssize_t put;
  do {
    put = write(batch->fds[packet->socket], batch->memory.base + packet->address, packet->length);
  } while (put < 0 && errno == EINTR);
  return put < 0 ? errno : 0;
}

uint32_t write_tun(const struct batch *batch) {
  uint32_t sent = 0;
  for (uint32_t i = 0; i < batch->count; i++) {
    struct descriptor packet = snapshot(&batch->first[i]);
    int error = write_one(batch, &packet);
    batch->first[i].status = (uint32_t)error;
    batch->first[i].failed = error == 0 ? 0 : packet.segments > 0 ? packet.segments : 1;
    if (error == 0) sent++;
  }
  return sent;
}

static napi_value write_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!batch_open_write(&batch, env, info)) return NULL;
  return make_number(env, write_tun(&batch));
}

const struct entry tun_entries[] = {
    {"openTun", open_tun},           {"setTunPersist", set_persist},
    {"attachTun", attach_tun},       {"adoptTun", adopt_tun},
    {"readTunBatch", read_batch},    {"writeTunBatch", write_batch},
    {NULL, NULL},
};
