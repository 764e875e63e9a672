// Descriptors as such: close, and pass to another process over a Unix socket (SCM_RIGHTS).
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_PASSED = 253, MAX_DATA = 65536 };  // SCM_MAX_FD of Linux

union rights {
  struct cmsghdr align;
  uint8_t bytes[CMSG_SPACE(MAX_PASSED * sizeof(int))];
};

static napi_value close_descriptor(napi_env env, napi_callback_info info) {
  struct call call;
  int fd;
  if (!call_open(&call, env, info, 1) || !arg_fd(&call, 0, "fd", &fd)) return NULL;
  // Linux has closed it even when a signal interrupts: never a second time.
  if (close(fd) == 0 || errno == EINTR) return NULL;
  return throw_system_fd(env, errno, "close", fd);
}

static napi_value open_socket_pair(napi_env env, napi_callback_info info) {
  int ends[2];
  napi_value pair = NULL;
  (void)info;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    return throw_system(env, errno, "socketpair", "unix");
  }
  napi_create_array_with_length(env, 2, &pair);
  for (uint32_t i = 0; i < 2; i++) napi_set_element(env, pair, i, make_number(env, ends[i]));
  return pair;
}

static bool read_descriptors(const struct call *call, int *fds, uint32_t *count) {
  bool is = false;
  napi_is_array(call->env, call->values[1], &is);
  if (!is || napi_get_array_length(call->env, call->values[1], count) != napi_ok || *count < 1 ||
      *count > MAX_PASSED) {
    throw_type(call->env, "fds", "an array of 1 to 253 descriptors");
    return false;
  }
  for (uint32_t i = 0; i < *count; i++) {
    struct call one = {.env = call->env, .count = 1};
    if (napi_get_element(call->env, call->values[1], i, &one.values[0]) != napi_ok) return false;
    if (!arg_fd(&one, 0, "fds[i]", &fds[i])) return false;
  }
  return true;
}

// sendDescriptors(unixSocketFd, fds, data?)
static napi_value send_descriptors(napi_env env, napi_callback_info info) {
  struct call call;
  int socket, fds[MAX_PASSED];
  uint32_t count = 0;
  uint8_t nothing = 0;
  struct memory data = {&nothing, 1};  // a message of no bytes carries no descriptors
  union rights rights = {0};
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "unixSocketFd", &socket)) return NULL;
  if (!read_descriptors(&call, fds, &count)) return NULL;
  napi_valuetype type = napi_undefined;
  if (call.count > 2) napi_typeof(env, call.values[2], &type);
  if (type != napi_undefined && !arg_bytes(&call, 2, "data", &data)) return NULL;
  if (data.length < 1 || data.length > MAX_DATA) {
    throw_type(env, "data", "1 to 65536 bytes");
    return NULL;
  }
  struct iovec vector = {data.base, data.length};
  struct msghdr header = {.msg_iov = &vector,
                          .msg_iovlen = 1,
                          .msg_control = &rights,
                          .msg_controllen = CMSG_SPACE(count * sizeof(int))};
  struct cmsghdr *control = CMSG_FIRSTHDR(&header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(count * sizeof(int));
  memcpy(CMSG_DATA(control), fds, count * sizeof(int));
  ssize_t sent;
  do {
    sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return throw_system_fd(env, errno, "sendmsg SCM_RIGHTS", socket);
  if ((size_t)sent == data.length) return NULL;
  return throw_system_fd(env, EMSGSIZE, "sendmsg SCM_RIGHTS", socket);
}

static uint32_t take_descriptors(struct msghdr *header, int *fds) {
  uint32_t count = 0;
  struct cmsghdr *control = CMSG_FIRSTHDR(header);
  for (; control != NULL; control = CMSG_NXTHDR(header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    size_t bytes = control->cmsg_len - CMSG_LEN(0);
    memcpy(fds + count, CMSG_DATA(control), bytes);
    count += (uint32_t)(bytes / sizeof(int));
  }
  return count;
}

static napi_value make_message(napi_env env, const int *fds, uint32_t count, const uint8_t *bytes,
                               size_t length) {
  napi_value message = NULL, list = NULL, data = NULL;
  napi_create_object(env, &message);
  napi_create_array_with_length(env, count, &list);
  for (uint32_t i = 0; i < count; i++) napi_set_element(env, list, i, make_number(env, fds[i]));
  napi_set_named_property(env, message, "fds", list);
  napi_create_buffer_copy(env, length, bytes, NULL, &data);
  napi_set_named_property(env, message, "data", data);
  return message;
}

// receiveDescriptors(unixSocketFd, max): { fds, data }; both empty when the other end has closed
static napi_value receive_descriptors(napi_env env, napi_callback_info info) {
  struct call call;
  int socket, fds[MAX_PASSED + 1];  // the control area is padded to 8 bytes
  uint32_t most;
  union rights rights = {0};
  if (!call_open(&call, env, info, 2) || !arg_fd(&call, 0, "unixSocketFd", &socket)) return NULL;
  if (!arg_u32(&call, 1, "max", &most)) return NULL;
  if (most < 1 || most > MAX_PASSED) {
    throw_type(env, "max", "from 1 to 253");
    return NULL;
  }
  uint8_t *bytes = malloc(MAX_DATA);
  if (bytes == NULL) return throw_system_fd(env, ENOMEM, "recvmsg SCM_RIGHTS", socket);
  struct iovec vector = {bytes, MAX_DATA};
  struct msghdr header = {.msg_iov = &vector,
                          .msg_iovlen = 1,
                          .msg_control = &rights,
                          .msg_controllen = CMSG_SPACE(most * sizeof(int))};
  ssize_t got;
  do {
    got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  int error = got < 0 ? errno : 0;
  uint32_t count = got < 0 ? 0 : take_descriptors(&header, fds);
  if (error == 0 && (count > most || (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))) {
    for (uint32_t i = 0; i < count; i++) close(fds[i]);
    error = EMSGSIZE;
  }
  napi_value message = NULL;
  if (error == 0) message = make_message(env, fds, count, bytes, (size_t)got);
  free(bytes);
  return error == 0 ? message : throw_system_fd(env, error, "recvmsg SCM_RIGHTS", socket);
}

const struct entry pass_entries[] = {
    {"closeDescriptor", close_descriptor},       {"openSocketPair", open_socket_pair},
    {"sendDescriptors", send_descriptors},       {"receiveDescriptors", receive_descriptors},
    {NULL, NULL},
};
