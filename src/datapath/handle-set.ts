// Every open handle of one datapath: TUN queues, sockets, pollers, wake-ups. The control thread
// opens and closes them; worker threads come and go on the same numbers.
import {
  adoptTun,
  closeDescriptor,
  openPoller,
  openWake,
  pollerAdd,
  pollerRemove,
  receiveDrops,
  type TunQueue,
} from "node-tun";
import { DatapathError, describe } from "./errors.js";
import { HandleTable, TOKEN_DEVICE, TOKEN_WAKE, TOKEN_WIRE } from "./handles.js";
import {
  allOf,
  inOrder,
  listeningOf,
  NO_SOCKETS,
  openMissing,
  type Sockets,
  sendingOf,
  stillWanted,
  udpOf,
  without,
} from "./socket-set.js";
import {
  applyChecksums,
  closeSockets,
  type RawReader,
  rawReadersOf,
  type UnderlayAddress,
} from "./sockets.js";
import { type CrewPlan, type Stamps, Steerer, SteeringRefused } from "./steering.js";
import { ENCAPSULATIONS } from "./templates.js";
import {
  arrangeQueues,
  closeTunQueues,
  type OpenedTun,
  openTunQueues,
  type TunSettings,
} from "./tun.js";

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
    /** Also false without checksums: the kernel refuses it then. */
    segmentation: boolean;
    receiveOffload: boolean;
    /** Outer UDP checksums are sent. */
    checksums: boolean;
    sendBuffer: number;
    receiveBuffer: number;
  };
}

/**
 * Opens a poller and a wake-up for every worker, or nothing.
 * @throws {DatapathError} MESHD_POLLER_FAILED
 */
export function openPorts(
  queues: readonly Pick<TunQueue, "fd">[],
  listening: readonly Pick<TunQueue, "fd">[][],
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
      for (const { fd } of listening[index] ?? []) pollerAdd(ports.poller, fd, TOKEN_WIRE);
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
  const why = "which no program shares out; decided anew when the agent starts again";
  throw new SteeringRefused(`the agent started with ${protocol}: raw sockets, ${why}`);
}

const dropsOf = (sockets: readonly { fd: number }[]) =>
  sockets.reduce((sum, { fd }) => sum + receiveDrops(fd), 0);

/** Opens everything or nothing. */
export class HandleSet {
  readonly workers: readonly WorkerPorts[];
  readonly adopted: boolean;
  #queues: TunQueue[];
  #sockets: Sockets;
  #underlay: UnderlayAddress;
  /** What sockets that are closed had lost. */
  #lost = 0;
  readonly #settings: HandleSettings;
  readonly #steerer: Steerer;

