// Opens the sockets of all workers on the control thread: those to send from, UDP ports to listen
// on, and raw ones. All are bound to the advertised address, so it is the outer source of all that
// we send, on hosts with several addresses too.
import {
  closeDescriptor,
  openRaw,
  openUdp,
  probePort,
  setUdpChecksums,
  type UdpChecksums,
  type UdpSocket,
} from "node-tun";
import { ENTROPY_SOCKETS, SOCKET_MIXED } from "../../assembly/shared/layout.js";
import { DatapathError, describe, systemCode } from "./errors.js";
import { ENCAPSULATIONS } from "./templates.js";
import type { ProtocolName } from "./types.js";

export type { UdpChecksums } from "node-tun";

/** Where datagrams of one encapsulation come to: a UDP port, or 0 where they have no ports. */
export interface ListeningPort {
  protocol: ProtocolName;
  port: number;
}

/** The advertised underlay address and the tunnel's UDP port. */
export interface UnderlayAddress {
  family: 4 | 6;
  address: string;
  /** 0 when the encapsulation has no ports. */
  port: number;
  /** What comes to that port; VXLAN when left out. */
  protocol?: ProtocolName;
  /** Others beside it, for peers that speak other encapsulations. */
  others?: readonly ListeningPort[];
  /**
   * Packets carry sequence numbers: the last worker alone sends, and reads from raw sockets, so
   * that none overtakes another.
   */
  ordered?: boolean;
  /** Outer UDP checksums; left out: sent, and over IPv6 wanted. */
  checksums?: UdpChecksums;
  /** Some peer needs outer fragments: sockets that allow them are opened beside the others. */
  fragments?: boolean;
}

/** What every socket does that is not told otherwise. */
const CHECKED: UdpChecksums = { send: true, zeroes: false };

/** Sockets on one UDP port, one for each worker; `protocol` is the first of those that come. */
export interface OpenPort extends ListeningPort {
  /** SOCKET_*: what comes there. */
  kind: number;
  sockets: UdpSocket[];
}

/** Raw sockets of one IP protocol, one for each worker; the last ones alone may receive. */
export interface OpenRaw {
  ipProtocol: number;
  /** The first worker whose socket receives. */
  firstReader: number;
  sockets: { fd: number }[];
}

/** A raw socket that receives, and which packets are its share. */
export interface RawReader {
  fd: number;
  protocol: number;
  share: { index: number; count: number };
}

export function rawReadersOf(open: readonly OpenRaw[]): RawReader[] {
  return open.flatMap(({ ipProtocol: protocol, firstReader, sockets }) => {
    const readers = sockets.slice(firstReader);
    const shareOf = (index: number) => ({ index, count: readers.length });
    return readers.map(({ fd }, index) => ({ fd, protocol, share: shareOf(index) }));
  });
}

/** UDP ports to listen on, the tunnel's own first; one of several encapsulations is one port. */
export function portsOf(underlay: UnderlayAddress): (ListeningPort & { kind: number })[] {
  const { protocol = "vxlan", port, others = [] } = underlay;
  const ports = new Map<number, ListeningPort & { kind: number }>();
  for (const one of [{ protocol, port }, ...others]) {
    const kind = ENCAPSULATIONS[one.protocol].socket;
    if (kind === null) continue;
    const first = ports.get(one.port) ?? { ...one, kind };
    ports.set(one.port, first.kind === kind ? first : { ...first, kind: SOCKET_MIXED });
  }
  return [...ports.values()];
}

/** IP protocols for which raw sockets are needed, ascending; none when nobody speaks them. */
export function rawProtocolsOf({ protocol = "vxlan", others = [] }: UnderlayAddress): number[] {
  const names = [protocol, ...others.map((other) => other.protocol)];
  const needed = names.flatMap((name) => ENCAPSULATIONS[name].ipProtocols);
  return [...new Set(needed)].sort((a, b) => a - b);
}

/** IPv6's fragment header, RFC 8200 section 4.5: fragments that the hot path makes. */
export const IPV6_FRAGMENT = 44;

