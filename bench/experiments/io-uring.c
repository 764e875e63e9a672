// Does io_uring read TUN, write TUN and move UDP cheaper than read, write, sendmmsg and recvmmsg?
//   io-uring [ROUNDS]      root; prints nanoseconds of thread CPU time per packet or super-packet
// Every round fills a queue and then empties it (or writes one batch) by each way in turn.
#define _GNU_SOURCE
#include "room.h"

enum { BATCH = 64, WAYS_MAX = 8 };

struct way {
  const char *name;
  // Moves up to `count` packets of `size` bytes; gives how many it moved.
  int (*move)(int count, size_t size);
  double samples[1000];
};

struct mode {
  const char *title;
  struct way *ways;
  void (*fill)(int count, size_t size);
  int count;  // packets in the queue (or written) at each measurement
  size_t size;
};

static int tun, to_tun, to_tun_trains, from_veth, to_veth, to_veth_trains;
static int to_nobody, to_nobody_trains;
static struct ring plain, deferred, shots;
static bool armed_tun, armed_udp;
static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in names[BATCH];
static uint8_t controls[BATCH][128];

enum { FILE_TUN, FILE_UDP_IN, FILE_NOBODY, FILE_NOBODY_TRAINS, FILES };

// --- system calls --------------------------------------------------------------------------

static int tun_read(int count, size_t size) {
  (void)size;
  int done = 0;
  while (done < count + 1 && read(tun, slot_at((size_t)done % BATCH), SLOT) > 0) done++;
  return done;
}

static int tun_readv(int count, size_t size) {
  (void)size;
  uint8_t beyond;
  int done = 0;
  for (; done < count + 1; done++) {
    struct iovec two[] = {{slot_at((size_t)done % BATCH), SLOT - 1}, {&beyond, 1}};
    if (readv(tun, two, 2) <= 0) break;
  }
  return done;
}

static int tun_write(int count, size_t size) {
  int done = 0;
  while (done < count && write(tun, slot_at((size_t)done % BATCH), size) > 0) done++;
  return done;
}

static void prepare(int fd_count, size_t size, bool receive) {
  for (int i = 0; i < fd_count; i++) {
    vectors[i] = (struct iovec){slot_at((size_t)i), size};
    struct msghdr *header = &messages[i].msg_hdr;
    *header = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    if (!receive) continue;
    header->msg_name = &names[i];
    header->msg_namelen = sizeof names[i];
    header->msg_control = controls[i];
    header->msg_controllen = sizeof controls[i];
  }
}

static int nobody(size_t size) { return size > 9000 ? to_nobody_trains : to_nobody; }

static int udp_send(int count, size_t size) {
  int done = 0;
  while (done < count) {
    int batch = count - done < BATCH ? count - done : BATCH;
    prepare(batch, size, false);
    int got = sendmmsg(nobody(size), messages, (unsigned)batch, MSG_DONTWAIT);
    if (got <= 0) break;
    done += got;
  }
  return done;
}

static int udp_receive(int count, size_t size) {
  (void)size;
  int done = 0, got = BATCH;
  while (done < count && got == BATCH) {
    prepare(BATCH, SLOT, true);
    got = recvmmsg(from_veth, messages, BATCH, MSG_DONTWAIT, NULL);
    if (got > 0) done += got;
  }
  return done;
}

// --- io_uring, a batch of entries per call -----------------------------------------------------

static int finish(struct ring *ring) {
  int good = 0;
  const struct io_uring_cqe *done;
  while ((done = ring_take(ring)) != NULL) {
    if (done->res > 0) good++;
    ring_taken(ring);
  }
  return good;
}

