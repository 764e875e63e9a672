// One packet, or one train of equal segments, at a system call: 64 bytes in the caller's memory.
// The offsets are exported to JavaScript as descriptorLayout, so that a caller can compare its own.
#ifndef NODE_TUN_DESCRIPTOR_H
#define NODE_TUN_DESCRIPTOR_H
#include <stddef.h>
#include <stdint.h>

struct descriptor {
  uint32_t address;   // first byte of the packet, offset into the memory
  uint32_t capacity;  // reads: bytes free from address. Writes: not looked at
  uint32_t length;    // bytes read, or to write
  uint16_t segment;   // bytes per segment of a train, 0 = a single packet
  uint8_t tos;        // outer TOS or traffic class
  uint8_t flags;      // DESCRIPTOR_TRUNCATED
  uint16_t socket;    // reads: the caller's socketIndex. Writes: index into fds
  uint16_t port;      // peer's UDP port, host order
  uint8_t family;     // 4 or 6
  uint8_t direction;  // the caller's own
  uint16_t segments;  // writes: wire-size packets carried, the unit of failed (0 = one per segment)
  uint32_t status;    // 0, or the errno of the last failure
  uint16_t failed;    // writes: how many of the segments were not sent
  uint16_t own;       // the caller's own
  uint8_t peer[16];   // network order; IPv4 in the first 4, the rest zero
  uint8_t local[16];  // reads: where it was sent to. Writes: source, zero = the socket's own
};

#define DESCRIPTOR_TRUNCATED 1

_Static_assert(sizeof(struct descriptor) == 64, "a descriptor is one cache line");
_Static_assert(offsetof(struct descriptor, segments) == 22, "no padding before segments");
_Static_assert(offsetof(struct descriptor, local) == 48, "no padding before local");

#endif