/**
 * IP protocols of raw sockets for outer fragments. Over IPv6 the kernel cuts only what does not fit
 * its own route, so there they are ours, of every encapsulation.
 */
export function pieceProtocolsOf(underlay: UnderlayAddress): number[] {
  if (underlay.fragments !== true) return [];
  return underlay.family === 6 ? [IPV6_FRAGMENT] : rawProtocolsOf(underlay);
}

/**
 * Throws when another socket has the port. SO_REUSEPORT would share it in silence, so the question
 * is asked by one bind without it, before our own sockets exist.
 * @throws {DatapathError} MESHD_PORT_IN_USE, MESHD_ADDRESS_GONE, MESHD_SOCKET_FAILED.
 */
export function assertPortFree(underlay: UnderlayAddress): void {
  const { family, address, port } = underlay;
  const free = attempt(underlay, () => probePort({ family, address, port }));
  if (!free) throw portInUse(underlay);
}

/**
 * Opens as many sockets as `open` is asked for; none stays open when one fails.
 */
function openAll<T extends { fd: number }>(count: number, open: (index: number) => T): T[] {
  const opened: T[] = [];
  try {
    while (opened.length < count) opened.push(open(opened.length));
    return opened;
  } catch (error) {
    closeSockets(opened);
    throw error;
  }
}

/**
 * Opens what each worker sends UDP from beside its listening socket: one socket for each outer
 * source port. All workers have the same ports, so that a flow that goes to another worker keeps
 * its own. With `fragments` they let outer packets be fragmented.
 * @throws {DatapathError} MESHD_ADDRESS_GONE, MESHD_SOCKET_FAILED.
 */
export function openSending(
  underlay: UnderlayAddress,
  workers: number,
  bufferBytes: number,
  fragments = false,
): UdpSocket[][] {
  const each = ENTROPY_SOCKETS - 1;
  const ports: number[] = [];
  const all = openAll(workers * each, (index) => {
    const port = ports[index % each] ?? 0;
    const way = { receive: false, reusePort: workers > 1, fragments };
    const socket = openOne(underlay, port, way, bufferBytes);
    ports[index % each] = socket.port;
    return socket;
  });
  return Array.from({ length: workers }, (_, i) => all.slice(i * each, (i + 1) * each));
}

/**
 * Opens a UDP port, one socket for each worker.
 * @throws {DatapathError} as {@link assertPortFree}.
 */
export function openPort(
  underlay: UnderlayAddress,
  wanted: ListeningPort & { kind: number },
  workers: number,
  bufferBytes: number,
): OpenPort {
  const place = { ...underlay, port: wanted.port };
  assertPortFree(place);
  const way = { receive: true, reusePort: workers > 1 };
  const open = () => openOne(place, wanted.port, way, bufferBytes);
  return { ...wanted, sockets: openAll(workers, open) };
}

/**
 * Opens raw sockets of an IP protocol. Each packet comes to exactly one of the workers from
 * `firstReader` on, by a filter; those before it only send.
 * @throws {DatapathError} MESHD_NOT_PERMITTED, MESHD_ADDRESS_GONE, MESHD_SOCKET_FAILED.
 */
export function openRawSockets(
  underlay: UnderlayAddress,
  ipProtocol: number,
  workers: { count: number; firstReader: number },
  bufferBytes: number,
): OpenRaw {
  const { family, address } = underlay;
  const { count, firstReader } = workers;
  const buffers = { sendBuffer: bufferBytes, receiveBuffer: bufferBytes };
  const open = (index: number) => {
    const receive = index >= firstReader;
    const share = { index: index - firstReader, count: count - firstReader };
    const reads = receive ? { share } : { receive };
    const options = { family, address, protocol: ipProtocol, ...buffers, ...reads };
    try {
      return openRaw(options);
    } catch (error) {
      throw explainRaw(underlay, ipProtocol, error);
    }
  };
  return { ipProtocol, firstReader, sockets: openAll(count, open) };
}