static int rounds_of(struct ring *ring, uint8_t op, bool fixed, int fd, bool is_file, int count,
                     size_t size) {
  int done = 0;
  while (done < count) {
    int batch = count - done < BATCH ? count - done : BATCH;
    for (int i = 0; i < batch; i++) {
      struct io_uring_sqe *entry = ring_next(ring, op, fd, (uint64_t)i);
      entry->addr = (uint64_t)slot_at((size_t)i);
      entry->len = (uint32_t)size;
      entry->off = (uint64_t)-1;
      // O_NONBLOCK is not enough where a file can poll: the entry would wait, armed, for a packet.
      entry->rw_flags = RWF_NOWAIT;
      if (is_file) entry->flags = IOSQE_FIXED_FILE;
      if (fixed) entry->buf_index = 0;
    }
    ring_enter(ring, 0);
    int good = finish(ring);
    if (good == 0) break;
    done += good;
  }
  return done;
}

static int uring_read(int count, size_t size) {
  (void)size;
  return rounds_of(&deferred, IORING_OP_READ, false, FILE_TUN, true, count, SLOT);
}
static int uring_read_plain(int count, size_t size) {
  (void)size;
  return rounds_of(&plain, IORING_OP_READ, false, tun, false, count, SLOT);
}
static int uring_read_fixed(int count, size_t size) {
  (void)size;
  return rounds_of(&deferred, IORING_OP_READ_FIXED, true, FILE_TUN, true, count, SLOT);
}
static int uring_write(int count, size_t size) {
  return rounds_of(&deferred, IORING_OP_WRITE, false, FILE_TUN, true, count, size);
}
static int uring_write_fixed(int count, size_t size) {
  return rounds_of(&deferred, IORING_OP_WRITE_FIXED, true, FILE_TUN, true, count, size);
}
static int uring_read_always_64(int count, size_t size) {
  (void)size, (void)count;
  return rounds_of(&deferred, IORING_OP_READ, false, FILE_TUN, true, BATCH, SLOT);
}

static int uring_messages(uint8_t op, int file, int count, size_t size, bool receive) {
  int done = 0;
  while (done < count) {
    int batch = count - done < BATCH ? count - done : BATCH;
    prepare(batch, receive ? SLOT : size, receive);
    for (int i = 0; i < batch; i++) {
      struct io_uring_sqe *entry = ring_next(&deferred, op, file, (uint64_t)i);
      entry->addr = (uint64_t)&messages[i].msg_hdr;
      entry->len = 1;
      entry->flags = IOSQE_FIXED_FILE;
      entry->msg_flags = MSG_DONTWAIT;
    }
    ring_enter(&deferred, 0);
    int good = finish(&deferred);
    if (good == 0) break;
    done += good;
  }
  return done;
}

static int uring_sendmsg(int count, size_t size) {
  int file = size > 9000 ? FILE_NOBODY_TRAINS : FILE_NOBODY;
  return uring_messages(IORING_OP_SENDMSG, file, count, size, false);
}
static int uring_recvmsg(int count, size_t size) {
  return uring_messages(IORING_OP_RECVMSG, FILE_UDP_IN, count, size, true);
}

// On a connected socket without ancillary data: the address and the message header are saved too.
static int uring_send(int count, size_t size) {
  int done = 0, file = size > 9000 ? FILE_NOBODY_TRAINS : FILE_NOBODY;
  while (done < count) {
    int batch = count - done < BATCH ? count - done : BATCH;
    for (int i = 0; i < batch; i++) {
      struct io_uring_sqe *entry = ring_next(&deferred, IORING_OP_SEND, file, 0);
      entry->addr = (uint64_t)slot_at((size_t)i);
      entry->len = (uint32_t)size;
      entry->flags = IOSQE_FIXED_FILE;
      entry->msg_flags = MSG_DONTWAIT;
    }
    ring_enter(&deferred, 0);
    done += finish(&deferred);
  }
  return done;
}

// --- io_uring, multishot -------------------------------------------------------------------------

static int take_shots(int count, uint64_t tag, bool *armed) {
  int done = 0, empty = 0;
  while (done < count && empty < 2 && *armed) {
    ring_enter(&shots, 0);
    const struct io_uring_cqe *one;
    empty++;
    while ((one = ring_take(&shots)) != NULL) {
      if (one->user_data == tag && (one->flags & IORING_CQE_F_MORE) == 0) *armed = false;
      if (one->res > 0) done++, empty = 0;
      if (one->flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(one->flags >> IORING_CQE_BUFFER_SHIFT);
        group_give(&shots, id, slot_at(id), SLOT);
      }
      if (one->res < 0 && one->res != -ENOBUFS) errno = -one->res, stop("multishot");
      ring_taken(&shots);
    }
  }
  return done;
}

