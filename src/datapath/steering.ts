// Workers pinned one per CPU for that CPU's packets, so that a worker is woken where the packet is
// and not on another, halted CPU; busy flows go to workers beside them that are not pinned.
import {
  allowedCpus,
  closeDescriptor,
  openFlows,
  openStamps,
  steerTun,
  steerUdp,
  unsteerTun,
} from "node-tun";
import { MAX_WORKERS } from "../../assembly/shared/layout.js";
import { DatapathError, describe, systemCode } from "./errors.js";
import { ENCAPSULATIONS } from "./templates.js";
import type { ProtocolName } from "./types.js";

/**
 * "auto": on machines of few CPUs, where kernel and rights allow it. "on": on all machines, and a
 * refusal is a failed start.
 */
export type Steering = "auto" | "on" | "off";

/**
 * Workers to open: one pinned to each of `cpus`, then `busy` others. No CPUs: flows are spread over
 * the busy ones and stay there; no busy ones either: as the kernel does it.
 */
export interface CrewPlan {
  workers: number;
  cpus: readonly number[];
  busy: number;
}

/** Each pinned worker takes memory: up to here a node stays below its limit of 120 MB. */
const AUTO_CPUS_MAX = 4;

/** What `status` says: whether packets are steered, to which CPUs, or why not. */
export interface SteeringStatus {
  active: boolean;
  cpus: readonly number[];
  /** Why not, when it was asked for. */
  reason: string;
}

/** The kernel or our rights do not allow it; the cause is the system's own error. */
export class SteeringRefused extends Error {
  override readonly name = "SteeringRefused";
}

/**
 * One worker for every CPU this process may run on, and `busy` for busy flows.
 * @throws {SteeringRefused} with one CPU; with many, where nobody asked for so many workers.
 */
export function steeredPlan(
  steering: Steering,
  busy: number,
  allowed: readonly number[] = allowedCpus(),
): CrewPlan {
  const cpus = allowed.slice(0, MAX_WORKERS - busy);
  if (cpus.length < 2) throw new SteeringRefused("this process may run on one CPU only");
  if (steering === "auto" && cpus.length > AUTO_CPUS_MAX) {
    const why = `${cpus.length} CPUs would take as many workers of some 10 MB`;
    throw new SteeringRefused(`${why}; set steering to "on" for that`);
  }
  return { workers: cpus.length + busy, cpus, busy };
}

/** Maps in which workers say up to when their queue and socket are empty; -1 = not steered. */
export interface Stamps {
  tun: number;
  wire: number;
}

/** The kernel's side of one plan: programs on device and sockets, and the maps they read. */
export class Steerer {
  readonly stamps: Stamps = { tun: -1, wire: -1 };
  #flows = -1;
  readonly #plan: CrewPlan;

  constructor(plan: CrewPlan) {
    this.#plan = plan;
  }

  /**
   * Steers an opened device, again when it was made anew. A persistent one keeps the program of the
   * process before: without a plan it is taken away.
   * @throws {SteeringRefused}
   */
  steerDevice(queues: readonly { fd: number }[]): void {
    const { cpus, busy } = this.#plan;
    const fd = queues[0]?.fd;
    if (fd === undefined) return;
    if (busy === 0) unsteer(fd);
    else attempt(() => steerTun(fd, { cpus, busy, ...this.#maps("tun") }));
  }

  /**
   * Steers the listening sockets of a port, one of each worker, by the inner packet behind that
   * encapsulation's header. @throws {SteeringRefused}
   */
  steerSockets(sockets: readonly { fd: number }[], protocol: ProtocolName): void {
    const { cpus, busy } = this.#plan;
    const fd = sockets[0]?.fd;
    if (fd === undefined || busy === 0) return;
    const inner = { packetAt: ENCAPSULATIONS[protocol].overhead, geneve: protocol === "geneve" };
    attempt(() => steerUdp(fd, { cpus, busy, ...inner, ...this.#maps("wire") }));
  }

  /** One stamp map for all programs of a side, so that workers keep the memory they have. */
  #maps(side: "tun" | "wire"): { stamps: number; flows: number } {
    if (this.stamps[side] < 0) this.stamps[side] = openStamps();
    if (this.#flows < 0) this.#flows = openFlows();
    return { stamps: this.stamps[side], flows: this.#flows };
  }

  close(): void {
    const { tun, wire } = this.stamps;
    for (const fd of [tun, wire, this.#flows]) if (fd >= 0) closeDescriptor(fd);
  }
}

/** Kernels before 4.16 know no such program, so there is none to take away. */
function unsteer(fd: number): void {
  try {
    unsteerTun(fd);
  } catch (error) {
    if (!["EINVAL", "ENOTTY"].includes(systemCode(error))) throw error;
  }
}

function attempt(action: () => void): void {
  try {
    action();
  } catch (cause) {
    throw new SteeringRefused(describe(cause), { cause });
  }
}

/**
 * Opens by the steered plan, or by the plain one where steering is refused.
 * @throws {DatapathError} MESHD_NO_STEERING when it is refused and `steering` is "on".
 */
export async function openSteered<T>(
  steering: Steering,
  workers: number,
  open: (plan: CrewPlan) => Promise<T>,
): Promise<{ opened: T; status: SteeringStatus }> {
  let reason = "";
  if (steering !== "off") {
    try {
      const plan = steeredPlan(steering, workers);
      const opened = await open(plan);
      return { opened, status: { active: true, cpus: plan.cpus, reason } };
    } catch (error) {
      if (!(error instanceof SteeringRefused)) throw error;
      if (steering === "on") throw refused(error);
      reason = error.message;
    }
  }
  const opened = await openSpread(workers, open);
  return { opened, status: { active: false, cpus: [], reason } };
}

/**
 * Several workers without steering: the kernel moves a flow to another queue when its other
 * direction is first seen, and loses its order. A program keeps it where it is.
 */
async function openSpread<T>(workers: number, open: (plan: CrewPlan) => Promise<T>): Promise<T> {
  const plain = { workers, cpus: [], busy: 0 };
  if (workers === 1) return open(plain);
  try {
    return await open({ ...plain, busy: workers });
  } catch (error) {
    if (!(error instanceof SteeringRefused)) throw error;
    return open(plain);
  }
}

function refused(error: SteeringRefused): DatapathError {
  const why = `packets cannot be steered to CPUs: ${error.message}`;
  const todo = "run as root or with CAP_BPF on two CPUs or more, or do without";
  return new DatapathError("MESHD_NO_STEERING", `${why}: ${todo}`, error.cause ?? error);
}
