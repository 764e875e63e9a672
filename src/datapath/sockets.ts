// Opens a worker's UDP sockets on the control thread. All are bound to the advertised address, so
// it is the outer source of everything we send, on hosts with several addresses too.
import { closeDescriptor, openUdp, probePort, type UdpSocket } from "node-tun";
import { ENTROPY_SOCKETS } from "../../assembly/shared/layout.js";
import { DatapathError, describe, systemCode } from "./errors.js";
import type { ProtocolName } from "./types.js";

/** A UDP port for datagrams of one encapsulation. */
export interface ListeningPort {
  protocol: ProtocolName;
  port: number;
}

/** The advertised underlay address and the tunnel's UDP port. */
export interface UnderlayAddress {
  family: 4 | 6;
  address: string;
  port: number;
  /** What comes to that port; VXLAN when left out. */
  protocol?: ProtocolName;
  /** Ports beside it, for peers that speak other encapsulations. */
  others?: readonly ListeningPort[];
}

/** Listening sockets of all workers on one of the other ports. */
export interface OtherPort extends ListeningPort {
  sockets: UdpSocket[];
}

/** Sockets of one worker: the first listens, the rest only send. */
export type WorkerSockets = UdpSocket[];

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
 * Opens the sockets of all workers; none stays open when one fails.
 * @throws {DatapathError} as {@link assertPortFree}.
 */
export function openSockets(
  underlay: UnderlayAddress,
  workers: number,
  bufferBytes: number,
): WorkerSockets[] {
  const opened: UdpSocket[] = [];
  try {
    return Array.from({ length: workers }, () => {
      const listening = openOne(underlay, underlay.port, workers > 1, bufferBytes);
      opened.push(listening);
      const own = [listening];
      while (own.length < ENTROPY_SOCKETS) {
        const sending = openOne(underlay, 0, false, bufferBytes);
        opened.push(sending);
        own.push(sending);
      }
      return own;
    });
  } catch (error) {
    closeSockets([opened]);
    throw error;
  }
}

/**
 * Opens a port beside the tunnel's own, one socket for each worker.
 * @throws {DatapathError} as {@link assertPortFree}.
 */
export function openOther(
  underlay: UnderlayAddress,
  wanted: ListeningPort,
  workers: number,
  bufferBytes: number,
): OtherPort {
  const place = { ...underlay, port: wanted.port };
  assertPortFree(place);
  const sockets: UdpSocket[] = [];
  try {
    while (sockets.length < workers) {
      sockets.push(openOne(place, wanted.port, workers > 1, bufferBytes));
    }
    return { ...wanted, sockets };
  } catch (error) {
    closeSockets([sockets]);
    throw error;
  }
}

export function closeSockets(sockets: WorkerSockets[]): void {
  for (const socket of sockets.flat()) closeDescriptor(socket.fd);
}

/** Port 0 makes a send-only socket: the system picks the port, a filter drops what comes in. */
function openOne(
  underlay: UnderlayAddress,
  port: number,
  reusePort: boolean,
  bufferBytes: number,
): UdpSocket {
  const receive = port !== 0;
  return attempt(underlay, () =>
    openUdp({
      family: underlay.family,
      address: underlay.address,
      port,
      reusePort,
      receive,
      segmentation: true,
      receiveOffload: receive,
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

function explain(underlay: UnderlayAddress, error: unknown): DatapathError {
  const code = systemCode(error);
  if (code === "EADDRINUSE") return portInUse(underlay, error);
  if (code === "EADDRNOTAVAIL") {
    const why = `underlay address ${underlay.address} is not on this host`;
    const todo = "give it to an interface, or advertise another one";
    return new DatapathError("MESHD_ADDRESS_GONE", `${why}: ${todo}`, error);
  }
  const what = `UDP socket on ${underlay.address} port ${underlay.port}`;
  const why = `${what} cannot be opened: ${describe(error)}`;
  return new DatapathError("MESHD_SOCKET_FAILED", why, error);
}

function portInUse(underlay: UnderlayAddress, cause?: unknown): DatapathError {
  const why = `UDP port ${underlay.port} on ${underlay.address} is in use`;
  const todo = "stop the program that has it, or set another tunnelPort";
  return new DatapathError("MESHD_PORT_IN_USE", `${why}: ${todo}`, cause);
}
