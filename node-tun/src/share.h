// The classic BPF program by which several raw sockets of one protocol share its packets.
#ifndef NODE_TUN_SHARE_H
#define NODE_TUN_SHARE_H
#include <linux/filter.h>
#include <stdint.h>

// The longest, GRE over IPv6, has about 260 instructions.
enum { SHARE_MOST = 512 };

struct share_program {
  struct sock_filter code[SHARE_MOST];
  uint16_t length;
};

// Accepts what hashes to index of count: outer source and inner addresses (IPIP, 6in4, GRE with IP
// or Ethernet inside), outer source and call id (GRE version 1), outer source alone (all else).
// A packet too short to have these goes to index 0: every packet has exactly one reader.
void make_share_program(struct share_program *program, uint32_t family, uint32_t protocol,
                        uint32_t index, uint32_t count);

#endif
