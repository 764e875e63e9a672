// The packet path of one node as the agent sees it: opened with a device and an underlay address,
// fed with tables, asked for counters. Packets never pass through here.
import { EventEmitter } from "node:events";
import { FEATURE_TUN_USO, PUNT_PROBE, W_FEATURES } from "../../assembly/shared/layout.js";
import type { CallPort } from "./call-types.js";
import { Calls } from "./calls.js";
import { readCounters, readTraffic, type WorkerCounters } from "./counters.js";
import { Crew, type WorkerStatus } from "./crew.js";
import { type DropRecord, readDropRecords } from "./drop-records.js";
import { DatapathError } from "./errors.js";
import type { GrantedOffloads, HandleSet } from "./handle-set.js";
import { type DatapathMemory, setCallsWorker } from "./memory.js";
import { openParts, type Parts } from "./opening.js";
import type { DatapathEvents, DatapathOptions } from "./options.js";
import { SignReader } from "./peer-packets.js";
import { TablePublisher } from "./publisher.js";
import { drainPunts, type PuntHandler, putInject } from "./punt.js";
import { Rebinder } from "./rebinder.js";
import { mendRegion } from "./recovery.js";
import { releaseRegularly } from "./resident.js";
import type { UnderlayAddress } from "./sockets.js";
import { filterStrangers, type SourceFilter } from "./source-filter.js";
import type { SteeringStatus } from "./steering.js";
import { ENCAPSULATIONS } from "./templates.js";
import type { TableContents } from "./types.js";

/**
 * A node's packet path. Everything is opened by {@link Datapath.open} and closed by `close`;
 * between them nothing runs here unless a worker punts, dies, or tables wait for one.
 *
 * The device begins down and without addresses: link, MTU, addresses and routes are the host's
 * job, and so is the device's `gso_max_size` (61,000 fits any MTU): a larger super-packet does not
 * fit one send together with a tunnel header per segment, and is sent in two.
 */
export class Datapath extends EventEmitter<DatapathEvents> {
  /** What it does against floods of raw packets; its caller looks once a second. */
  readonly strangers: SourceFilter;
  /** What went to each peer and came from it. */
  readonly peerSigns: SignReader;
  private readonly callTable: Calls;
  private readonly options: DatapathOptions;
  private readonly memory: DatapathMemory;
  private readonly handles: HandleSet;
  private readonly crew: Crew;
  private readonly steered: SteeringStatus;
  private readonly publisher: TablePublisher;
  private readonly rebinder: Rebinder;
  private puntHandler: PuntHandler | undefined;
  private recreating: Promise<void> | undefined;
  private closed = false;
  private endReleasing: () => void = () => undefined;

  private constructor(parts: Parts) {
    super();
    this.options = parts.options;
    this.memory = parts.memory;
    this.handles = parts.handles;
    this.rebinder = new Rebinder(parts, {
      isAlive: (worker) => this.crew.isAlive(worker),
      wake: (worker) => this.crew.wake(worker),
      callsWorker: () => this.callsWorker(),
      replaced: () => this.strangers.forget(),
      seen: () => this.callTable.resume(),
      log: (event, fields) => this.note(event, fields),
    });
    this.steered = parts.steering;
    this.publisher = new TablePublisher({
      ...parts.memory,
      onFailure: (error) => this.emit("publish-failed", { error }),
    });
    const { words, bases } = parts.memory;
    this.peerSigns = new SignReader(words, bases, () => this.publisher.isSettled());
    this.strangers = filterStrangers({
      memory: parts.memory,
      readers: () => parts.handles.rawReaders(),
      family: () => this.rebinder.current.family,
      log: (event, fields) => this.note(event, fields),
    });
    this.callTable = new Calls({
      ...parts.memory,
      worker: () => parts.memory.bases[this.callsWorker() ?? -1],
      wake: () => this.crew.wake(this.callsWorker() ?? -1),
      onAddresses: () => this.strangers.setCallers(this.callTable.addresses()),
    });
    setCallsWorker(parts.memory, parts.memory.bases[this.callsWorker() ?? -1]);
    this.crew = new Crew({
      words: parts.memory.words,
      setups: parts.handles.workers.map((ports, index) => ({
        memory: parts.memory.memory,
        module: parts.module,
        base: parts.memory.bases[index] ?? 0,
        poller: ports.poller,
        wakeFd: ports.wakeFd,
        handles: ports.table.buffer,
        stamps: parts.handles.stamps(),
        index,
        cpu: parts.steering.cpus[index] ?? -1,
      })),
      beforeRestart: (worker, reason) => this.mend(worker, reason),
      onRestart: (worker, reason, restarts) => {
        this.note("worker-restarted", { worker, reason, restarts });
        this.emit("worker-restarted", { worker, reason, restarts });
      },
      onPunt: (worker) => this.drain(worker),
      onRound: () => this.emit("round"),
    });
  }

