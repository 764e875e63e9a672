// Load for measurements: streams, datagrams and pings at full speed. Every call blocks its thread
// (120 s at most), so it belongs in a worker thread. System calls: src/{load,flood,ping}.c.
import { binding } from "./binding.js";
import type {
  LoadConnection,
  LoadListener,
  LoadListenOptions,
  PingOptions,
  ReceivedDatagrams,
  ReceivedStream,
} from "./types.js";

/**
 * A listening TCP socket, or a bound UDP socket with a large buffer; port 0: the kernel's choice.
 * @throws SystemCallError EADDRINUSE, EADDRNOTAVAIL
 */
export function loadListen(options: LoadListenOptions): LoadListener {
  const { family, datagrams, address, port = 0 } = options;
  return binding.loadListen(family, datagrams, address, port);
}

/** The next connection's descriptor, or -1 when none came in time. */
export const loadAccept: (fd: number, timeout_us: number) => number = binding.loadAccept;

/**
 * A connected socket that is bound to `source`.
 * @throws SystemCallError ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, EADDRNOTAVAIL, ENOENT (no such
 * congestion control)
 */
export function loadConnect(options: LoadConnection): number {
  const { family, datagrams, source, address, port, timeout_us } = options;
  const { congestion = "" } = options;
  return binding.loadConnect(family, datagrams, source, address, port, timeout_us, congestion);
}

/** Fills `bytes`; gives how many came, fewer at the stream's end or after the time. */
export const loadRead: (fd: number, bytes: Uint8Array, timeout_us: number) => number =
  binding.loadRead;

/** Writes `bytes`; gives how many went, fewer after the time. */
export const loadWrite: (fd: number, bytes: Uint8Array, timeout_us: number) => number =
  binding.loadWrite;

/** Writes `bytes` again and again; gives how many went. */
export const loadSendStream: (fd: number, bytes: Uint8Array, duration_us: number) => number =
  binding.loadSendStream;

/** Reads into `bytes` until the stream's end or the time's; what came is thrown away. */
export const loadReceiveStream: (
  fd: number,
  bytes: Uint8Array,
  timeout_us: number,
) => ReceivedStream = binding.loadReceiveStream;

/**
 * Sends one payload again and again by a connected UDP socket; gives how many went. `rate` a
 * second, evenly (it spins); 0: as fast as they go. A paced flow that was held up ends later.
 */
export const loadSendDatagrams: (
  fd: number,
  payload: Uint8Array,
  rate: number,
  duration_us: number,
) => number = binding.loadSendDatagrams;

/** Counts the datagrams that begin with `begin`, and apart from them all others. */
export const loadCountDatagrams: (
  fd: number,
  begin: Uint8Array,
  timeout_us: number,
) => ReceivedDatagrams = binding.loadCountDatagrams;

/**
 * One ICMP echo request for each element of `times_ns`, which gets the round-trip time, or 0 where
 * no answer came within 200 ms. Needs CAP_NET_RAW.
 * @throws SystemCallError EPERM, EADDRNOTAVAIL, ENETUNREACH
 */
export function loadPing(options: PingOptions, times_ns: Uint32Array): void {
  const { family, source, address, identifier, interval_us, timeout_us } = options;
  binding.loadPing(family, source, address, times_ns, identifier, interval_us, timeout_us);
}