  private constructor(
    settings: HandleSettings,
    tun: OpenedTun,
    sockets: Sockets,
    steerer: Steerer,
  ) {
    this.#settings = settings;
    this.#steerer = steerer;
    this.#queues = tun.queues;
    this.adopted = tun.adopted;
    this.#sockets = sockets;
    this.#underlay = { ...settings.underlay, others: [] };
    if (this.#isOrdered()) arrangeQueues(tun.queues, true);
    const listening = tun.queues.map((_, index) => listeningOf(sockets, index));
    this.workers = openPorts(tun.queues, listening);
    for (const index of this.workers.keys()) this.#tell(index);
  }

  /**
   * Asks for the port first: a device made in vain would take its name away from somebody.
   * @throws {SteeringRefused} when CPUs are given and the kernel does not steer to them.
   */
  static async open(settings: HandleSettings): Promise<HandleSet> {
    const { plan } = settings;
    const underlay = { ...settings.underlay, others: [] };
    refuseUnsteerable(underlay, plan);
    const steerer = new Steerer(plan);
    const before = { ...NO_SOCKETS, ordered: false };
    let sockets: Sockets = NO_SOCKETS;
    let tun: OpenedTun | undefined;
    try {
      sockets = openMissing(underlay, before, NO_SOCKETS, settings, steerer);
      tun = await openTunQueues(settings.tun);
      steerer.steerDevice(tun.queues);
      return new HandleSet(settings, tun, sockets, steerer);
    } catch (error) {
      if (tun !== undefined) closeTunQueues(tun.queues, !tun.adopted);
      closeSockets(allOf(sockets));
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
    const sending = this.#sockets.sending[0]?.[0];
    if (device === undefined || sending === undefined) {
      throw new RangeError("a datapath without workers");
    }
    const listening = this.#sockets.ports[0]?.sockets[0] ?? sending;
    const checksums = this.#underlay.checksums?.send ?? true;
    const segmentation = checksums && listening.segmentation && sending.segmentation;
    const { receiveOffload, sendBuffer, receiveBuffer } = listening;
    const buffers = { sendBuffer, receiveBuffer };
    return { device, socket: { segmentation, receiveOffload, checksums, ...buffers } };
  }

  /**
   * Opens sockets for another address, other ports or encapsulations and tells the workers; gives
   * those back that are not needed any more. What is open already and wanted again stays open.
   */
  replaceSockets(underlay: UnderlayAddress): Sockets {
    const old = this.#sockets;
    const kept = stillWanted(old, this.#underlay, underlay);
    applyChecksums(underlay, udpOf(kept));
    const before = { ...old, ordered: this.#isOrdered() };
    const opened = openMissing(underlay, before, kept, this.#settings, this.#steerer);
    this.#sockets = {
      sending: [...kept.sending, ...opened.sending],
      ports: inOrder(underlay, [...kept.ports, ...opened.ports]),
      raw: [...kept.raw, ...opened.raw],
      pieces: [...kept.pieces, ...opened.pieces],
      rawPieces: [...kept.rawPieces, ...opened.rawPieces],
    };
    const wasOrdered = this.#isOrdered();
    this.#underlay = underlay;
    if (wasOrdered !== this.#isOrdered()) arrangeQueues(this.#queues, !wasOrdered);
    this.workers.forEach(({ poller }, index) => {
      for (const { fd } of listeningOf(opened, index)) pollerAdd(poller, fd, TOKEN_WIRE);
      this.#tell(index);
    });
    return without(old, kept);
  }

  /**
   * Packets that the kernel dropped at sockets that are read, since the datapath was opened: mostly
   * because a receive buffer was full.
   */
  receiveDrops(): number {
    const open = this.workers.flatMap((_, index) => listeningOf(this.#sockets, index));
    return this.#lost + dropsOf(open);
  }

  /** Raw sockets that are read, of all workers. */
  rawReaders(): RawReader[] {
    return rawReadersOf(this.#sockets.raw);
  }

  /** The one worker that has all packets while they are numbered, else undefined. */
  orderedWorker(): number | undefined {
    return this.#isOrdered() ? this.workers.length - 1 : undefined;
  }

  #isOrdered(): boolean {
    return this.#underlay.ordered === true;
  }

  /** Closes what no worker uses any more. */
  closeReplaced(replaced: Sockets): void {
    this.workers.forEach(({ poller }, index) => {
      const listening = listeningOf(replaced, index);
      this.#lost += dropsOf(listening);
      for (const { fd } of listening) pollerRemove(poller, fd);
    });
    closeSockets(allOf(replaced));
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
    if (this.#isOrdered()) arrangeQueues(queues, true);
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
    closeSockets(allOf(this.#sockets));
    this.#steerer.close();
    for (const ports of this.workers) {
      closeDescriptor(ports.poller);
      closeDescriptor(ports.wakeFd);
    }
  }

  #tell(index: number): void {
    this.workers[index]?.table.publish({
      tun: this.#queueFd(index),
      sockets: sendingOf(this.#sockets, index),
      listening: listeningOf(this.#sockets, index),
    });
  }

  #queueFd(index: number): number {
    return this.#queues[index]?.fd ?? -1;
  }
}
