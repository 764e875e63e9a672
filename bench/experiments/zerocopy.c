// What does MSG_ZEROCOPY save on UDP_SEGMENT sends, what do its completions cost, and who copied?
//   zerocopy [ROUNDS]      root; prints nanoseconds of thread CPU time per send
// Wires: a veth pair as it comes, one without UDP segmentation, one without any offload, and a
// bridge without ports, which frees every packet: more than the best network card could do.
#define _GNU_SOURCE
#include "room.h"

#include <linux/errqueue.h>

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
enum { BATCH = 32, SEGMENT = 1400, ROUNDS_MAX = 1000 };

static int out_plain, out_zero, in;
static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct ring ring;
static uint64_t completed, copied, notices, refused;

static int send_batch(int fd, size_t size, int flags) {
  int done = 0;
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){slot_at((size_t)i), size};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
  }
  while (done < BATCH) {
    int got = sendmmsg(fd, messages + done, (unsigned)(BATCH - done), flags | MSG_DONTWAIT);
    if (got < 0) {
      refused++;
      break;
    }
    done += got;
  }
  return done;
}

// Reads what says that buffers are free again; one notice covers a range of sends.
static int take_notices(void) {
  int sends = 0;
  for (;;) {
    uint8_t control[256];
    struct msghdr header = {.msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(out_zero, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return sends;
    struct cmsghdr *one = CMSG_FIRSTHDR(&header);
    for (; one != NULL; one = CMSG_NXTHDR(&header, one)) {
      struct sock_extended_err error;
      memcpy(&error, CMSG_DATA(one), sizeof error);
      if (error.ee_origin != SO_EE_ORIGIN_ZEROCOPY) continue;
      uint32_t count = error.ee_data - error.ee_info + 1;
      notices++;
      completed += count;
      if (error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) copied += count;
      sends += (int)count;
    }
  }
}

static int by_copy(size_t size) { return send_batch(out_plain, size, 0); }

static int by_zerocopy(size_t size) {
  int done = send_batch(out_zero, size, MSG_ZEROCOPY);
  take_notices();
  return done;
}

static int by_zerocopy_each(size_t size) {
  struct msghdr header = {.msg_iov = vectors, .msg_iovlen = 1};
  int done = 0;
  for (; done < BATCH; done++) {
    vectors[0] = (struct iovec){slot_at((size_t)done), size};
    if (sendmsg(out_zero, &header, MSG_ZEROCOPY | MSG_DONTWAIT) < 0) break;
    take_notices();
  }
  return done;
}

// Registered memory, so that no page is looked up: the notice is a second completion of the entry.
static int by_ring(size_t size) {
  for (int i = 0; i < BATCH; i++) {
    struct io_uring_sqe *entry = ring_next(&ring, IORING_OP_SEND_ZC, 0, (uint64_t)i);
    entry->addr = (uint64_t)slot_at((size_t)i);
    entry->len = (uint32_t)size;
    entry->flags = IOSQE_FIXED_FILE;
    entry->ioprio = IORING_RECVSEND_FIXED_BUF | IORING_SEND_ZC_REPORT_USAGE;
    entry->msg_flags = MSG_DONTWAIT;
  }
  int done = 0, open = BATCH;
  while (open > 0) {
    ring_enter(&ring, 0);
    const struct io_uring_cqe *one;
    while ((one = ring_take(&ring)) != NULL) {
      if (one->flags & IORING_CQE_F_NOTIF) {
        completed++, notices++, open--;
        if ((uint32_t)one->res & IORING_NOTIF_USAGE_ZC_COPIED) copied++;
      } else {
        if (one->res > 0) done++;
        if (one->res <= 0) refused++;
        if ((one->flags & IORING_CQE_F_MORE) == 0) open--;
      }
      ring_taken(&ring);
    }
  }
  return done;
}

static struct way {
  const char *name;
  int (*send)(size_t size);
  double samples[ROUNDS_MAX];
  uint64_t completed, copied, notices, refused;
} ways[] = {{.name = "copied", .send = by_copy},
            {.name = "MSG_ZEROCOPY, notices after 32 sends", .send = by_zerocopy},
            {.name = "MSG_ZEROCOPY, notices after each send", .send = by_zerocopy_each},
            {.name = "uring SEND_ZC, registered memory", .send = by_ring}};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void empty_receiver(void) {
  while (in >= 0 && recv(in, slot_at(SLOTS - 1), SLOT, MSG_DONTWAIT) > 0) continue;
}

static void run_way(struct way *way, size_t size, int round) {
  completed = copied = notices = refused = 0;
  uint64_t start = cpu_ns();
  int sent = way->send(size);
  uint64_t spent = cpu_ns() - start;
  empty_receiver();
  take_notices();
  if (round < 0) return;
  way->samples[round] = (double)spent / (sent > 0 ? sent : 1);
  way->completed += completed;
  way->copied += copied;
  way->notices += notices;
  way->refused += refused;
}

static void measure(const char *title, size_t size, int rounds) {
  for (int i = 0; i < WAYS; i++) {
    ways[i].completed = ways[i].copied = ways[i].notices = ways[i].refused = 0;
  }
  for (int round = -3; round < rounds; round++) {
    for (int i = 0; i < WAYS; i++) run_way(&ways[i], size, round);
  }
  printf("%s, %zu B: ns per send, median (p10 - p90), ratio\n", title, size);
  double first = 0;
  for (int i = 0; i < WAYS; i++) {
    const struct way *way = &ways[i];
    print_row(way->name, ways[i].samples, rounds, first);
    if (i == 0) first = way->samples[rounds / 2];
    if (way->completed == 0 && way->refused == 0) continue;
    printf("    %llu sends in %llu notices, the kernel copied %llu, refused batches %llu\n",
           (unsigned long long)way->completed, (unsigned long long)way->notices,
           (unsigned long long)way->copied, (unsigned long long)way->refused);
  }
}

static void open_sockets(const char *to, bool received) {
  int on = 1;
  in = received ? open_udp_there() : -1;
  out_plain = open_udp(NULL, to, SEGMENT);
  out_zero = open_udp(NULL, to, SEGMENT);
  if (setsockopt(out_zero, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) < 0) stop("SO_ZEROCOPY");
  int for_ring = open_udp(NULL, to, SEGMENT);
  struct iovec arena = {slots, (size_t)SLOTS * SLOT};
  ring = ring_open(DEFERRED);
  ring_register(&ring, IORING_REGISTER_FILES, &for_ring, 1);
  ring_register(&ring, IORING_REGISTER_BUFFERS, &arena, 1);
}

static void on_wire(const char *title, int rounds, const char *to, bool received) {
  static const size_t sizes[] = {1400, 12 * 1400, 43 * 1400};
  open_sockets(to, received);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) measure(title, sizes[i], rounds);
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 200;
  if (rounds < 1 || rounds > ROUNDS_MAX) rounds = 200;
  open_slots();
  make_veth(false);
  on_wire("veth as it comes", rounds, "10.1.0.2", true);
  make_veth(false);
  command("ethtool -K here tx-udp-segmentation off tx-udp_tnl-segmentation off >/dev/null");
  on_wire("veth without UDP segmentation", rounds, "10.1.0.2", true);
  make_veth(true);
  on_wire("veth without offloads", rounds, "10.1.0.2", true);
  new_space();
  command("ip link add there type bridge && ip link set there up");
  command("ip address add 10.1.0.1/24 dev there");
  command("ip neighbour add 10.1.0.3 lladdr 02:00:00:00:00:03 dev there");
  on_wire("bridge without ports", rounds, "10.1.0.3", false);
  return 0;
}