static int shots_read(int count, size_t size) {
  (void)size;
  int done = 0;
  while (done < count) {
    if (!armed_tun) {
      struct io_uring_sqe *entry = ring_next(&shots, OP_READ_MULTISHOT, FILE_TUN, 1);
      entry->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
      entry->off = (uint64_t)-1;
      armed_tun = true;
    }
    int got = take_shots(count - done, 1, &armed_tun);
    if (got == 0 && armed_tun) break;
    done += got;
  }
  return done;
}

// Ended before another way has its turn: an armed request would be woken by that one's packets.
static void disarm(void) {
  for (uint64_t tag = 1; tag <= 2; tag++) {
    bool *armed = tag == 1 ? &armed_tun : &armed_udp;
    if (*armed) ring_next(&shots, IORING_OP_ASYNC_CANCEL, -1, 3)->addr = tag;
    for (bool over = !*armed; !over;) {
      ring_enter(&shots, 0);
      const struct io_uring_cqe *one;
      while ((one = ring_take(&shots)) != NULL) {
        over = over || (one->user_data == tag && (one->flags & IORING_CQE_F_MORE) == 0);
        ring_taken(&shots);
      }
    }
    *armed = false;
  }
}

static int shots_receive(int count, size_t size) {
  static struct msghdr header = {.msg_namelen = sizeof(struct sockaddr_in), .msg_controllen = 128};
  (void)size;
  int done = 0;
  while (done < count) {
    if (!armed_udp) {
      struct io_uring_sqe *entry = ring_next(&shots, IORING_OP_RECVMSG, FILE_UDP_IN, 2);
      entry->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
      entry->ioprio = IORING_RECV_MULTISHOT;
      entry->addr = (uint64_t)&header;
      entry->len = 1;
      armed_udp = true;
    }
    int got = take_shots(count - done, 2, &armed_udp);
    if (got == 0 && armed_udp) break;
    done += got;
  }
  return done;
}

// --- measuring -----------------------------------------------------------------------------------

static void fill_tun(int count, size_t size) {
  send_many(size > 9000 ? to_tun_trains : to_tun, count, size);
}
static void fill_udp(int count, size_t size) {
  send_many(size > 9000 ? to_veth_trains : to_veth, count, size);
}
static void fill_nothing(int count, size_t size) { (void)count, (void)size; }

static void fill_slots(int count, size_t size) {
  (void)count;
  for (size_t i = 0; i < BATCH; i++) make_inner(slot_at(i), size);
}

static int empty(const struct mode *mode) {
  if (mode->fill == fill_tun) return tun_read(1 << 20, 0);
  return mode->fill == fill_udp ? udp_receive(1 << 20, 0) : 0;
}

static void measure(const struct mode *mode, int rounds) {
  for (int round = -3; round < rounds; round++) {
    for (struct way *way = mode->ways; way->name != NULL; way++) {
      mode->fill(mode->count, mode->size);
      uint64_t start = cpu_ns();
      int moved = way->move(mode->count, mode->size);
      uint64_t spent = cpu_ns() - start;
      if (moved < mode->count * 9 / 10) {
        fprintf(stderr, "%s: %s moved %d of %d\n", mode->title, way->name, moved, mode->count);
      }
      if (round >= 0) way->samples[round] = (double)spent / (moved > 0 ? moved : 1);
      disarm();
      empty(mode);
    }
  }
  printf("%s: ns per packet, median (p10 - p90), ratio\n", mode->title);
  double first = 0;
  for (struct way *way = mode->ways; way->name != NULL; way++) {
    print_row(way->name, way->samples, rounds, first);
    if (first == 0) first = way->samples[rounds / 2];
  }
}

