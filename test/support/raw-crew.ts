// Raw sockets of one protocol by the batch, as a program of its own for a network namespace:
//   raw-crew read PROTOCOL READERS          a thread and a socket each; says "ready", reads until
//                                           SIGTERM, then prints the numbers each one got
//   raw-crew send PROTOCOL ADDRESS PACKETS  numbered packets of many inner flows, in full batches
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  closeDescriptor,
  descriptorLayout,
  openPoller,
  openRaw,
  pollerAdd,
  pollerWait,
  readRawBatch,
  writeRawBatch,
} from "node-tun";

const BATCH = 64;
const SLOT = 2048;
const DESCRIPTORS = 65536;
const SLOTS = 131072;
const BUFFER_BYTES = 32 << 20;
const IP_SIZE = 20;
const GRE = 47;
const GRE_SIZE = 4;
/** Inner flows, each with addresses of its own. */
const FLOWS = 256;
/** Reads end when this long nothing came after the end was asked for. */
const QUIET_US = 200_000;

const { D_ADDRESS = 0, D_CAPACITY = 0, D_LENGTH = 0, D_FAMILY = 0, D_PEER = 0 } = descriptorLayout;
const { DESCRIPTOR_SIZE = 0 } = descriptorLayout;
const offsetOf = (protocol: number): number => IP_SIZE + (protocol === GRE ? GRE_SIZE : 0);

class Room {
  readonly bytes = new Uint8Array(
    new WebAssembly.Memory({ initial: 8, maximum: 8, shared: true }).buffer,
  );
  readonly view = new DataView(this.bytes.buffer);

  at(index: number): number {
    return DESCRIPTORS + index * DESCRIPTOR_SIZE;
  }

  preset(): void {
    for (let index = 0; index < BATCH; index += 1) {
      this.view.setUint32(this.at(index) + D_ADDRESS, SLOTS + index * SLOT, true);
      this.view.setUint32(this.at(index) + D_CAPACITY, SLOT, true);
    }
  }
}

/** One reader: which numbers came to its socket, in order. */
function read(protocol: number, index: number, count: number, ending: Int32Array): number[] {
  const share = { index, count };
  const { fd } = openRaw({ family: 4, protocol, share, receiveBuffer: BUFFER_BYTES });
  const room = new Room();
  const poller = openPoller();
  pollerAdd(poller, fd, 1);
  parentPort?.postMessage("ready");
  const seen: number[] = [];
  for (;;) {
    room.preset();
    const got = readRawBatch(fd, room.bytes, DESCRIPTORS, BATCH);
    for (let slot = 0; slot < got; slot += 1) {
      const at = SLOTS + slot * SLOT + offsetOf(protocol) + IP_SIZE;
      seen.push(room.view.getUint32(at));
    }
    if (got > 0) continue;
    const isQuiet = pollerWait(poller, new Uint32Array(1), QUIET_US) === 0;
    if (isQuiet && Atomics.load(ending, 0) === 1) break;
  }
  closeDescriptor(poller);
  closeDescriptor(fd);
  return seen;
}

async function readAll(protocol: number, count: number): Promise<void> {
  const ending = new Int32Array(new SharedArrayBuffer(4));
  const threads = Array.from({ length: count }, (_, index) => {
    return new Worker(new URL(import.meta.url), { workerData: { protocol, index, count, ending } });
  });
  const messages = (thread: Worker) =>
    new Promise<unknown>((resolve) => thread.once("message", resolve));
  await Promise.all(threads.map(messages));
  const results = Promise.all(threads.map(messages));
  process.once("SIGTERM", () => Atomics.store(ending, 0, 1));
  process.stdout.write("ready\n");
  process.stdout.write(`${JSON.stringify(await results)}\n`);
}

/** Outer payload of packet `number`: an inner IPv4 header of its flow, then the number. */
function writePayload(view: DataView, at: number, protocol: number, number: number): number {
  let inner = at;
  if (protocol === GRE) {
    view.setUint32(at, 0x00000800);
    inner += GRE_SIZE;
  }
  const flow = number % FLOWS;
  view.setUint8(inner, 0x45);
  view.setUint32(inner + 12, 0x0a000000 + flow * 7);
  view.setUint32(inner + 16, 0x0a010000 + flow);
  view.setUint32(inner + IP_SIZE, number);
  return inner + IP_SIZE + 4 - at;
}

function send(protocol: number, address: string, packets: number): void {
  const share = { index: 0, count: 1 };
  const { fd } = openRaw({ family: 4, protocol, share, sendBuffer: BUFFER_BYTES });
  const room = new Room();
  const peer = address.split(".").map(Number);
  for (let done = 0; done < packets; done += BATCH) {
    const count = Math.min(BATCH, packets - done);
    room.preset();
    for (let index = 0; index < count; index += 1) {
      const length = writePayload(room.view, SLOTS + index * SLOT, protocol, done + index);
      room.view.setUint32(room.at(index) + D_LENGTH, length, true);
      room.view.setUint8(room.at(index) + D_FAMILY, 4);
      room.bytes.set(peer, room.at(index) + D_PEER);
    }
    const sent = writeRawBatch(new Int32Array([fd]), room.bytes, DESCRIPTORS, count);
    if (sent !== count) throw new Error(`${sent} of ${count} packets left`);
  }
  closeDescriptor(fd);
}

interface ReaderSetup {
  protocol: number;
  index: number;
  count: number;
  ending: Int32Array;
}

if (!isMainThread) {
  const { protocol, index, count, ending } = workerData as ReaderSetup;
  parentPort?.postMessage(read(protocol, index, count, ending));
} else if (process.argv[2] === "read") {
  await readAll(Number(process.argv[3]), Number(process.argv[4]));
} else if (process.argv[2] === "send") {
  send(Number(process.argv[3]), process.argv[4] ?? "", Number(process.argv[5]));
}
