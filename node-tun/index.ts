// node-tun: TUN queues, UDP and raw IP sockets for Node on Linux, read and written in batches by
// descriptors in (shared) memory. This is its door; system calls are in src/*.c.
import { binding, type NativeQueue, type NativeSocket } from "./binding.js";
import type {
  DescriptorMessage,
  Exchange,
  RawFilter,
  RawOptions,
  TunOffloads,
  TunOptions,
  TunQueue,
  UdpChecksums,
  UdpOptions,
  UdpSocket,
} from "./types.js";

export { SystemCallError } from "./errors.js";
export * from "./load.js";
export * from "./steering.js";
export type {
  DescriptorMessage,
  Exchange,
  LoadConnection,
  LoadListener,
  LoadListenOptions,
  PingOptions,
  RawFilter,
  RawOptions,
  ReceivedDatagrams,
  ReceivedStream,
  SteeringOrder,
  TunOffloads,
  TunOptions,
  TunQueue,
  UdpChecksums,
  UdpOptions,
  UdpSocket,
} from "./types.js";

// Bits of the binding; keep equal to the enums in tun.c and udp.c.
const TUN_WANTS = { tap: 1, multiQueue: 2, vnetHeader: 4, offloads: 8, exclusive: 16 };
const UDP_WANTS = {
  ...{ reusePort: 1, sendOnly: 2, segmentation: 4, receiveOffload: 8, freebind: 16 },
  fragments: 32,
};
// TUN_F_* of linux/if_tun.h
const TUN_GRANTS = { checksum: 1, tso4: 2, tso6: 4, ecn: 8, uso4: 32, uso6: 64 };

const TUN_KEYS = ["name", "kind", "multiQueue", "vnetHeader", "offloads", "persist", "exclusive"];
const UDP_KEYS = [
  ...["family", "address", "port", "reusePort", "receive", "segmentation", "receiveOffload"],
  ...["sendBuffer", "receiveBuffer", "freebind", "fragments", "device"],
];
const RAW_KEYS = [
  ...["family", "protocol", "address", "receive", "fragments"],
  ...["sendBuffer", "receiveBuffer", "share"],
];

const FILTER_KEYS = ["family", "protocol", "share", "sources", "sample"];

function checkOptions(options: unknown, keys: readonly string[]): void {
  if (typeof options !== "object" || options === null)
    throw new TypeError("options must be an object");
  for (const [key, value] of Object.entries(options)) {
    if (!keys.includes(key)) throw new TypeError(`unknown option ${key}`);
    if (value === null) throw new TypeError(`${key} must not be null`);
  }
}

function checkFlag(name: string, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value !== "boolean") throw new TypeError(`${name} must be a boolean`);
  return value;
}

function gather(bits: Readonly<Record<string, number>>, wanted: Record<string, unknown>): number {
  let sum = 0;
  for (const [name, bit] of Object.entries(bits)) if (checkFlag(name, wanted[name])) sum += bit;
  return sum;
}

function checkDeviceName(name: unknown): asserts name is string {
  if (typeof name !== "string") throw new TypeError("name must be a string");
  const length = Buffer.byteLength(name);
  if (length < 1 || length > 15 || name === "." || name === ".." || /[/:\s\0]/.test(name)) {
    throw new TypeError(`name must be a device name of 1 to 15 bytes, got ${JSON.stringify(name)}`);
  }
}

function toQueue(native: NativeQueue): TunQueue {
  const has = (bit: number): boolean => (native.offloads & bit) !== 0;
  const offloads: TunOffloads = {
    checksum: has(TUN_GRANTS.checksum),
    tso4: has(TUN_GRANTS.tso4),
    tso6: has(TUN_GRANTS.tso6),
    ecn: has(TUN_GRANTS.ecn),
    uso4: has(TUN_GRANTS.uso4),
    uso6: has(TUN_GRANTS.uso6),
  };
  return {
    fd: native.fd,
    name: native.name,
    kind: (native.is & TUN_WANTS.tap) !== 0 ? "tap" : "tun",
    multiQueue: (native.is & TUN_WANTS.multiQueue) !== 0,
    vnetHeader: (native.is & TUN_WANTS.vnetHeader) !== 0,
    offloads,
  };
}

