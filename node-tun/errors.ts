// The one error class of the addon: a system call that failed, with all an operator needs to know.
import { getSystemErrorName } from "node:util";

const HINTS: Readonly<Record<string, string>> = {
  "EBUSY ioctl TUNSETIFF": "the device is in use by another process, or is of another kind",
  "EINVAL ioctl TUNSETIFF": "a device of that name exists with other flags (multi-queue, kind)",
  "EPERM ioctl TUNSETIFF": "it needs CAP_NET_ADMIN",
  "ENOENT open": "load the kernel module tun, or give the container /dev/net/tun",
  "EPERM socket": "raw sockets need CAP_NET_RAW",
  "EADDRNOTAVAIL bind": "no interface has this address",
  "EADDRINUSE bind": "another socket has this port",
};

/** A system call failed. `errno` is positive, as in a descriptor's STATUS. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
  readonly code: string;

  /**
   * @param errno positive number of the error
   * @param code its name, for example "EBUSY"; empty where the C library has no names
   * @param syscall the call and, for a many-purpose one, its request: "ioctl TUNSETIFF"
   * @param object what it was done to: a device, an address, a descriptor
   * @param reason the system's sentence for the error
   */
  constructor(
    readonly errno: number,
    code: string,
    readonly syscall: string,
    readonly object: string,
    reason: string,
  ) {
    const known = code === "" ? getSystemErrorName(-errno) : code;
    const hint = HINTS[`${known} ${syscall}`];
    super(`${syscall} ${object}: ${known} (${reason})${hint === undefined ? "" : `: ${hint}`}`);
    this.code = known;
  }
}
