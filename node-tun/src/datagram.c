// Batches on UDP and raw sockets: recvmmsg and sendmmsg straight from and to the caller's memory.
// One peer's failure, or a pending error of an earlier send, never fails another peer's packet.
#include "common.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <unistd.h>

#ifndef UDP_SEGMENT  // Linux 4.18
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO  // Linux 5.0
#define UDP_GRO 104
#endif

enum {
  CHUNK = 64,          // messages per system call
  FIRST_CHUNK = 8,     // and of a batch's first read, and of long datagrams
  LONG_DATAGRAM = 16384,
  CONTROL_SIZE = 128,  // TOS 24 + pktinfo 40 + segment 24, with room
  ERRORS_SKIPPED = 64, // pending errors one read or send passes over
  WAIT_MS = 1,         // for room in a full send buffer
};

_Static_assert(CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo)) +
                       CMSG_SPACE(sizeof(uint16_t)) <=
                   CONTROL_SIZE,
               "TOS, pktinfo and segment fit");

union control {
  struct cmsghdr align;
  uint8_t bytes[CONTROL_SIZE];
};

struct chunk {
  struct mmsghdr messages[CHUNK];
  struct iovec vectors[CHUNK];
  union address names[CHUNK];
  union control controls[CHUNK];
  struct descriptor *descriptors[CHUNK];
  uint16_t segment[CHUNK];   // sends: bytes per segment of a train, else 0
  uint16_t segments[CHUNK];  // sends: packets carried
  uint32_t length;
};

// --- read --------------------------------------------------------------------------------

static int prepare_read(struct chunk *chunk, const struct batch *batch, struct descriptor *at) {
  struct descriptor slot = snapshot(at);
  uint32_t i = chunk->length;
  if (!inside(&batch->memory, slot.address, slot.capacity)) return EFAULT;
  chunk->descriptors[i] = at;
  chunk->vectors[i] = (struct iovec){batch->memory.base + slot.address, slot.capacity};
  chunk->messages[i].msg_hdr = (struct msghdr){.msg_name = &chunk->names[i],
                                               .msg_namelen = sizeof chunk->names[i],
                                               .msg_iov = &chunk->vectors[i],
                                               .msg_iovlen = 1,
                                               .msg_control = &chunk->controls[i],
                                               .msg_controllen = CONTROL_SIZE};
  chunk->length++;
  return 0;
}

static void take_control(struct descriptor *out, const struct cmsghdr *control) {
  const void *data = CMSG_DATA(control);
  int number = 0;
  if (control->cmsg_level == SOL_IP && control->cmsg_type == IP_TOS) {
    out->tos = *(const uint8_t *)data;
  } else if (control->cmsg_level == SOL_IP && control->cmsg_type == IP_PKTINFO) {
    memcpy(out->local, &((const struct in_pktinfo *)data)->ipi_addr, 4);
  } else if (control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_TCLASS) {
    memcpy(&number, data, sizeof number);
    out->tos = (uint8_t)number;
  } else if (control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
    memcpy(out->local, &((const struct in6_pktinfo *)data)->ipi6_addr, 16);
  } else if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
    memcpy(&number, data, sizeof number);
    out->segment = (uint16_t)number;
  }
}

static void fill_read(struct chunk *chunk, uint32_t i, const struct batch *batch) {
  struct msghdr *header = &chunk->messages[i].msg_hdr;
  const union address *name = &chunk->names[i];
  bool v4 = name->any.sa_family == AF_INET;
  struct descriptor out = {
      .address = (uint32_t)((uint8_t *)chunk->vectors[i].iov_base - batch->memory.base),
      .capacity = (uint32_t)chunk->vectors[i].iov_len,
      .length = chunk->messages[i].msg_len,
      .flags = header->msg_flags & MSG_TRUNC ? DESCRIPTOR_TRUNCATED : 0,
      .socket = (uint16_t)batch->socket_index,
      .family = v4 ? 4 : 6,
      .port = ntohs(v4 ? name->v4.sin_port : name->v6.sin6_port)};
  if (v4) memcpy(out.peer, &name->v4.sin_addr, 4);
  if (!v4) memcpy(out.peer, &name->v6.sin6_addr, 16);
  struct cmsghdr *control = CMSG_FIRSTHDR(header);
  for (; control != NULL; control = CMSG_NXTHDR(header, control)) take_control(&out, control);
  memcpy(chunk->descriptors[i], &out, sizeof out);
}

static bool is_call_error(int error) {
  return error == EBADF || error == ENOTSOCK || error == EFAULT || error == EINVAL ||
         error == ENOMEM || error == ENOTCONN || error == EOPNOTSUPP || error == ENOSYS;
}

