// Every open handle of one datapath: TUN queues, sockets, pollers, wake-ups. The control thread
// opens and closes them; worker threads come and go on the same numbers.
import {
  adoptTun,
  closeDescriptor,
  openPoller,
  openWake,
  pollerAdd,
  pollerRemove,
  type TunQueue,
} from "node-tun";
import { DatapathError, describe } from "./errors.js";
import { HandleTable, TOKEN_DEVICE, TOKEN_WAKE, TOKEN_WIRE } from "./handles.js";
import {
  assertPortFree,
  closeSockets,
  type OtherPort,
  openOther,
  openSockets,
  type UnderlayAddress,
  type WorkerSockets,
} from "./sockets.js";
import { type CrewPlan, type Stamps, Steerer, SteeringRefused } from "./steering.js";
import { ENCAPSULATIONS } from "./templates.js";
import { closeTunQueues, type OpenedTun, openTunQueues, type TunSettings } from "./tun.js";

/** Handles of one worker that live as long as the datapath. */
export interface WorkerPorts {
  poller: number;
  wakeFd: number;
  table: HandleTable;
}

export interface HandleSettings {
  tun: TunSettings;
  underlay: UnderlayAddress;
  socketBuffer: number;
  plan: CrewPlan;
}

/** What the kernel granted. A false is a slow path, worth a line in status. */
export interface GrantedOffloads {
  device: TunQueue["offloads"];
  socket: {
    segmentation: boolean;
    receiveOffload: boolean;
    sendBuffer: number;
    receiveBuffer: number;
  };
}

/** Sockets that were replaced; closed when no worker uses them any more. */
export interface Replaced {
  sockets: WorkerSockets[];
  others: OtherPort[];
}

/** Whether the tunnel's own port is the same, so that its sockets can stay. */
function isSameOwn(a: UnderlayAddress, b: UnderlayAddress): boolean {
  const isSameAddress = a.family === b.family && a.address === b.address;
  return isSameAddress && a.port === b.port && kindOf(a) === kindOf(b);
}

function kindOf({ protocol }: { protocol?: UnderlayAddress["protocol"] }): number {
  const { socket } = ENCAPSULATIONS[protocol ?? "vxlan"];
  if (socket === null) throw new RangeError(`${protocol} has no port`);
  return socket;
}

/**
 * Opens a poller and a wake-up for every worker, or nothing.
 * @throws {DatapathError} MESHD_POLLER_FAILED
 */
export function openPorts(
  queues: readonly Pick<TunQueue, "fd">[],
  sockets: readonly Pick<TunQueue, "fd">[][],
): WorkerPorts[] {
  const opened: number[] = [];
  const keep = (fd: number) => {
    opened.push(fd);
    return fd;
  };
  try {
    return queues.map((queue, index) => {
      const ports = {
        poller: keep(openPoller()),
        wakeFd: keep(openWake()),
        table: new HandleTable(),
      };
      pollerAdd(ports.poller, ports.wakeFd, TOKEN_WAKE);
      pollerAdd(ports.poller, queue.fd, TOKEN_DEVICE);
      pollerAdd(ports.poller, sockets[index]?.[0]?.fd ?? -1, TOKEN_WIRE);
      return ports;
    });
  } catch (error) {
    for (const fd of opened) closeDescriptor(fd);
    const why = `a worker's poller cannot be opened: ${describe(error)}`;
    throw new DatapathError("MESHD_POLLER_FAILED", why, error);
  }
}

/** Which of several raw sockets takes a packet is the raw sockets' own business (node-tun). */
function refuseUnsteerable({ protocol = "vxlan" }: UnderlayAddress, { cpus }: CrewPlan): void {
  if (cpus.length === 0 || ENCAPSULATIONS[protocol].socket !== null) return;
  throw new SteeringRefused(`${protocol} comes by raw sockets, which no program shares out`);
}

const packetAt = ({ protocol = "vxlan" }: UnderlayAddress) => ENCAPSULATIONS[protocol].overhead;

/** Opens everything or nothing. */
export class HandleSet {
  readonly workers: readonly WorkerPorts[];
  readonly adopted: boolean;
  #queues: TunQueue[];
  #sockets: WorkerSockets[];
  #others: OtherPort[] = [];
  #underlay: UnderlayAddress;
  readonly #settings: HandleSettings;
  readonly #steerer: Steerer;

  private constructor(
    settings: HandleSettings,
    tun: OpenedTun,
    sockets: WorkerSockets[],
    steerer: Steerer,
  ) {
    this.#settings = settings;
    this.#steerer = steerer;
    this.#queues = tun.queues;
    this.adopted = tun.adopted;
    this.#sockets = sockets;
    this.#underlay = { ...settings.underlay, others: [] };
    this.workers = openPorts(tun.queues, sockets);
    for (const index of this.workers.keys()) this.#tell(index);
  }

  /**
   * Asks for the port first: a device made in vain would take its name away from somebody.
   * @throws {SteeringRefused} when CPUs are given and the kernel does not steer to them.
   */
  static async open(settings: HandleSettings): Promise<HandleSet> {
    assertPortFree(settings.underlay);
    const { underlay, socketBuffer, plan } = settings;
    refuseUnsteerable(underlay, plan);
    const steerer = new Steerer(plan);
    const sockets = openSockets(underlay, settings.tun.queues, socketBuffer);
    let tun: OpenedTun | undefined;
    try {
      steerer.steerSockets(sockets, packetAt(underlay));
      tun = await openTunQueues(settings.tun);
      steerer.steerDevice(tun.queues);
      return new HandleSet(settings, tun, sockets, steerer);
    } catch (error) {
      if (tun !== undefined) closeTunQueues(tun.queues, !tun.adopted);
      closeSockets(sockets);
      steerer.close();
      throw error;
    }
  }