static void open_rings(void) {
  int files[FILES] = {[FILE_TUN] = tun, [FILE_UDP_IN] = from_veth, [FILE_NOBODY] = to_nobody,
                      [FILE_NOBODY_TRAINS] = to_nobody_trains};
  struct iovec arena = {slots, (size_t)SLOTS * SLOT};
  plain = ring_open(0);
  deferred = ring_open(DEFERRED);
  shots = ring_open(DEFERRED);
  ring_register(&deferred, IORING_REGISTER_FILES, files, FILES);
  ring_register(&shots, IORING_REGISTER_FILES, files, FILES);
  ring_register(&deferred, IORING_REGISTER_BUFFERS, &arena, 1);
  group_open(&shots);
  for (uint16_t i = 0; i < GROUP_BUFFERS; i++) group_give(&shots, i, slot_at(i), SLOT);
}

static struct way readers[] = {{.name = "readv, two vectors", .move = tun_readv},
                               {.name = "read", .move = tun_read},
                               {.name = "uring READ x64, no flags", .move = uring_read_plain},
                               {.name = "uring READ x64, deferred, fixed file", .move = uring_read},
                               {.name = "uring READ_FIXED x64", .move = uring_read_fixed},
                               {.name = "uring multishot", .move = shots_read},
                               {0}};
static struct way few_readers[] = {{.name = "read", .move = tun_read},
                                   {.name = "uring READ, as many as there are", .move = uring_read},
                                   {.name = "uring READ, always 64", .move = uring_read_always_64},
                                   {.name = "uring multishot", .move = shots_read},
                                   {0}};
static struct way writers[] = {{.name = "write", .move = tun_write},
                               {.name = "uring WRITE x64", .move = uring_write},
                               {.name = "uring WRITE_FIXED x64", .move = uring_write_fixed},
                               {0}};
static struct way senders[] = {{.name = "sendmmsg x64", .move = udp_send},
                               {.name = "uring SENDMSG x64", .move = uring_sendmsg},
                               {.name = "uring SEND x64 (connected)", .move = uring_send},
                               {0}};
static struct way receivers[] = {{.name = "recvmmsg x64", .move = udp_receive},
                                 {.name = "uring RECVMSG x64", .move = uring_recvmsg},
                                 {.name = "uring RECVMSG multishot", .move = shots_receive},
                                 {0}};

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 200;
  if (rounds < 1 || rounds > 1000) rounds = 200;
  open_slots();
  make_veth(false);
  tun = make_tun();
  to_tun = open_udp(NULL, "10.2.0.2", 0);
  to_tun_trains = open_udp(NULL, "10.2.0.2", 1400);
  from_veth = open_udp_there();
  to_veth = open_udp(NULL, "10.1.0.2", 0);
  to_veth_trains = open_udp(NULL, "10.1.0.2", 1400);
  to_nobody = open_udp(NULL, "10.1.0.3", 0);
  to_nobody_trains = open_udp(NULL, "10.1.0.3", 1400);
  int sink = open_udp("10.2.0.1", NULL, 0), tiny = 4096;
  setsockopt(sink, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny);
  open_rings();
  const struct mode modes[] = {
      {"TUN read, 64 B, 1024 waiting", readers, fill_tun, 1024, 64},
      {"TUN read, 64 B, 8 waiting", few_readers, fill_tun, 8, 64},
      {"TUN read, 64 B, 1 waiting", few_readers, fill_tun, 1, 64},
      {"TUN read, 60,200 B super-packets, 64 waiting", readers, fill_tun, 64, 60200},
      {"TUN write, 64 B", writers, fill_slots, 64, VNET + 28 + 64},
      {"TUN write, 60,200 B super-packets", writers, fill_slots, 64, VNET + 28 + 60200},
      {"UDP send, 114 B", senders, fill_nothing, 64, 114},
      {"UDP send, 60,200 B trains", senders, fill_nothing, 64, 60200},
      {"UDP receive, 114 B, 256 waiting", receivers, fill_udp, 256, 114},
      {"UDP receive, 60,200 B trains, 64 waiting", receivers, fill_udp, 64, 60200},
  };
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) measure(&modes[i], rounds);
  return 0;
}
