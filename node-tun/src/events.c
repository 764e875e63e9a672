// Netlink groups: which kinds of change the kernel has told of since the last look. Nothing waits
// here and nothing is parsed: who wants the state reads it anew. And a number that is cheap to ask.
#include "common.h"
#include "features.h"

#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
  ROOM = 16384,
  // One call takes so many datagrams; what is left comes with the next.
  DATAGRAMS_MAX = 4096,
};

static bool join_groups(int fd, const uint32_t *groups, size_t count, struct failure *why) {
  struct sockaddr_nl any = {.nl_family = AF_NETLINK};
  if (bind(fd, (struct sockaddr *)&any, sizeof any) != 0) {
    *why = (struct failure){"bind", errno};
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    int group = (int)groups[i];
    const char *name = "setsockopt NETLINK_ADD_MEMBERSHIP";
    if (!set_option(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group, name, why)) return false;
  }
  return true;
}

// openEvents(protocol, groups): a socket that hears these groups of a netlink protocol
static napi_value open_events(napi_env env, napi_callback_info info) {
  struct call call;
  uint32_t protocol, *groups;
  size_t count;
  struct failure why;
  if (!call_open(&call, env, info, 2) || !arg_u32(&call, 0, "protocol", &protocol)) return NULL;
  if (!arg_u32s(&call, 1, "groups", &groups, &count)) return NULL;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, (int)protocol);
  if (fd < 0) return throw_system(env, errno, "socket", "netlink");
  if (join_groups(fd, groups, count, &why)) return make_number(env, fd);
  close(fd);
  return throw_system(env, why.error, why.syscall, "netlink");
}

// The set of message types met so far, in the caller's array.
struct kinds {
  uint32_t *types;
  size_t room, count;
};

static void add_kind(struct kinds *kinds, uint32_t type) {
  for (size_t i = 0; i < kinds->count; i++) {
    if (kinds->types[i] == type) return;
  }
  if (kinds->count < kinds->room) kinds->types[kinds->count++] = type;
}

static void add_messages(struct kinds *kinds, const void *data, size_t length) {
  size_t at = 0;
  while (at + sizeof(struct nlmsghdr) <= length) {
    struct nlmsghdr head;
    memcpy(&head, (const uint8_t *)data + at, sizeof head);
    if (head.nlmsg_len < sizeof head) return;
    add_kind(kinds, head.nlmsg_type);
    at += NLMSG_ALIGN(head.nlmsg_len);
  }
}

// readEvents(fd, types): fills in the types of messages that came, each once, NLMSG_OVERRUN where
// some were lost; gives their number
static napi_value read_events(napi_env env, napi_callback_info info) {
  struct call call;
  struct kinds kinds = {0};
  int fd;
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  if (!arg_u32s(&call, 1, "types", &kinds.types, &kinds.room)) return NULL;
  for (int i = 0; i < DATAGRAMS_MAX; i++) {
    uint8_t data[ROOM];
    ssize_t got = recv(fd, data, sizeof data, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && errno == EAGAIN) break;
    if (got < 0 && errno == EINTR) continue;
    bool full = got < 0 && (errno == ENOBUFS || errno == ENOMEM);
    if (got < 0 && !full) return throw_system_fd(env, errno, "recv", fd);
    bool lost = full || (size_t)got > sizeof data;
    if (lost) add_kind(&kinds, NLMSG_OVERRUN);
    else add_messages(&kinds, data, (size_t)got);
  }
  return make_number(env, (double)kinds.count);
}

// linkMtu(name): bytes, or -1 when there is no such device; one system call beside the socket's
static napi_value link_mtu(napi_env env, napi_callback_info info) {
  struct call call;
  struct ifreq request = {0};
  if (!call_open(&call, env, info, 1)) return NULL;
  if (!arg_string(&call, 0, "name", request.ifr_name, sizeof request.ifr_name)) return NULL;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return throw_system(env, errno, "socket", request.ifr_name);
  int mtu = ioctl(fd, SIOCGIFMTU, &request) == 0 ? request.ifr_mtu : -1;
  int error = mtu < 0 && errno != ENODEV ? errno : 0;
  close(fd);
  return error == 0 ? make_number(env, mtu) : throw_system(env, error, "ioctl SIOCGIFMTU", "link");
}

// linkFeature(name, feature): whether it is on, by ethtool's name.
static napi_value link_feature(napi_env env, napi_callback_info info) {
  struct call call;
  char device[IFNAMSIZ], feature[64];
  napi_value answer;
  if (!call_open(&call, env, info, 2)) return NULL;
  if (!arg_string(&call, 0, "name", device, sizeof device)) return NULL;
  if (!arg_string(&call, 1, "feature", feature, sizeof feature)) return NULL;
  napi_get_boolean(env, device_feature(device, feature), &answer);
  return answer;
}

const struct entry events_entries[] = {
    {"linkMtu", link_mtu},
    {"linkFeature", link_feature},
    {"openEvents", open_events},
    {"readEvents", read_events},
    {NULL, NULL},
};
