// Which offloads a device has now, by its ethtool features: the kernel has no call to read back
// what TUNSETOFFLOAD granted to an earlier owner.
#include "features.h"

#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FEATURES = 1024 };

static const struct {
  const char *name;
  unsigned bits;
} names[] = {
    {"tx-checksum-ip-generic", TUN_F_CSUM},  {"tx-tcp-segmentation", TUN_F_TSO4},
    {"tx-tcp6-segmentation", TUN_F_TSO6},    {"tx-tcp-ecn-segmentation", TUN_F_TSO_ECN},
    {"tx-udp-segmentation", TUN_F_USO4 | TUN_F_USO6},
};

static bool ask(int fd, const char *device, void *request) {
  struct ifreq envelope = {0};
  strncpy(envelope.ifr_name, device, IFNAMSIZ - 1);
  envelope.ifr_data = request;
  return ioctl(fd, SIOCETHTOOL, &envelope) == 0;
}

static uint32_t count_features(int fd, const char *device) {
  struct {
    struct ethtool_sset_info head;
    uint32_t length;
  } request = {.head = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
  if (!ask(fd, device, &request) || request.head.sset_mask == 0) return 0;
  return request.length > MAX_FEATURES ? 0 : request.length;
}

// What a device can and has: names, and a bit for each.
struct features {
  struct ethtool_gstrings *names;
  struct ethtool_gfeatures *on;
};

static void free_features(struct features *all) {
  free(all->names);
  free(all->on);
}

// With no names at all where the device is not in this network namespace.
static struct features read_features(const char *device) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  uint32_t count = fd < 0 ? 0 : count_features(fd, device), blocks = (count + 31) / 32;
  struct features all = {calloc(1, sizeof *all.names + (size_t)count * ETH_GSTRING_LEN),
                         calloc(1, sizeof *all.on + blocks * sizeof all.on->features[0])};
  if (all.names != NULL && all.on != NULL && count > 0) {
    *all.names = (struct ethtool_gstrings){
        .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = count};
    *all.on = (struct ethtool_gfeatures){.cmd = ETHTOOL_GFEATURES, .size = blocks};
    if (!ask(fd, device, all.names) || !ask(fd, device, all.on)) all.names->len = 0;
  }
  if (fd >= 0) close(fd);
  return all;
}

static bool is_on(const struct features *all, const char *name) {
  if (all->names == NULL || all->on == NULL) return false;
  for (uint32_t i = 0; i < all->names->len; i++) {
    const char *own = (const char *)all->names->data + (size_t)i * ETH_GSTRING_LEN;
    if (strncmp(own, name, ETH_GSTRING_LEN) != 0) continue;
    return (all->on->features[i / 32].active >> (i % 32) & 1) != 0;
  }
  return false;
}

unsigned device_offloads(const char *device) {
  unsigned bits = 0;
  struct features all = read_features(device);
  for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
    if (is_on(&all, names[n].name)) bits |= names[n].bits;
  }
  free_features(&all);
  return bits;
}

bool device_feature(const char *device, const char *name) {
  struct features all = read_features(device);
  bool on = is_on(&all, name);
  free_features(&all);
  return on;
}
