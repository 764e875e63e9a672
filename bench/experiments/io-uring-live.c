// The sending half of a tunnel in small: waits for TUN, reads up to 64 packets, sends them as one
// UDP_SEGMENT train - by system calls and by io_uring, interleaved, while another thread sends 64 B
// packets into TUN, flooding or paced.
//   io-uring-live [ROUNDS]   root; prints nanoseconds of the reader's CPU time per packet, and kpps
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/epoll.h>

#include "room.h"

enum { BATCH = 64, PACKET = 102, STEP_MS = 700, ROUNDS_MAX = 100 };

static int tun, to_tun, to_nobody, poller;
static volatile bool ending;
static volatile int rate;  // packets per second, 0 = all that goes
static struct iovec train[BATCH];

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *send_into_tun(void *nothing) {
  uint64_t next = now_ns();
  while (!ending) {
    if (rate == 0) {
      send_many(to_tun, BATCH, 64);
      next = now_ns();
    } else if (now_ns() >= next) {
      send_many(to_tun, 1, 64);
      next += 1000000000u / (unsigned)rate;
    }
  }
  return nothing;
}

static void wait_for_tun(void) {
  struct epoll_event event;
  epoll_wait(poller, &event, 1, 50);
}

static void send_train(int count) {
  struct msghdr header = {.msg_iov = train, .msg_iovlen = (size_t)count};
  if (sendmsg(to_nobody, &header, MSG_DONTWAIT) < 0) stop("sendmsg");
}

// --- system calls --------------------------------------------------------------------------

static uint64_t by_calls(uint64_t end) {
  uint64_t packets = 0;
  while (now_ns() < end) {
    int count = 0;
    for (; count < BATCH; count++) {
      train[count] = (struct iovec){slot_at((size_t)count), PACKET};
      if (read(tun, slot_at((size_t)count), SLOT) <= 0) break;
    }
    if (count > 0) send_train(count);
    packets += (uint64_t)count;
    if (count < BATCH) wait_for_tun();
  }
  return packets;
}

// --- READ entries in batches as large as the last one was filled, epoll for waiting --------------

static struct ring batches;

static uint64_t by_batches(uint64_t end) {
  uint64_t packets = 0;
  int wanted = BATCH;
  while (now_ns() < end) {
    int count = 0;
    for (int i = 0; i < wanted; i++) {
      struct io_uring_sqe *entry = ring_next(&batches, IORING_OP_READ, 0, (uint64_t)i);
      entry->flags = IOSQE_FIXED_FILE;
      entry->addr = (uint64_t)slot_at((size_t)i);
      entry->len = SLOT;
      entry->off = (uint64_t)-1;
      entry->rw_flags = RWF_NOWAIT;
    }
    ring_enter(&batches, 0);
    const struct io_uring_cqe *one;
    while ((one = ring_take(&batches)) != NULL) {
      if (one->res > 0) train[count++] = (struct iovec){slot_at(one->user_data), PACKET};
      ring_taken(&batches);
    }
    if (count > 0) send_train(count);
    packets += (uint64_t)count;
    if (count < wanted) wait_for_tun();
    wanted = count + 4 < BATCH ? count + 4 : BATCH;
  }
  return packets;
}

// --- multishot: one call submits the train, takes what has come and waits ------------------------

static struct ring shots;
static struct msghdr queued = {.msg_iov = train};
static struct __kernel_timespec patience = {.tv_nsec = 50000000};

static void arm(void) {
  struct io_uring_sqe *entry = ring_next(&shots, OP_READ_MULTISHOT, 0, 1);
  entry->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
  entry->off = (uint64_t)-1;
}

static void enter_and_wait(void) {
  unsigned count = shots.queued;
  struct io_uring_getevents_arg arg = {.ts = (uint64_t)&patience};
  __atomic_store_n(shots.sq_tail, *shots.sq_tail + count, __ATOMIC_RELEASE);
  shots.queued = 0;
  unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  syscall(SYS_io_uring_enter, shots.fd, count, 1, flags, &arg, sizeof arg);
}