// Messages received, or the negative errno. An error that an ICMP left behind is taken off and
// passed over: it belongs to one peer, and the packets behind it to others.
static int receive(int fd, struct chunk *chunk) {
  for (int skipped = 0; skipped < ERRORS_SKIPPED; skipped++) {
    int got = recvmmsg(fd, chunk->messages, chunk->length, MSG_DONTWAIT, NULL);
    if (got >= 0) return got;
    if (errno == EAGAIN) return 0;
    if (is_call_error(errno)) return -errno;
  }
  return 0;
}

int receive_datagrams(const struct batch *batch) {
  struct chunk chunk;
  uint32_t done = 0;
  uint64_t bytes = 0;
  while (!is_full(batch, done, bytes)) {
    int error = 0;
    // Mostly few wait: to prepare room for many costs a single packet two microseconds. Where they
    // are long, few are enough for the bytes that one batch may have.
    bool few = done == 0 || bytes / done > LONG_DATAGRAM;
    uint32_t most = few ? FIRST_CHUNK : CHUNK;
    chunk.length = 0;
    while (error == 0 && chunk.length < most && done + chunk.length < batch->count) {
      error = prepare_read(&chunk, batch, &batch->first[done + chunk.length]);
    }
    uint32_t wanted = chunk.length;
    int got = wanted == 0 ? -error : receive(batch->fd, &chunk);
    // What was read is handed over first; the error stands at the next call again.
    if (got < 0 && done == 0) return got;
    for (int i = 0; i < got; i++) {
      fill_read(&chunk, (uint32_t)i, batch);
      bytes += chunk.messages[i].msg_len;
    }
    if (got > 0) done += (uint32_t)got;
    if (error != 0 || got < (int)wanted) break;
  }
  return (int)done;
}

napi_value read_datagrams(napi_env env, napi_callback_info info) {
  struct batch batch;
  if (!batch_open_read(&batch, env, info)) return NULL;
  int done = receive_datagrams(&batch);
  return done < 0 ? throw_system_fd(env, -done, "recvmmsg", batch.fd) : make_number(env, done);
}

// --- write -------------------------------------------------------------------------------

struct sender {
  int fd;
  bool patient;  // until the first wait in vain: what comes in waits as long as this batch does
};

static void add_control(struct msghdr *header, int level, int type, const void *data, size_t size) {
  struct cmsghdr *control =
      (struct cmsghdr *)((uint8_t *)header->msg_control + header->msg_controllen);
  control->cmsg_level = level;
  control->cmsg_type = type;
  control->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(control), data, size);
  header->msg_controllen += CMSG_SPACE(size);
}