function toSocket(native: NativeSocket): UdpSocket {
  return {
    fd: native.fd,
    address: native.address,
    port: native.port,
    segmentation: (native.granted & UDP_WANTS.segmentation) !== 0,
    receiveOffload: (native.granted & UDP_WANTS.receiveOffload) !== 0,
    sendBuffer: native.sendBuffer,
    receiveBuffer: native.receiveBuffer,
  };
}

/**
 * Opens a queue of a TUN or TAP device in the calling thread's network namespace; makes the device
 * when there is none. Offloads are asked for stepwise: what an older kernel refuses is left out.
 * @throws SystemCallError EBUSY (in use), EPERM, ENOENT (no /dev/net/tun), EINVAL (other flags)
 */
export function openTun(options: TunOptions): TunQueue {
  checkOptions(options, TUN_KEYS);
  checkDeviceName(options.name);
  const { kind, persist } = options;
  if (kind !== undefined && kind !== "tun" && kind !== "tap") {
    throw new TypeError('kind must be "tun" or "tap"');
  }
  const wants = gather(TUN_WANTS, { ...options, tap: kind === "tap" });
  if (options.offloads === true && options.vnetHeader !== true) {
    throw new TypeError("offloads need vnetHeader: super-packets come with a header that tells so");
  }
  const keep = persist === undefined ? -1 : Number(checkFlag("persist", persist));
  return toQueue(binding.openTun(options.name, wants, keep));
}

/** The device outlives its last queue, or not. */
export const setTunPersist: (fd: number, on: boolean) => void = binding.setTunPersist;

/**
 * Takes a queue out of its multi-queue device, or back in as the last one. One that is out gets no
 * packets, loses those that waited in it, and can still write. EINVAL: it is so already.
 */
export const attachTun: (fd: number, on: boolean) => void = binding.attachTun;

/** Takes over a queue opened elsewhere (passed by sendDescriptors). */
export function adoptTun(fd: number): TunQueue {
  return toQueue(binding.adoptTun(fd));
}

/**
 * Opens and binds a UDP socket; IPv6 sockets are IPv6 only.
 * @throws SystemCallError EADDRINUSE, EADDRNOTAVAIL, EACCES, ENODEV; TypeError for a wrong option
 */
export function openUdp(options: UdpOptions): UdpSocket {
  checkOptions(options, UDP_KEYS);
  const wants = gather(UDP_WANTS, {
    ...options,
    sendOnly: options.receive !== undefined && !checkFlag("receive", options.receive),
  });
  const { family, address, port, sendBuffer = 0, receiveBuffer = 0, device = "" } = options;
  return toSocket(binding.openUdp(family, address, port, wants, sendBuffer, receiveBuffer, device));
}

/** Takes over a UDP socket opened elsewhere, and sets what openUdp sets for every packet. */
export function adoptUdp(fd: number): UdpSocket {
  return toSocket(binding.adoptUdp(fd));
}

/**
 * Whether a UDP socket sends checksums, and takes datagrams over IPv6 that have none; over IPv4
 * every socket does. Without checksums the kernel refuses UDP_SEGMENT: trains go out piece by
 * piece. Default: { send: true, zeroes: false }.
 */
export function setUdpChecksums(fd: number, { send, zeroes }: UdpChecksums): void {
  binding.setUdpChecksums(fd, send, zeroes);
}

/**
 * Packets that the kernel dropped at a UDP or raw socket since it was opened: its receive buffer
 * was full, a UDP checksum was wrong, or a UDP socket's filter refused them. Wraps at 2^32.
 */
export const receiveDrops: (fd: number) => number = binding.receiveDrops;

/** True when nobody has the port: binds once without SO_REUSEPORT, and closes. */
export function probePort(options: { family: 4 | 6; address: string; port: number }): boolean {
  checkOptions(options, ["family", "address", "port"]);
  return binding.probePort(options.family, options.address, options.port);
}

