// Offloads a TUN or TAP device has now.
#ifndef NODE_TUN_FEATURES_H
#define NODE_TUN_FEATURES_H
#include <linux/if_tun.h>
#include <stdbool.h>

#ifndef TUN_F_USO4  // Linux 6.2; headers of Debian 12 are older than many kernels it runs on
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

// TUN_F_* bits; 0 when the device is not in this network namespace.
unsigned device_offloads(const char *device);

// By ethtool's name; false when device or feature is not there.
bool device_feature(const char *device, const char *name);

#endif