static void add_controls(struct msghdr *header, const struct descriptor *packet, uint16_t segment) {
  static const uint8_t zero[16];
  bool v4 = packet->family == 4;
  int tos = packet->tos;
  if (tos != 0) {
    add_control(header, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &tos, sizeof tos);
  }
  if (v4 && memcmp(packet->local, zero, 4) != 0) {
    struct in_pktinfo from = {0};
    memcpy(&from.ipi_spec_dst, packet->local, 4);
    add_control(header, SOL_IP, IP_PKTINFO, &from, sizeof from);
  } else if (!v4 && memcmp(packet->local, zero, 16) != 0) {
    struct in6_pktinfo from = {0};
    memcpy(&from.ipi6_addr, packet->local, 16);
    add_control(header, SOL_IPV6, IPV6_PKTINFO, &from, sizeof from);
  }
  // Last, so that a train can be sent again without it, segment by segment.
  if (segment != 0) add_control(header, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
}

static bool fill_name(union address *name, const struct descriptor *packet, bool raw) {
  memset(name, 0, sizeof *name);
  if (packet->family == 4) {
    name->v4.sin_family = AF_INET;
    name->v4.sin_port = raw ? 0 : htons(packet->port);
    memcpy(&name->v4.sin_addr, packet->peer, 4);
    return true;
  }
  name->v6.sin6_family = AF_INET6;
  name->v6.sin6_port = raw ? 0 : htons(packet->port);
  memcpy(&name->v6.sin6_addr, packet->peer, 16);
  return packet->family == 6;
}

static uint16_t count_segments(const struct descriptor *packet, uint16_t segment) {
  if (packet->segments != 0) return packet->segments;
  uint32_t count = segment == 0 ? 1 : packet->length / segment + (packet->length % segment != 0);
  return count > UINT16_MAX ? UINT16_MAX : (uint16_t)count;
}

static int prepare_write(struct chunk *chunk, const struct batch *batch, struct descriptor *at,
                         const struct descriptor *packet, bool raw) {
  uint32_t i = chunk->length;
  uint16_t segment = !raw && packet->length > packet->segment ? packet->segment : 0;
  if (!inside(&batch->memory, packet->address, packet->length)) return EFAULT;
  if (!fill_name(&chunk->names[i], packet, raw)) return EAFNOSUPPORT;
  chunk->descriptors[i] = at;
  chunk->segment[i] = segment;
  chunk->segments[i] = count_segments(packet, segment);
  chunk->vectors[i] = (struct iovec){batch->memory.base + packet->address, packet->length};
  struct msghdr *header = &chunk->messages[i].msg_hdr;
  *header = (struct msghdr){.msg_name = &chunk->names[i],
                            .msg_namelen = address_length(&chunk->names[i]),
                            .msg_iov = &chunk->vectors[i],
                            .msg_iovlen = 1,
                            .msg_control = &chunk->controls[i]};
  add_controls(header, packet, segment);
  if (header->msg_controllen == 0) header->msg_control = NULL;
  chunk->length++;
  return 0;
}

static void report(struct descriptor *at, int error, uint16_t failed) {
  at->status = (uint32_t)error;
  at->failed = failed;
}

// Errors that only an ICMP answer to an earlier packet leaves; a send itself cannot fail with them.
static bool is_left_behind(int error) {
  return error == ECONNREFUSED || error == ECONNRESET || error == ENOPROTOOPT || error == EPROTO;
}

static bool wait_for_room(struct sender *sender) {
  struct pollfd poller = {.fd = sender->fd, .events = POLLOUT};
  if (sender->patient) sender->patient = poll(&poller, 1, WAIT_MS) > 0;
  return sender->patient;
}

// One message, tried again after a wait for room or after a pending error was taken off.
static int send_one(struct sender *sender, const struct msghdr *header) {
  bool again = false;
  for (int tries = 0; tries < ERRORS_SKIPPED; tries++) {
    if (sendmsg(sender->fd, header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    int error = errno;
    if (error == EINTR || is_left_behind(error)) continue;
    if (again || is_call_error(error)) return error;
    if (error == EAGAIN && !wait_for_room(sender)) return error;
    again = true;
  }
  return ECONNREFUSED;
}

// A train the kernel refused as one send (path without checksum offload, too many segments).
static uint16_t send_segments(struct sender *sender, struct chunk *chunk, uint32_t i, int *error) {
  struct msghdr header = chunk->messages[i].msg_hdr;
  struct iovec whole = chunk->vectors[i], piece = whole;
  uint16_t failed = 0;
  header.msg_iov = &piece;
  header.msg_controllen -= CMSG_SPACE(sizeof(uint16_t));
  if (header.msg_controllen == 0) header.msg_control = NULL;
  *error = 0;
  for (size_t at = 0; at < whole.iov_len; at += chunk->segment[i]) {
    size_t left = whole.iov_len - at;
    piece.iov_base = (uint8_t *)whole.iov_base + at;
    piece.iov_len = left < chunk->segment[i] ? left : chunk->segment[i];
    int result = send_one(sender, &header);
    if (result == 0) continue;
    *error = result;
    if (failed < UINT16_MAX) failed++;
  }
  return failed;
}

// The message sendmmsg stopped at.
static bool send_again(struct sender *sender, struct chunk *chunk, uint32_t i) {
  uint16_t failed = chunk->segments[i];
  int error = send_one(sender, &chunk->messages[i].msg_hdr);
  if (chunk->segment[i] != 0 && (error == EIO || error == EINVAL || error == EMSGSIZE)) {
    failed = send_segments(sender, chunk, i, &error);
  }
  report(chunk->descriptors[i], error, error == 0 ? 0 : failed);
  return error == 0;
}

static uint32_t send_chunk(struct sender *sender, struct chunk *chunk) {
  uint32_t done = 0, sent = 0;
  while (done < chunk->length) {
    int got = sendmmsg(sender->fd, chunk->messages + done, chunk->length - done,
                       MSG_DONTWAIT | MSG_NOSIGNAL);
    for (int i = 0; i < got; i++) report(chunk->descriptors[done + (uint32_t)i], 0, 0);
    if (got > 0) {
      done += (uint32_t)got;
      sent += (uint32_t)got;
    } else if (send_again(sender, chunk, done++)) {
      sent++;
    }
  }
  return sent;
}

uint32_t send_datagrams(const struct batch *batch, bool raw) {
  struct chunk chunk;
  struct sender sender = {.fd = -1, .patient = true};
  uint32_t sent = 0;
  for (uint32_t i = 0; i < batch->count;) {
    uint16_t socket = batch->first[i].socket;
    int fd = socket < batch->fds_length ? batch->fds[socket] : -1;
    sender.fd = fd;
    chunk.length = 0;
    for (; i < batch->count && chunk.length < CHUNK; i++) {
      struct descriptor packet = snapshot(&batch->first[i]);
      if (packet.socket != socket) break;
      int error = fd < 0 ? EBADF : prepare_write(&chunk, batch, &batch->first[i], &packet, raw);
      if (error != 0) report(&batch->first[i], error, count_segments(&packet, packet.segment));
    }
    if (chunk.length > 0) sent += send_chunk(&sender, &chunk);
  }
  return sent;
}

napi_value write_datagrams(napi_env env, napi_callback_info info, bool raw) {
  struct batch batch;
  if (!batch_open_write(&batch, env, info)) return NULL;
  return make_number(env, send_datagrams(&batch, raw));
}
