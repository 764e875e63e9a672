// The classic BPF program by which several raw sockets of one protocol share its packets.
#ifndef NODE_TUN_SHARE_H
#define NODE_TUN_SHARE_H
#include "filter.h"
#include "source.h"

// Which packets a socket takes: those of number `index` among `count`.
struct share {
  uint32_t family, protocol, index, count;
};

// Accepts what comes from one of the sources (NULL: from anywhere) and hashes to index of count:
// outer source and inner addresses (IPIP, 6in4, GRE with IP or Ethernet inside), outer source and
// call id (GRE version 1), outer source alone (all else). A packet too short to have these goes to
// index 0: every packet has exactly one reader. False: no memory; filter->overflow: too long.
bool make_raw_filter(struct filter *filter, const struct share *share,
                     const struct sources *sources);

#endif