  /**
   * Opens device and sockets, takes all memory, starts the workers. Tables are empty: every packet
   * is a counted drop until `publish`.
   * @throws {DatapathError} with a line for the operator; nothing stays open then.
   */
  static async open(options: DatapathOptions): Promise<Datapath> {
    const datapath = new Datapath(await openParts(options));
    await datapath.startWorkers();
    return datapath;
  }

  /** What the device granted decides what the hot path may join; workers read it at each packet. */
  private tellFeatures(): void {
    const { uso4, uso6 } = this.handles.granted().device;
    const { words, bases } = this.memory;
    for (const base of bases) words[(base + W_FEATURES) >>> 2] = uso4 && uso6 ? FEATURE_TUN_USO : 0;
  }

  private async startWorkers(): Promise<void> {
    this.tellFeatures();
    try {
      await this.crew.start();
      this.endReleasing = releaseRegularly();
    } catch (error) {
      await this.close({ removeDevice: !this.handles.adopted });
      throw error;
    }
  }

  /**
   * Makes tables live. Asynchronously safe: while a worker still reads the copy that would be
   * rewritten, the newest contents wait ("publish-failed" tells if they then cannot be written).
   * @throws {TableError} when they cannot be written; the live tables stay as they are.
   */
  publish(contents: TableContents): void {
    this.assertOpen();
    const addresses = contents.peers.map(({ address }) => address);
    this.strangers.widen(addresses);
    this.publisher.publish(contents);
    this.peerSigns.published(addresses);
    this.strangers.setPeers(addresses);
  }

  /** Generation of the live tables, and whether newer ones wait for a worker. */
  generation(): { live: number; pending: boolean } {
    return { live: this.publisher.generation(), pending: !this.publisher.isSettled() };
  }

  /**
   * Sends an inner IP packet of our own, through FIB and encap as any other.
   * @returns false when the ring is full or the packet longer than RING_PACKET_MAX.
   */
  inject(packet: Uint8Array, worker = this.handles.orderedWorker() ?? 0): boolean {
    this.assertOpen();
    const base = this.memory.bases[worker];
    if (base === undefined || !putInject(this.memory, base, packet)) return false;
    this.crew.wake(worker);
    return true;
  }

  /**
   * As `inject`, by the entry of one peer of the tables that were published last.
   * @returns false also while those are not live yet.
   */
  injectTo(packet: Uint8Array, index: number): boolean {
    this.assertOpen();
    const worker = this.handles.orderedWorker() ?? 0;
    const base = this.memory.bases[worker];
    if (base === undefined || !this.publisher.isSettled()) return false;
    const peer = { index, generation: this.publisher.generation() };
    if (!putInject(this.memory, base, packet, peer)) return false;
    this.crew.wake(worker);
    return true;
  }

  /** PPTP calls; they go nowhere while several workers share the packets (not `ordered`). */
  get calls(): CallPort {
    return this.callTable;
  }

  /** The worker that has all packets of all calls. */
  private callsWorker(): number | undefined {
    const isAlone = this.handles.workers.length === 1;
    return this.handles.orderedWorker() ?? (isAlone ? 0 : undefined);
  }

  /** Says who gets packets that are not plain forwarding (probes). One handler; the last counts. */
  onPunt(handler: PuntHandler): void {
    this.puntHandler = handler;
  }

  /** Counters of every worker since open. */
  counters(): WorkerCounters[] {
    const { counters, bases } = this.memory;
    return bases.map((base, index) => readCounters(counters, base, index));
  }

  /** The last datagram of the underlay that was dropped, for each reason that has one. */
  dropRecords(): DropRecord[] {
    return readDropRecords(this.memory, this.memory.bases);
  }

