// The part of a raw socket's filter that asks whether the outer source is one of a list.
#ifndef NODE_TUN_SOURCE_H
#define NODE_TUN_SOURCE_H
#include "filter.h"

struct sources {
  const uint8_t *bytes;  // addresses, one behind the other: 4 bytes each, or 16
  uint32_t count;
  uint32_t sample;  // one in so many packets of others passes, by chance; 0: none does
};

// Drops what comes from none of them; FILTER_HASH must hold the outer source's hash. Addresses with
// equal hashes pass together: IPv4 ones in pairs, IPv6 ones by chance (1 in 2^31 for each source).
// False: no memory.
bool filter_sources(struct filter *filter, uint32_t family, const struct sources *sources);

#endif
