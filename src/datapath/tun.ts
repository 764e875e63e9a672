// Opens the TUN queues on the control thread: finds out who has the name first, so that a device of
// somebody else is refused with a reason and a persistent one of ours is taken up again.
import { execFile } from "node:child_process";
import { attachTun, closeDescriptor, openTun, setTunPersist, type TunQueue } from "node-tun";
import { DatapathError, describe, systemCode } from "./errors.js";

const INSPECT_TIMEOUT_MS = 5000;

/** The opened device: one queue a worker, in order. */
export interface OpenedTun {
  queues: TunQueue[];
  /** True when a persistent device of ours was there: its addresses and routes may be too. */
  adopted: boolean;
}

export interface TunSettings {
  name: string;
  queues: number;
  persist: boolean;
}

/** What `ip -details -json link` says of a device, as far as we ask. */
interface LinkFacts {
  linkinfo?: {
    info_kind?: string;
    info_data?: {
      type?: string;
      vnet_hdr?: boolean;
      multi_queue?: boolean;
      numqueues?: number;
      persist?: boolean;
    };
  };
  flags?: string[];
}

/**
 * Opens `queues` queues of the device, which is made when missing: down and without addresses.
 * @throws {DatapathError} MESHD_NO_TUN, _NOT_PERMITTED, _DEVICE_BUSY or _DEVICE_FAILED.
 */
export async function openTunQueues(settings: TunSettings): Promise<OpenedTun> {
  const facts = await inspect(settings.name);
  const refusal = facts === undefined ? undefined : refusalOf(facts);
  if (refusal !== undefined) throw busy(settings.name, refusal);
  const wasMultiQueue = facts?.linkinfo?.info_data?.multi_queue;
  const adopted = wasMultiQueue === true || (wasMultiQueue === false && settings.queues === 1);
  if (facts !== undefined && !adopted) removeDevice(settings.name);
  const multiQueue = settings.queues > 1 || wasMultiQueue === true;
  return { queues: openAll(settings, multiQueue, adopted), adopted };
}

/** Takes the device away, if it is persistent and nobody has it open. */
export function removeDevice(name: string): void {
  closeTunQueues([open(name, false, false)], true);
}

/** Closes the queues; `remove` takes the device away with them, if nobody has done so before. */
export function closeTunQueues(queues: readonly TunQueue[], remove: boolean): void {
  const first = queues[0];
  try {
    if (remove && first !== undefined) setTunPersist(first.fd, false);
  } catch (error) {
    if (systemCode(error) !== "EBADFD") throw error;
  } finally {
    for (const queue of queues) closeDescriptor(queue.fd);
  }
}

/**
 * Leaves the last queue alone in its device, so that all packets come by it, or takes all queues
 * back in, in their order. Packets that wait in a queue that is taken out are lost.
 */
export function arrangeQueues(queues: readonly TunQueue[], isLastAlone: boolean): void {
  const others = queues.slice(0, -1);
  const last = queues.at(-1);
  if (last === undefined || others.length === 0) return;
  for (const { fd } of isLastAlone ? others : [last]) attachTun(fd, false);
  // The order decides which worker's queue a program means by a number.
  for (const { fd } of isLastAlone ? [] : queues) attachTun(fd, true);
}

function openAll(settings: TunSettings, multiQueue: boolean, adopted: boolean): TunQueue[] {
  const queues: TunQueue[] = [];
  try {
    for (let index = 0; index < settings.queues; index += 1) {
      queues.push(open(settings.name, multiQueue, !adopted && index === 0));
    }
    const first = queues[0];
    if (first !== undefined) setTunPersist(first.fd, settings.persist);
    return queues;
  } catch (error) {
    closeTunQueues(queues, false);
    throw error;
  }
}

function open(name: string, multiQueue: boolean, exclusive: boolean): TunQueue {
  try {
    return openTun({ name, kind: "tun", multiQueue, vnetHeader: true, offloads: true, exclusive });
  } catch (error) {
    throw explain(name, error);
  }
}

function explain(name: string, error: unknown): DatapathError {
  const code = systemCode(error);
  if (code === "EBUSY" || code === "EINVAL") return busy(name, "is in use", error);
  if (code === "ENOENT" || code === "ENODEV" || code === "ENXIO") {
    const todo = `run "modprobe tun", or give the container --device /dev/net/tun`;
    return new DatapathError("MESHD_NO_TUN", `/dev/net/tun is missing: ${todo}`, error);
  }
  if (code === "EPERM" || code === "EACCES") {
    const why = `device ${name} may not be opened: run as root or with CAP_NET_ADMIN`;
    return new DatapathError("MESHD_NOT_PERMITTED", why, error);
  }
  const why = `device ${name} cannot be opened: ${describe(error)}`;
  return new DatapathError("MESHD_DEVICE_FAILED", why, error);
}

function busy(name: string, reason: string, cause?: unknown): DatapathError {
  const todo = "choose another device name, or remove that device";
  return new DatapathError("MESHD_DEVICE_BUSY", `device ${name} ${reason}: ${todo}`, cause);
}

/** Why a device of this name is not ours to take; undefined when it is. */
function refusalOf(facts: LinkFacts): string | undefined {
  const kind = facts.linkinfo?.info_kind ?? "interface";
  if (kind !== "tun") return `exists and is no TUN device (${kind})`;
  const data = facts.linkinfo?.info_data ?? {};
  if (data.type !== "tun" || data.vnet_hdr !== true) return "exists and was not made by meshd";
  const attached = (data.numqueues ?? 0) > 0 || facts.flags?.includes("LOWER_UP") === true;
  if (attached || data.persist !== true) return "is in use by another process";
  return undefined;
}

/**
 * Facts of a device in this network namespace; undefined when there is none, or when `ip` is
 * missing: then the kernel's own refusal (EBUSY) has to do.
 */
function inspect(name: string): Promise<LinkFacts | undefined> {
  const argv = ["-details", "-json", "link", "show", "dev", name];
  return new Promise((resolve) => {
    execFile("ip", argv, { timeout: INSPECT_TIMEOUT_MS }, (error, stdout) => {
      resolve(error === null ? parseFacts(stdout) : undefined);
    });
  });
}

function parseFacts(text: string): LinkFacts | undefined {
  try {
    const list = JSON.parse(text) as LinkFacts[];
    return list[0];
  } catch {
    return undefined;
  }
}
