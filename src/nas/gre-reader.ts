// Thread of a raw GRE socket: waits in the poller, hands over what came. Entered by gre-port.ts.
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import {
  closeDescriptor,
  descriptorLayout,
  openPoller,
  pollerAdd,
  pollerWait,
  readRawBatch,
} from "node-tun";
import type { ReaderData } from "./gre-port.js";

const BATCH = 64;
const SLOT = 2048;
/** How soon the end is noticed while nothing comes. */
const LOOK_US = 250_000;
const { D_ADDRESS = 0, D_CAPACITY = 0, D_LENGTH = 0, DESCRIPTOR_SIZE = 0 } = descriptorLayout;

function read(fd: number): void {
  const slots = BATCH * DESCRIPTOR_SIZE;
  const memory = new Uint8Array(slots + BATCH * SLOT);
  const view = new DataView(memory.buffer);
  const poller = openPoller();
  pollerAdd(poller, fd, 1);
  const ready = new Uint32Array(1);
  while (parentPort !== null && receiveMessageOnPort(parentPort) === undefined) {
    if (pollerWait(poller, ready, LOOK_US) === 0) continue;
    for (let index = 0; index < BATCH; index++) {
      view.setUint32(index * DESCRIPTOR_SIZE + D_ADDRESS, slots + index * SLOT, true);
      view.setUint32(index * DESCRIPTOR_SIZE + D_CAPACITY, SLOT, true);
    }
    const count = readRawBatch(fd, memory, 0, BATCH);
    const packets = Array.from({ length: count }, (_, index) => {
      const at = slots + index * SLOT;
      return memory.slice(at, at + view.getUint32(index * DESCRIPTOR_SIZE + D_LENGTH, true));
    });
    parentPort.postMessage(packets);
  }
  closeDescriptor(poller);
}

read((workerData as ReaderData).fd);
