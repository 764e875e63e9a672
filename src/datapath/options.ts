// What a datapath may be asked for, and what it tells.
import { MAX_WORKERS } from "../../assembly/shared/layout.js";
import { DatapathError } from "./errors.js";
import type { UnderlayAddress } from "./sockets.js";
import type { Steering } from "./steering.js";

export interface DatapathOptions {
  /** TUN device, at most 15 bytes; made when missing, taken up again when it is ours. */
  deviceName: string;
  /** Worker threads, TUN queues and listening sockets: 1 to MAX_WORKERS. */
  workers: number;
  /** One worker per CPU, with the packets of that CPU; `workers` counts where it is refused. */
  steering?: Steering;
  /** Other ports are opened by `rebind`: a start is not refused for the sake of one. */
  underlay: UnderlayAddress;
  /** Device and its routes outlive the process (default true). */
  persist?: boolean;
  /** Most peers and prefixes the tables can hold; memory for both is taken at start. */
  peerCapacity?: number;
  prefixCapacity?: number;
  /** Bytes of each socket's buffers (default 16 MiB). */
  socketBuffer?: number;
  log?: (event: string, fields: Record<string, unknown>) => void;
}

/** Events of a datapath, by name. */
export interface DatapathEvents {
  /** A worker died and a new thread runs in its place. */
  "worker-restarted": [{ worker: number; reason: string; restarts: number }];
  /** The TUN device was gone and was made anew: addresses and routes have to be set again. */
  "device-recreated": [{ device: string }];
  /** Tables that had to wait for a worker could not be written. */
  "publish-failed": [{ error: unknown }];
  /** A worker was woken by something, after `listen`. */
  round: [];
}

/** Bad values of our own callers; what an operator types is checked by the settings. */
export function checkOptions(options: { deviceName: string; workers: number }): void {
  const { deviceName, workers } = options;
  if (!/^[^\s/:]{1,15}$/.test(deviceName)) {
    const why = `device name "${deviceName}" is not 1 to 15 bytes without "/", ":" and blanks`;
    throw new DatapathError("MESHD_BAD_OPTION", `${why}: choose another`);
  }
  if (!Number.isInteger(workers) || workers < 1 || workers > MAX_WORKERS) {
    const why = `workers is ${workers}, allowed are 1 to ${MAX_WORKERS}`;
    throw new DatapathError("MESHD_BAD_OPTION", `${why}: set another number`);
  }
}
