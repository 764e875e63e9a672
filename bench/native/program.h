// What the programs of the network bench share: their end on an error, and names of IPv4 sockets.
// PROGRAM is the program's name, defined before this is included.
#ifndef MESHD_BENCH_PROGRAM_H
#define MESHD_BENCH_PROGRAM_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void fail(const char *what) {
  fprintf(stderr, PROGRAM ": %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct sockaddr_in name_of(const char *address, const char *port) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, address, &name.sin_addr) != 1) {
    errno = EINVAL;
    fail(address);
  }
  return name;
}

#endif