/**
 * Opens raw sockets that only send, one for each worker, and let outer packets be fragmented.
 * @throws {DatapathError} as {@link openRawSockets}.
 */
export function openRawFragmenting(
  underlay: UnderlayAddress,
  ipProtocol: number,
  workers: number,
  sendBuffer: number,
): OpenRaw {
  const { family, address } = underlay;
  const only = { receive: false, fragments: true, sendBuffer };
  const open = () => {
    try {
      return openRaw({ family, address, protocol: ipProtocol, ...only });
    } catch (error) {
      throw explainRaw(underlay, ipProtocol, error);
    }
  };
  return { ipProtocol, firstReader: workers, sockets: openAll(workers, open) };
}

/** Has these UDP sockets send and take checksums as the underlay says; also while they are used. */
export function applyChecksums(underlay: UnderlayAddress, sockets: readonly UdpSocket[]): void {
  const { checksums = CHECKED } = underlay;
  attempt(underlay, () => {
    for (const { fd } of sockets) setUdpChecksums(fd, checksums);
  });
}

export function closeSockets(sockets: readonly { fd: number }[]): void {
  for (const { fd } of sockets) closeDescriptor(fd);
}

/** What does not receive has a filter that drops what comes in; port 0: the system picks one. */
function openOne(
  underlay: UnderlayAddress,
  port: number,
  way: { receive: boolean; reusePort: boolean; fragments?: boolean },
  bufferBytes: number,
): UdpSocket {
  const { receive, reusePort, fragments = false } = way;
  return attempt(underlay, () =>
    openUdp({
      family: underlay.family,
      address: underlay.address,
      port,
      reusePort,
      receive,
      segmentation: true,
      receiveOffload: receive,
      fragments,
      sendBuffer: bufferBytes,
      ...(receive ? { receiveBuffer: bufferBytes } : {}),
    }),
  );
}

function attempt<T>(underlay: UnderlayAddress, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw explain(underlay, error);
  }
}

function addressGone({ address }: UnderlayAddress, cause: unknown): DatapathError {
  const why = `underlay address ${address} is not on this host`;
  const todo = "give it to an interface, or advertise another one";
  return new DatapathError("MESHD_ADDRESS_GONE", `${why}: ${todo}`, cause);
}

function explainRaw(underlay: UnderlayAddress, ipProtocol: number, error: unknown): DatapathError {
  const code = systemCode(error);
  if (code === "EADDRNOTAVAIL") return addressGone(underlay, error);
  const what = `raw socket for IP protocol ${ipProtocol} on ${underlay.address}`;
  const why = `${what} cannot be opened: ${describe(error)}`;
  if (code !== "EPERM") return new DatapathError("MESHD_SOCKET_FAILED", why, error);
  const otherwise =
    ipProtocol === IPV6_FRAGMENT
      ? "without it IPv6 of up to 1280 bytes is lost where a path is too narrow for it"
      : "or use an encapsulation over UDP";
  const todo = `run as root or with CAP_NET_RAW, ${otherwise}`;
  return new DatapathError("MESHD_NOT_PERMITTED", `${why}: ${todo}`, error);
}

function explain(underlay: UnderlayAddress, error: unknown): DatapathError {
  const code = systemCode(error);
  if (code === "EADDRINUSE") return portInUse(underlay, error);
  if (code === "EADDRNOTAVAIL") return addressGone(underlay, error);
  const what = `UDP socket on ${underlay.address} port ${underlay.port}`;
  const why = `${what} cannot be opened: ${describe(error)}`;
  return new DatapathError("MESHD_SOCKET_FAILED", why, error);
}

function portInUse(underlay: UnderlayAddress, cause?: unknown): DatapathError {
  const why = `UDP port ${underlay.port} on ${underlay.address} is in use`;
  const todo = "stop the program that has it, or set another tunnelPort";
  return new DatapathError("MESHD_PORT_IN_USE", `${why}: ${todo}`, cause);
}
