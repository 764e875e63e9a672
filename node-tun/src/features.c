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

static unsigned match(const struct ethtool_gstrings *strings, const struct ethtool_gfeatures *on) {
  unsigned bits = 0;
  for (uint32_t i = 0; i < strings->len; i++) {
    if ((on->features[i / 32].active >> (i % 32) & 1) == 0) continue;
    const char *name = (const char *)strings->data + (size_t)i * ETH_GSTRING_LEN;
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
      if (strncmp(name, names[n].name, ETH_GSTRING_LEN) == 0) bits |= names[n].bits;
    }
  }
  return bits;
}

unsigned device_offloads(const char *device) {
  unsigned bits = 0;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  uint32_t count = fd < 0 ? 0 : count_features(fd, device), blocks = (count + 31) / 32;
  struct ethtool_gstrings *strings = calloc(1, sizeof *strings + (size_t)count * ETH_GSTRING_LEN);
  struct ethtool_gfeatures *on = calloc(1, sizeof *on + blocks * sizeof on->features[0]);
  if (count > 0 && strings != NULL && on != NULL) {
    *strings = (struct ethtool_gstrings){
        .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = count};
    *on = (struct ethtool_gfeatures){.cmd = ETHTOOL_GFEATURES, .size = blocks};
    if (ask(fd, device, strings) && ask(fd, device, on)) bits = match(strings, on);
  }
  free(strings);
  free(on);
  if (fd >= 0) close(fd);
  return bits;
}
