// The thread of a wire that moves frames between two TAPs. It sleeps in the poller, so that delays
// end to the microsecond; commands come as messages, with a wake-up.
import {
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  workerData,
} from "node:worker_threads";
import {
  clearWake,
  descriptorLayout,
  openPoller,
  pollerAdd,
  pollerWait,
  readTunBatch,
  writeTunBatch,
} from "node-tun";
import { seedsOf, type WireSettings } from "./impairment.js";
import { Lane, type LaneCounts } from "./lane.js";

export interface PumpSetup {
  /** The TAPs towards the network and towards the node. */
  network: number;
  node: number;
  wake: number;
  settings: WireSettings;
}

export interface WireCounts {
  toNode: LaneCounts;
  fromNode: LaneCounts;
}

/** Asks for the counts; with settings, they hold from then on. */
export type PumpCommand = { set?: WireSettings } | { end: true };

const COUNT = 64;
/** The longest frame a TAP can have. */
const SLOT = 66_048;
const TOKENS = { network: 0, node: 1, wake: 2 } as const;
const {
  D_ADDRESS = 0,
  D_CAPACITY = 0,
  D_LENGTH = 0,
  D_SOCKET = 0,
  DESCRIPTOR_SIZE = 0,
} = descriptorLayout;
const AT = COUNT * SLOT;

/** Frames of one batch and their descriptors. */
class Batch {
  readonly memory = new Uint8Array(AT + COUNT * DESCRIPTOR_SIZE);
  readonly #view = new DataView(this.memory.buffer);
  #filled = 0;

  constructor(readonly fd: number) {}

  /** Gives each frame that waits at the TAP, at most COUNT. */
  read(take: (frame: Uint8Array) => void): void {
    for (let i = 0; i < COUNT; i++) this.#describe(i, SLOT);
    const count = readTunBatch(this.fd, this.memory, AT, COUNT);
    for (let i = 0; i < count; i++) {
      const length = this.#view.getUint32(AT + i * DESCRIPTOR_SIZE + D_LENGTH, true);
      take(this.memory.subarray(i * SLOT, i * SLOT + length));
    }
  }

  /** Puts a frame into the next write. */
  add(frame: Uint8Array): void {
    if (this.#filled === COUNT) this.flush();
    const at = this.#describe(this.#filled, SLOT);
    this.memory.set(frame, this.#filled * SLOT);
    this.#view.setUint32(at + D_LENGTH, frame.length, true);
    this.#view.setUint16(at + D_SOCKET, 0, true);
    this.#filled += 1;
  }

  flush(): void {
    if (this.#filled > 0) writeTunBatch(Int32Array.of(this.fd), this.memory, AT, this.#filled);
    this.#filled = 0;
  }

  #describe(index: number, capacity: number): number {
    const at = AT + index * DESCRIPTOR_SIZE;
    this.#view.setUint32(at + D_ADDRESS, index * SLOT, true);
    this.#view.setUint32(at + D_CAPACITY, capacity, true);
    return at;
  }
}

const nowMicroseconds = () => performance.now() * 1000;

class Pump {
  readonly #poller = openPoller();
  /** What comes in, by token. */
  readonly #inputs: readonly [Batch, Batch];
  readonly #outputs: readonly [Batch, Batch];
  readonly #toNode: Lane;
  readonly #fromNode: Lane;
  #isOver = false;

  constructor(
    readonly setup: PumpSetup,
    readonly port: MessagePort,
  ) {
    const { network, node, wake, settings } = setup;
    const [toNode, fromNode] = [new Batch(node), new Batch(network)];
    this.#inputs = [new Batch(network), new Batch(node)];
    this.#outputs = [toNode, fromNode];
    const seeds = seedsOf(settings);
    this.#toNode = new Lane(settings.toNode, seeds.toNode, (frame) => toNode.add(frame));
    this.#fromNode = new Lane(settings.fromNode, seeds.fromNode, (frame) => fromNode.add(frame));
    pollerAdd(this.#poller, network, TOKENS.network);
    pollerAdd(this.#poller, node, TOKENS.node);
    pollerAdd(this.#poller, wake, TOKENS.wake);
  }

  run(): void {
    const ready = new Uint32Array(Object.keys(TOKENS).length);
    while (!this.#isOver) {
      const count = pollerWait(this.#poller, ready, this.#patience());
      for (const token of ready.subarray(0, count)) this.#serve(token);
      for (const lane of [this.#toNode, this.#fromNode]) lane.drain(nowMicroseconds());
      for (const output of this.#outputs) output.flush();
    }
  }

  /** Microseconds to wait at most; -1: until something comes. */
  #patience(): number {
    const due = Math.min(this.#toNode.nextDue(), this.#fromNode.nextDue());
    if (due === Number.POSITIVE_INFINITY) return -1;
    return Math.max(0, Math.ceil(due - nowMicroseconds()));
  }

  #serve(token: number): void {
    if (token === TOKENS.wake) {
      this.#obey();
      return;
    }
    const lane = token === TOKENS.network ? this.#toNode : this.#fromNode;
    const now = nowMicroseconds();
    this.#inputs[token]?.read((frame) => lane.take(frame, now));
  }

  #obey(): void {
    clearWake(this.setup.wake);
    for (;;) {
      const received = receiveMessageOnPort(this.port);
      if (received === undefined) return;
      const command = received.message as PumpCommand;
      if ("end" in command) {
        this.#isOver = true;
        return;
      }
      if (command.set !== undefined) this.#change(command.set);
      const counts = { toNode: this.#toNode.counts, fromNode: this.#fromNode.counts };
      this.port.postMessage(counts satisfies WireCounts);
    }
  }

  #change(settings: WireSettings): void {
    const seeds = seedsOf(settings);
    this.#toNode.set(settings.toNode, seeds.toNode, nowMicroseconds());
    this.#fromNode.set(settings.fromNode, seeds.fromNode, nowMicroseconds());
  }
}

if (parentPort !== null) new Pump(workerData as PumpSetup, parentPort).run();