static int take_batch(uint16_t *ids, bool *ended) {
  int count = 0;
  const struct io_uring_cqe *one;
  while (count < BATCH && (one = ring_take(&shots)) != NULL) {
    if (one->user_data == 1 && (one->flags & IORING_CQE_F_MORE) == 0) *ended = true;
    if (one->user_data == 2 && one->res < 0) stop("send");
    if (one->flags & IORING_CQE_F_BUFFER) {
      ids[count] = (uint16_t)(one->flags >> IORING_CQE_BUFFER_SHIFT);
      train[count] = (struct iovec){slot_at(ids[count]), PACKET};
      count++;
    }
    ring_taken(&shots);
  }
  return count;
}

static void queue_train(int count) {
  queued.msg_iovlen = (size_t)count;
  struct io_uring_sqe *entry = ring_next(&shots, IORING_OP_SENDMSG, 1, 2);
  entry->flags = IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
  entry->addr = (uint64_t)&queued;
  entry->len = 1;
  entry->msg_flags = MSG_DONTWAIT;
}

static uint64_t by_shots(uint64_t end) {
  uint64_t packets = 0;
  uint16_t ids[BATCH];
  int held = 0;
  bool ended = false;
  arm();
  while (now_ns() < end || !ended) {
    enter_and_wait();
    for (int i = 0; i < held; i++) group_give(&shots, ids[i], slot_at(ids[i]), SLOT);
    held = take_batch(ids, &ended);
    packets += (uint64_t)held;
    if (held > 0) queue_train(held);
    if (ended && now_ns() < end) arm(), ended = false;
    if (now_ns() >= end && !ended) ring_next(&shots, IORING_OP_ASYNC_CANCEL, -1, 3)->addr = 1;
  }
  while (held > 0) {
    ring_enter(&shots, 0);
    for (int i = 0; i < held; i++) group_give(&shots, ids[i], slot_at(ids[i]), SLOT);
    held = take_batch(ids, &ended);
  }
  return packets;
}

// --- measuring -----------------------------------------------------------------------------------

static struct way {
  const char *name;
  uint64_t (*run)(uint64_t end);
  double cost[ROUNDS_MAX], speed[ROUNDS_MAX];
} ways[] = {{.name = "epoll, read, sendmsg", .run = by_calls},
            {.name = "epoll, uring READ xN, sendmsg", .run = by_batches},
            {.name = "uring alone: multishot read, SENDMSG", .run = by_shots}};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void measure(int packets_per_s, int rounds) {
  pthread_t sender;
  ending = false;
  rate = packets_per_s;
  pthread_create(&sender, NULL, send_into_tun, NULL);
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < WAYS; i++) {
      while (read(tun, slots, SLOT) > 0 && packets_per_s > 0) continue;
      uint64_t start = now_ns(), spent = cpu_ns();
      uint64_t packets = ways[i].run(start + STEP_MS * 1000000ull);
      ways[i].cost[round] = (double)(cpu_ns() - spent) / (double)packets;
      ways[i].speed[round] = (double)packets * 1e6 / (double)(now_ns() - start);
    }
  }
  ending = true;
  pthread_join(sender, NULL);
  printf("64 B into TUN, %d packets/s (0 = flood): ns per packet, then kpps\n", packets_per_s);
  double first = 0, first_speed = 0;
  for (int i = 0; i < WAYS; i++) {
    print_row(ways[i].name, ways[i].cost, rounds, first);
    print_row("  kpps", ways[i].speed, rounds, first_speed);
    if (i == 0) first = ways[i].cost[rounds / 2], first_speed = ways[i].speed[rounds / 2];
  }
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 9;
  if (rounds < 1 || rounds > ROUNDS_MAX) rounds = 9;
  open_slots();
  make_veth(false);
  tun = make_tun();
  to_tun = open_udp(NULL, "10.2.0.2", 0);
  to_nobody = open_udp(NULL, "10.1.0.3", PACKET);
  poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(poller, EPOLL_CTL_ADD, tun, &event);
  int files[] = {tun, to_nobody};
  batches = ring_open(DEFERRED);
  shots = ring_open(DEFERRED);
  ring_register(&batches, IORING_REGISTER_FILES, files, 2);
  ring_register(&shots, IORING_REGISTER_FILES, files, 2);
  group_open(&shots);
  for (uint16_t i = 0; i < GROUP_BUFFERS; i++) group_give(&shots, i, slot_at(i), SLOT);
  measure(0, rounds);
  measure(200000, rounds);
  measure(50000, rounds);
  return 0;
}