/**
 * Opens a raw IP socket of one protocol; don't-fragment is set, the kernel writes the outer header.
 * @throws SystemCallError EPERM (needs CAP_NET_RAW), EADDRNOTAVAIL
 */
export function openRaw(options: RawOptions): { fd: number } {
  checkOptions(options, RAW_KEYS);
  const { family, protocol, sendBuffer = 0, receiveBuffer = 0 } = options;
  const address = options.address ?? (family === 6 ? "::" : "0.0.0.0");
  const { index, count } = options.share ?? { index: 0, count: 1 };
  const receives = options.receive === undefined || checkFlag("receive", options.receive);
  const buffers = [sendBuffer, receiveBuffer] as const;
  const fragments = checkFlag("fragments", options.fragments);
  const ways = [receives, fragments] as const;
  return binding.openRaw(family, protocol, index, count, address, ...buffers, ...ways);
}

/**
 * A raw socket that receives takes from now on only what comes from one of these outer sources, and
 * is its share; no packet slips through while the filter is replaced. About 3,000 sources fit, less
 * where net.core.optmem_max is small.
 * @throws SystemCallError E2BIG, ENOMEM: too many; the socket takes its share of all packets then.
 */
export function filterRaw(fd: number, filter: RawFilter): void {
  checkOptions(filter, FILTER_KEYS);
  const { family, protocol, sources, sample = sources === undefined ? 1 : 0 } = filter;
  const { index, count } = filter.share ?? { index: 0, count: 1 };
  binding.filterRaw(fd, family, protocol, index, count, sources ?? new Uint8Array(0), sample);
}

/** Closes a descriptor of any kind. */
export const closeDescriptor: (fd: number) => void = binding.closeDescriptor;

/** Two connected Unix sockets (SOCK_SEQPACKET), for passing descriptors to a child process. */
export const openSocketPair: () => [number, number] = binding.openSocketPair;

/** Passes 1 to 253 descriptors, with 1 to 65,536 bytes of data (default: one zero byte). */
export const sendDescriptors: (unixSocketFd: number, fds: number[], data?: Uint8Array) => void =
  binding.sendDescriptors;

/**
 * Takes at most `max` passed descriptors; blocks when the socket does (else EAGAIN). Empty when the
 * other end has closed. More than `max`: all are closed, EMSGSIZE.
 */
export function receiveDescriptors(unixSocketFd: number, max: number): number[] {
  return binding.receiveDescriptors(unixSocketFd, max).fds;
}

/** As receiveDescriptors, with the data that came along. */
export const receiveDescriptorMessage: (unixSocketFd: number, max: number) => DescriptorMessage =
  binding.receiveDescriptors;

/**
 * Reads up to `count` packets into the slots of the descriptors at `at` (ADDRESS and CAPACITY are
 * preset by the caller); gives how many. The rest of a filled descriptor is overwritten.
 * @throws SystemCallError EFAULT when a descriptor or slot is outside of the memory; others
 */
export const readTunBatch = binding.readTunBatch;
/** As readTunBatch; trains (UDP_GRO) come with SEGMENT. An error left by an ICMP is passed over. */
export const readUdpBatch = binding.readUdpBatch;
/** As readUdpBatch, for raw sockets: PORT is 0, IPv4 packets begin with their IP header. */
export const readRawBatch = binding.readRawBatch;

/**
 * Writes `count` packets, each to the queue fds[SOCKET]; gives how many went out whole. STATUS and
 * FAILED of every descriptor tell the rest, EFAULT for a packet outside of the memory included.
 * @throws SystemCallError EFAULT when the descriptors themselves are outside of the memory
 */
export const writeTunBatch = binding.writeTunBatch;
/** As writeTunBatch; SEGMENT below LENGTH makes one send of many datagrams. A LOCAL that is not
 * zero is the source address. A full send buffer is waited for 1 ms, once, then packets fail. */
