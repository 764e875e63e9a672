// One worker per CPU: packets stay on the CPU they are on, so that a worker is woken there and not
// on another, halted one. Says who works where, and what became of it.
import { allowedCpus, steerTun, steerUdp } from "node-tun";
import { MAX_WORKERS } from "../../assembly/shared/layout.js";
import { DatapathError, describe } from "./errors.js";

/** "auto": where kernel and rights allow it. "on": as auto, and a refusal is a failed start. */
export type Steering = "auto" | "on" | "off";

/** Workers to open, and for each the CPU it is pinned to; no CPUs = not steered. */
export interface CrewPlan {
  workers: number;
  cpus: readonly number[];
}

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

/** A plan that steers: one worker for every CPU this process may run on. */
export function steeredPlan(): CrewPlan {
  const cpus = allowedCpus().slice(0, MAX_WORKERS);
  if (cpus.length < 2) throw new SteeringRefused("this process may run on one CPU only");
  return { workers: cpus.length, cpus };
}

/** Steers an opened device. @throws {SteeringRefused} */
export function steerDevice(queues: readonly { fd: number }[], cpus: readonly number[]): void {
  const fd = queues[0]?.fd;
  if (fd !== undefined && cpus.length > 0) attempt(() => steerTun(fd, cpus));
}

/** Steers the listening sockets of all workers, the first of each. @throws {SteeringRefused} */
export function steerSockets(sockets: readonly { fd: number }[][], cpus: readonly number[]): void {
  const fd = sockets[0]?.[0]?.fd;
  if (fd !== undefined && cpus.length > 0) attempt(() => steerUdp(fd, cpus));
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
      const plan = steeredPlan();
      const opened = await open(plan);
      return { opened, status: { active: true, cpus: plan.cpus, reason } };
    } catch (error) {
      if (!(error instanceof SteeringRefused)) throw error;
      if (steering === "on") throw refused(error);
      reason = error.message;
    }
  }
  const opened = await open({ workers, cpus: [] });
  return { opened, status: { active: false, cpus: [], reason } };
}

function refused(error: SteeringRefused): DatapathError {
  const why = `packets cannot be steered to CPUs: ${error.message}`;
  const todo = "run as root or with CAP_BPF on two CPUs or more, or do without";
  return new DatapathError("MESHD_NO_STEERING", `${why}: ${todo}`, error.cause ?? error);
}
