// A raw GRE socket: a thread of its own waits for packets, this one sends. IPv4, as PPTP is.
import { Worker } from "node:worker_threads";
import { closeDescriptor, descriptorLayout, openRaw, writeRawBatch } from "node-tun";

const GRE = 47;
const { D_ADDRESS = 0, D_LENGTH = 0, D_FAMILY = 0, D_PEER = 0 } = descriptorLayout;
const { DESCRIPTOR_SIZE = 0 } = descriptorLayout;
const ADDRESS_OFFSET = 12;

/** What the thread is given. */
export interface ReaderData {
  fd: number;
}

export class GrePort {
  readonly #fd: number;
  readonly #reader: Worker;
  readonly #ended: Promise<void>;

  /**
   * @param address own address, or 0.0.0.0; `onPacket` gets source and packet behind the IP header
   * @throws SystemCallError EPERM: needs CAP_NET_RAW
   */
  constructor(address: string, onPacket: (source: string, packet: Buffer) => void) {
    const options = { family: 4, protocol: GRE, address, fragments: true } as const;
    this.#fd = openRaw(options).fd;
    const workerData: ReaderData = { fd: this.#fd };
    this.#reader = new Worker(new URL("./gre-reader.js", import.meta.url), { workerData });
    this.#ended = new Promise((resolve) => this.#reader.once("exit", () => resolve()));
    this.#reader.on("message", (packets: Uint8Array[]) => {
      for (const packet of packets) {
        const bytes = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength);
        const size = (bytes.readUInt8(0) & 0x0f) * 4;
        const source = bytes.subarray(ADDRESS_OFFSET, ADDRESS_OFFSET + 4).join(".");
        if (size <= bytes.length) onPacket(source, bytes.subarray(size));
      }
    });
  }

  /** Sends now; false: it did not leave, as packets sometimes do not. */
  send(address: string, packet: Uint8Array): boolean {
    const memory = new Uint8Array(DESCRIPTOR_SIZE + packet.length);
    const view = new DataView(memory.buffer);
    view.setUint32(D_ADDRESS, DESCRIPTOR_SIZE, true);
    view.setUint32(D_LENGTH, packet.length, true);
    view.setUint8(D_FAMILY, 4);
    memory.set(address.split(".").map(Number), D_PEER);
    memory.set(packet, DESCRIPTOR_SIZE);
    return writeRawBatch(new Int32Array([this.#fd]), memory, 0, 1) === 1;
  }

  async close(): Promise<void> {
    this.#reader.postMessage("end");
    await this.#ended;
    closeDescriptor(this.#fd);
  }
}
