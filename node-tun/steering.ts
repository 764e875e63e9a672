// Which queue of a device and which socket of a group a packet goes to: programs in the kernel.
import { binding } from "./binding.js";
import type { SteeringOrder } from "./types.js";

/**
 * A packet that CPU `cpus[i]` sends into the device of this queue comes out of queue i (queues
 * count in the order they were opened); other CPUs: their number modulo the queues. All queues must
 * be open, and hold until unsteerTun or another call.
 * @throws SystemCallError EPERM (needs CAP_BPF or root), EINVAL or ENOSYS (a kernel without)
 */
export function steerTun(fd: number, order: SteeringOrder): void {
  const { cpus, busy, stamps, flows, packetAt = 0, geneve = false } = order;
  binding.steerTun(fd, checkCpus(cpus), busy, stamps, flows, packetAt, geneve);
}

/** What steering programs remember of flows; one for a device and the sockets of its tunnel. */
export const openFlows: () => number = binding.openFlows;

/** A map that steering programs read and workers write; a device and a group need one each. */
export const openStamps: () => number = binding.openStamps;

/**
 * The map as memory: element 2 * i is queue i's stamp. Its worker stores `Math.floor(t / 1.024)`
 * modulo 2^32, where t is the CLOCK_MONOTONIC microsecond since which the queue was empty and all
 * that came out of it is sent.
 */
export function mapStamps(fd: number): Uint32Array {
  return new Uint32Array(binding.mapStamps(fd));
}

/** The kernel chooses queues by flow again. */
export const unsteerTun: (fd: number) => void = binding.unsteerTun;

/**
 * A datagram that arrives on CPU `cpus[i]` goes to socket i of this socket's SO_REUSEPORT group
 * (sockets count in the order they were bound); other CPUs: their number modulo the sockets.
 * @throws SystemCallError EINVAL (no SO_REUSEPORT), ENOPROTOOPT (a kernel without)
 */
export function steerUdp(fd: number, order: SteeringOrder): void {
  const { cpus, busy, stamps, flows, packetAt = 0, geneve = false } = order;
  binding.steerUdp(fd, checkCpus(cpus), busy, stamps, flows, packetAt, geneve);
}

/**
 * All datagrams of this socket's SO_REUSEPORT group go to its socket of that number, counted as by
 * `steerUdp`, whose program this replaces. @throws SystemCallError EINVAL (no SO_REUSEPORT)
 */
export const gatherUdp: (fd: number, index: number) => void = binding.gatherUdp;

/** The kernel chooses sockets of the group by flow again; no program stays. */
export const spreadUdp: (fd: number) => void = binding.spreadUdp;

function checkCpus(cpus: readonly number[]): Uint32Array {
  const isCpu = (cpu: number) => Number.isInteger(cpu) && cpu >= 0 && cpu < 1 << 20;
  if (!Array.isArray(cpus) || !cpus.every(isCpu)) throw new TypeError("cpus must be CPU numbers");
  return Uint32Array.from(cpus);
}