export const writeUdpBatch = binding.writeUdpBatch;
/** As writeUdpBatch, for raw sockets: the kernel writes the IP header, SEGMENT is not looked at. */
export const writeRawBatch = binding.writeRawBatch;

/** A poller (epoll) for pollerWait. */
export const openPoller: () => number = binding.openPoller;
/** Watches a descriptor for something to read; level-triggered. */
export const pollerAdd: (poller: number, fd: number, token: number) => void = binding.pollerAdd;
/** Watches a descriptor no longer. */
export const pollerRemove: (poller: number, fd: number) => void = binding.pollerRemove;
/**
 * Blocks the calling thread until a descriptor is ready or timeout_us microseconds have passed
 * (below 0: no limit); fills `ready` with tokens and gives how many.
 */
export const pollerWait: (poller: number, ready: Uint32Array, timeout_us: number) => number =
  binding.pollerWait;

/** Indexes into a plan (words; NOW and WAIT: doubles), bits of READY and of `receive`, SIZE. */
export const exchangePlan: Readonly<Record<string, number>> = Object.freeze(binding.exchangePlan());

/**
 * Waiting, reading and writing of one thread in one call each way. All it needs stands in `plan`
 * (see exchangePlan), which the caller fills and may change between calls; counts and descriptors
 * stand in `memory` where the plan says. While `guard[0]` is not the plan's GUARD, nothing is read:
 * another thread changed the handles. All three arrays must never be detached.
 */
export const openExchange: (memory: Uint8Array, plan: Uint32Array, guard: Uint32Array) => Exchange =
  binding.openExchange;

/** A descriptor (eventfd) by which any thread wakes a poller that watches it. */
export const openWake: () => number = binding.openWake;
/** Makes it ready. */
export const wake: (fd: number) => void = binding.wake;
/** Makes it not ready, however often it was woken. */
export const clearWake: (fd: number) => void = binding.clearWake;

/**
 * A netlink socket that hears these multicast groups of a protocol (linux/netlink.h, rtnetlink.h):
 * what changes on the host of this network namespace, without asking for it.
 * @throws SystemCallError EPROTONOSUPPORT (a kernel without the protocol), EPERM, EINVAL (group)
 */
export function openEvents(protocol: number, groups: readonly number[]): number {
  return binding.openEvents(protocol, Uint32Array.from(groups));
}

/** What readEvents adds where messages were lost, as the kernel calls it. */
export const EVENTS_LOST = 4;

/**
 * Types of the messages that came since the last call, each once, as many as `types` has room for.
 * Never waits. Gives their number.
 */
export const readEvents: (fd: number, types: Uint32Array) => number = binding.readEvents;

/** MTU in bytes of a device of this network namespace; -1: there is none of that name. */
export const linkMtu: (name: string) => number = binding.linkMtu;

/** Whether a device's feature, by ethtool's name, is on; false where there is no such device. */
export const linkFeature: (name: string, feature: string) => boolean = binding.linkFeature;

/** CPUs the calling thread may run on, ascending. */
export const allowedCpus: () => number[] = binding.allowedCpus;
/**
 * Unmaps all pages of files that were not written to (programs, libraries), and gives the
 * allocator's free pages back; what is needed again is mapped again when it is touched.
 * @returns bytes of address space that were gone over.
 */
export const releasePages: () => number = binding.releasePages;
/** The calling thread runs on this CPU alone. @throws SystemCallError EINVAL when it may not */
export const pinThread: (cpu: number) => void = binding.pinThread;
/**
 * The scheduler gives the calling thread turns of this length (100 to 100,000 microseconds) instead
 * of some 3,000: less at a time, and sooner. Privileges are not needed.
 * @returns false where the kernel (before Linux 6.12) does not know such lengths
 */
export const setThreadSlice: (microseconds: number) => boolean = binding.setThreadSlice;

/** Names and offsets of a descriptor's fields, as C has them. */
export const descriptorLayout: Readonly<Record<string, number>> = Object.freeze(
  binding.descriptorLayout,
);
