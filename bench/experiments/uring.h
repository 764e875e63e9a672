// io_uring by its three system calls, as much of it as the experiments need: one ring, one thread.
#ifndef EXPERIMENTS_URING_H
#define EXPERIMENTS_URING_H
#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OP_READ_MULTISHOT 49          // Linux 6.7; the headers of Debian 12 end before it
#define SETUP_NO_SQARRAY (1U << 16)   // Linux 6.6
enum { RING_ENTRIES = 256, GROUP_BUFFERS = 256 };
#define DEFERRED \
  (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN)

struct ring {
  int fd;
  unsigned queued;  // entries not yet submitted
  unsigned sq_mask, cq_mask;
  unsigned *sq_tail, *cq_head, *cq_tail;
  struct io_uring_sqe *sqes;
  struct io_uring_cqe *cqes;
  struct io_uring_buf_ring *group;  // buffers that the kernel picks from, group 0
};

static inline void stop(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline void *ring_map(int fd, size_t size, uint64_t at) {
  void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)at);
  if (map == MAP_FAILED) stop("mmap of a ring");
  return map;
}

static inline struct ring ring_open(unsigned flags) {
  struct io_uring_params setup = {.flags = flags | IORING_SETUP_CQSIZE | SETUP_NO_SQARRAY,
                                  .cq_entries = 4 * RING_ENTRIES};
  struct ring ring = {.fd = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &setup)};
  if (ring.fd < 0) stop("io_uring_setup (sysctl kernel.io_uring_disabled, seccomp, old kernel?)");
  size_t size = setup.cq_off.cqes + setup.cq_entries * sizeof(struct io_uring_cqe);
  uint8_t *map = ring_map(ring.fd, size, IORING_OFF_SQ_RING);
  ring.sqes = ring_map(ring.fd, setup.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
  ring.sq_tail = (unsigned *)(map + setup.sq_off.tail);
  ring.sq_mask = *(unsigned *)(map + setup.sq_off.ring_mask);
  ring.cq_head = (unsigned *)(map + setup.cq_off.head);
  ring.cq_tail = (unsigned *)(map + setup.cq_off.tail);
  ring.cq_mask = *(unsigned *)(map + setup.cq_off.ring_mask);
  ring.cqes = (struct io_uring_cqe *)(map + setup.cq_off.cqes);
  return ring;
}

static inline void ring_register(struct ring *ring, unsigned what, const void *data,
                                 unsigned count) {
  if (syscall(SYS_io_uring_register, ring->fd, what, data, count) < 0) stop("io_uring_register");
}

static inline struct io_uring_sqe *ring_next(struct ring *ring, uint8_t op, int fd,
                                             uint64_t tag) {
  struct io_uring_sqe *entry = &ring->sqes[(*ring->sq_tail + ring->queued++) & ring->sq_mask];
  memset(entry, 0, sizeof *entry);
  entry->opcode = op;
  entry->fd = fd;
  entry->user_data = tag;
  return entry;
}

// Submits what is queued and runs what waits; blocks only for completions that were asked for.
static inline void ring_enter(struct ring *ring, unsigned wanted) {
  unsigned count = ring->queued;
  __atomic_store_n(ring->sq_tail, *ring->sq_tail + count, __ATOMIC_RELEASE);
  ring->queued = 0;
  long done = syscall(SYS_io_uring_enter, ring->fd, count, wanted, IORING_ENTER_GETEVENTS, NULL, 0);
  if (done < 0 && errno != EAGAIN && errno != EINTR) stop("io_uring_enter");
}

static inline const struct io_uring_cqe *ring_take(struct ring *ring) {
  unsigned head = *ring->cq_head;
  if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE)) return NULL;
  return &ring->cqes[head & ring->cq_mask];
}

static inline void ring_taken(struct ring *ring) {
  __atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
}

static inline void group_give(struct ring *ring, uint16_t id, void *at, uint32_t size) {
  uint16_t tail = ring->group->tail;
  struct io_uring_buf *slot = &((struct io_uring_buf *)ring->group)[tail & (GROUP_BUFFERS - 1)];
  slot->addr = (uint64_t)at;
  slot->len = size;
  slot->bid = id;
  __atomic_store_n(&ring->group->tail, (uint16_t)(tail + 1), __ATOMIC_RELEASE);
}

static inline void group_open(struct ring *ring) {
  size_t size = GROUP_BUFFERS * sizeof(struct io_uring_buf);
  ring->group = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)ring->group, .ring_entries = GROUP_BUFFERS};
  ring_register(ring, IORING_REGISTER_PBUF_RING, &reg, 1);
}

#endif