  /**
   * Packets that came from the host or went to it since open. What the node says and hears for
   * itself, such as probes, does not count. Cheap: no counter of drops is read.
   */
  traffic(): number {
    const { counters, bases } = this.memory;
    return bases.reduce((sum, base) => sum + readTraffic(counters, base), 0);
  }

  workers(): WorkerStatus[] {
    return this.crew.status();
  }

  /** Emits "round" once for every worker that is woken by anything from now on. */
  listen(): void {
    if (!this.closed) this.crew.listen();
  }

  /**
   * Lets every worker measure its heap, within one of its rounds; `workers` has the answers. One
   * that does not answer within half a second keeps what it said before.
   */
  async measureHeaps(): Promise<void> {
    if (!this.closed) await this.crew.measureHeaps();
  }

  /** Whether each CPU's packets are its own worker's, and if not though asked for, why. */
  steering(): SteeringStatus {
    const alone = this.handles.orderedWorker();
    const { protocol = "vxlan" } = this.rebinder.current;
    if (this.steered.active && ENCAPSULATIONS[protocol].socket === null) {
      const reason = `${protocol} comes by raw sockets, which no program shares out`;
      return { active: false, cpus: [], reason };
    }
    if (alone === undefined || alone === 0) return this.steered;
    const reason = `packets are numbered (greSequence, PPTP): worker ${alone} has all of them`;
    return { active: false, cpus: [], reason };
  }

  /** The address and port in use: those of open or of the last rebind. */
  underlay(): UnderlayAddress {
    return { ...this.rebinder.current };
  }

  /** True when `open` found a persistent device of ours, whose routes may still be there. */
  adopted(): boolean {
    return this.handles.adopted;
  }

  offloads(): GrantedOffloads {
    return this.handles.granted();
  }

  /** Packets that the kernel dropped at the underlay's sockets; mostly, a buffer was full. */
  receiveDrops(): number {
    return this.closed ? 0 : this.handles.receiveDrops();
  }

  /**
   * Moves to another advertised address, port or encapsulation, or other ports. The device stays
   * and no packet of it is lost; old sockets are closed when every worker uses the new ones. Equal
   * to the present one: nothing.
   * @throws {DatapathError} as open does for sockets; then the old ones stay in use.
   */
  rebind(underlay: UnderlayAddress): Promise<void> {
    this.assertOpen();
    return this.rebinder.rebind(underlay);
  }

  /** Stops the workers and closes everything. A device that is not persistent goes with it. */
  async close(options: { removeDevice?: boolean } = {}): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.rebinder.settled();
    this.publisher.stop();
    this.callTable.stop();
    this.endReleasing();
    await this.crew.stop();
    this.handles.close(options.removeDevice ?? this.options.persist === false);
  }

  /** Runs while the worker's thread is gone and before the next one starts. */
  private async mend(worker: number, reason: string): Promise<void> {
    const base = this.memory.bases[worker] ?? 0;
    const lost = mendRegion(this.memory, base);
    this.note("worker-died", { worker, reason, lost });
    this.drain(worker);
    if (!this.handles.isDeviceGone()) return;
    // All workers die of it, one after another: the first makes the device anew for all.
    this.recreating ??= this.recreateDevice().finally(() => {
      this.recreating = undefined;
    });
    await this.recreating;
  }

  private async recreateDevice(): Promise<void> {
    await this.handles.reopenDevice();
    this.tellFeatures();
    for (const index of this.handles.workers.keys()) this.crew.wake(index);
    this.note("device-recreated", { device: this.options.deviceName });
    this.emit("device-recreated", { device: this.options.deviceName });
  }

  private drain(worker: number): void {
    const base = this.memory.bases[worker];
    if (base === undefined || this.closed) return;
    drainPunts(this.memory, base, (packet, kind, peer) => {
      if (kind === PUNT_PROBE) this.puntHandler?.(packet, kind, peer);
      else this.callTable.take(packet, kind, peer);
    });
  }

  private note(event: string, fields: Record<string, unknown>): void {
    this.options.log?.(event, fields);
  }

  private assertOpen(): void {
    if (this.closed) throw new DatapathError("MESHD_DATAPATH_CLOSED", "the datapath is closed");
  }
}