  stamps(): Stamps {
    return this.#steerer.stamps;
  }

  /** What the kernel granted to the first queue and the first sockets; the others are equal. */
  granted(): GrantedOffloads {
    const device = this.#queues[0]?.offloads;
    const [listening, sending] = this.#sockets[0] ?? [];
    if (device === undefined || listening === undefined || sending === undefined) {
      throw new RangeError("a datapath without workers");
    }
    const segmentation = listening.segmentation && sending.segmentation;
    const { receiveOffload, sendBuffer, receiveBuffer } = listening;
    return { device, socket: { segmentation, receiveOffload, sendBuffer, receiveBuffer } };
  }

  /**
   * Opens sockets for another address, port or encapsulation and tells the workers; gives those
   * back that are not needed any more. What is open already and wanted again stays open.
   */
  replaceSockets(underlay: UnderlayAddress): Replaced {
    const isSame = isSameOwn(underlay, this.#underlay);
    const { kept, opened } = this.#openOthers(underlay);
    const old = { sockets: isSame ? [] : this.#sockets, others: this.#others };
    try {
      if (!isSame) this.#sockets = this.#openOwn(underlay);
    } catch (error) {
      closeSockets(opened.map(({ sockets }) => sockets));
      throw error;
    }
    this.#others = [...kept, ...opened];
    this.#underlay = underlay;
    this.workers.forEach(({ poller }, index) => {
      if (!isSame) pollerAdd(poller, this.#listeningFd(index), TOKEN_WIRE);
      for (const { sockets } of opened) pollerAdd(poller, sockets[index]?.fd ?? -1, TOKEN_WIRE);
      this.#tell(index);
    });
    return { ...old, others: old.others.filter((other) => !kept.includes(other)) };
  }

  /** Sockets on the tunnel's own port, steered; nothing stays open when that fails. */
  #openOwn(underlay: UnderlayAddress): WorkerSockets[] {
    assertPortFree(underlay);
    const sockets = openSockets(underlay, this.workers.length, this.#settings.socketBuffer);
    try {
      this.#steerer.steerSockets(sockets, packetAt(underlay));
      return sockets;
    } catch (error) {
      closeSockets(sockets);
      throw error;
    }
  }

  /** Sockets on the other ports: those that stay, and those opened now. */
  #openOthers(underlay: UnderlayAddress): { kept: OtherPort[]; opened: OtherPort[] } {
    const { address } = this.#underlay;
    const wanted = underlay.others ?? [];
    const kept = this.#others.filter(
      ({ protocol, port }) =>
        underlay.address === address &&
        wanted.some((one) => one.protocol === protocol && one.port === port),
    );
    const opened: OtherPort[] = [];
    try {
      for (const one of wanted) {
        const isKept = kept.some((k) => k.protocol === one.protocol && k.port === one.port);
        const { socketBuffer } = this.#settings;
        if (!isKept) opened.push(openOther(underlay, one, this.workers.length, socketBuffer));
      }
      return { kept, opened };
    } catch (error) {
      closeSockets(opened.map(({ sockets }) => sockets));
      throw error;
    }
  }

  /** Closes what no worker uses any more. */
  closeReplaced({ sockets, others }: Replaced): void {
    this.workers.forEach(({ poller }, index) => {
      const listening = [sockets[index]?.[0], ...others.map((other) => other.sockets[index])];
      for (const socket of listening) if (socket !== undefined) pollerRemove(poller, socket.fd);
    });
    closeSockets([...sockets, ...others.map((other) => other.sockets)]);
  }

  /** True when somebody took the device away: its queues are dead then. */
  isDeviceGone(): boolean {
    try {
      for (const queue of this.#queues) adoptTun(queue.fd);
      return false;
    } catch {
      return true;
    }
  }

  /** The device was taken away by somebody: makes it anew for all workers. */
  async reopenDevice(): Promise<void> {
    const old = this.#queues;
    const { queues } = await openTunQueues(this.#settings.tun);
    this.#queues = queues;
    this.#steerer.steerDevice(queues);
    this.workers.forEach((ports, index) => {
      pollerRemove(ports.poller, old[index]?.fd ?? -1);
      pollerAdd(ports.poller, this.#queueFd(index), TOKEN_DEVICE);
      this.#tell(index);
    });
    closeTunQueues(old, false);
  }

  /** Closes everything; `removeDevice` takes a persistent device away with it. */
  close(removeDevice: boolean): void {
    closeTunQueues(this.#queues, removeDevice);
    closeSockets([...this.#sockets, ...this.#others.map(({ sockets }) => sockets)]);
    this.#steerer.close();
    for (const ports of this.workers) {
      closeDescriptor(ports.poller);
      closeDescriptor(ports.wakeFd);
    }
  }

  #tell(index: number): void {
    const sockets = (this.#sockets[index] ?? []).map((socket) => socket.fd);
    const own = { fd: this.#listeningFd(index), kind: kindOf(this.#underlay) };
    const others = this.#others.map((other) => {
      return { fd: other.sockets[index]?.fd ?? -1, kind: kindOf(other) };
    });
    const listening = [own, ...others];
    this.workers[index]?.table.publish({ tun: this.#queueFd(index), sockets, listening });
  }

  #queueFd(index: number): number {
    return this.#queues[index]?.fd ?? -1;
  }

  #listeningFd(index: number): number {
    return this.#sockets[index]?.[0]?.fd ?? -1;
  }
}
