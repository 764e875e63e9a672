// What steer.c and the writer of its programs share.
#ifndef NODE_TUN_STEER_H
#define NODE_TUN_STEER_H
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

enum { MOST_QUEUES = 64, MOST_STEPS = 3 * MOST_QUEUES + 240, FLOW_BITS = 10 };
// Queue or socket i is for CPU cpus[i]; `busy` further ones are for busy flows of any CPU. Without
// CPUs every flow has one of the `busy` for ever.
struct order {
  uint32_t *cpus;
  uint32_t count, busy;
  uint32_t packet_at;  // where in a datagram the inner IP packet begins
  bool geneve;  // it begins where the Geneve header of the datagram says instead
  int stamps, flows;  // maps
};

struct side {
  uint64_t last;
  uint32_t queue, unused;
};

// What both programs keep of the flows of one slot: acknowledgements are as busy as what they
// acknowledge. Two CPUs may write it at once: then a count is a little off, and the queue is one of
// the two that were chosen.
struct flow {
  uint64_t window, busy_until;
  uint32_t packets, bytes;
  struct side device, wire;
};

struct program {
  struct bpf_insn steps[MOST_STEPS];
  uint32_t length;
  int side;  // offset of its side in a flow
};

void write_program(struct program *p, const struct order *order, bool outer);

#endif
