// A device and an underlay in plain memory for a real pump: what a kernel would do at the two ends
// of a node, and the network between the nodes, with loss when asked for.
import {
  D_ADDRESS,
  D_CAPACITY,
  D_FAILED,
  D_FAMILY,
  D_LENGTH,
  D_LOCAL,
  D_PEER,
  D_PORT,
  D_SEGMENT,
  D_STATUS,
  DESCRIPTOR_SIZE,
  VNET_HEADER_SIZE,
} from "../../assembly/shared/layout.js";
import type { BatchPort } from "./split-ports.js";

/** A datagram on its way: IPv4 underlay addresses as in D_PEER. */
interface Datagram {
  bytes: Uint8Array;
  from: Uint8Array;
  port: number;
}

class Descriptor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
    this.#at = at;
  }

  word(offset: number): number {
    return this.#view.getUint32(this.#at + offset, true);
  }

  half(offset: number): number {
    return this.#view.getUint16(this.#at + offset, true);
  }

  address(offset: number): Uint8Array {
    return this.#bytes.slice(this.#at + offset, this.#at + offset + 16);
  }

  packet(): Uint8Array {
    return this.#bytes.slice(this.word(D_ADDRESS), this.word(D_ADDRESS) + this.word(D_LENGTH));
  }

  /** What a read leaves: everything behind CAPACITY is written anew. */
  fill(packet: Uint8Array): void {
    if (packet.length > this.word(D_CAPACITY)) throw new RangeError("packet beyond its slot");
    this.#bytes.fill(0, this.#at + D_LENGTH, this.#at + DESCRIPTOR_SIZE);
    this.#view.setUint32(this.#at + D_LENGTH, packet.length, true);
    this.#bytes.set(packet, this.word(D_ADDRESS));
  }

  setSource(from: Uint8Array, port: number): void {
    this.#bytes.set(from, this.#at + D_PEER);
    this.#bytes[this.#at + D_FAMILY] = 4;
    this.#view.setUint16(this.#at + D_PORT, port, true);
    this.#bytes.fill(0, this.#at + D_LOCAL, this.#at + D_LOCAL + 16);
  }

  setSent(): void {
    this.#view.setUint32(this.#at + D_STATUS, 0, true);
    this.#view.setUint16(this.#at + D_FAILED, 0, true);
  }
}

/** Overlay packets go in by `push` and come out in `delivered`. */
export class MemoryDevice implements BatchPort {
  readonly delivered: Uint8Array[] = [];
  readonly #waiting: Uint8Array[] = [];
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  push(packet: Uint8Array): void {
    const framed = new Uint8Array(VNET_HEADER_SIZE + packet.length);
    framed.set(packet, VNET_HEADER_SIZE);
    this.#waiting.push(framed);
  }

  readBatch(at: number, count: number): number {
    const taken = this.#waiting.splice(0, count);
    taken.forEach((packet, index) => {
      new Descriptor(this.#bytes, at + index * DESCRIPTOR_SIZE).fill(packet);
    });
    return taken.length;
  }

  writeBatch(at: number, count: number): number {
    for (let index = 0; index < count; index += 1) {
      const descriptor = new Descriptor(this.#bytes, at + index * DESCRIPTOR_SIZE);
      this.delivered.push(descriptor.packet().slice(VNET_HEADER_SIZE));
      descriptor.setSent();
    }
    return count;
  }
}

/** Carries datagrams between the underlays of one process; `loses` says which do not arrive. */
export class MemoryNetwork {
  lost = 0;
  readonly #ports = new Map<string, MemoryUnderlay>();
  readonly #loses: () => boolean;

  constructor(loses: () => boolean = () => false) {
    this.#loses = loses;
  }

  attach(address: Uint8Array, underlay: MemoryUnderlay): void {
    this.#ports.set(address.join("."), underlay);
  }

  carry(to: Uint8Array, datagram: Datagram): void {
    if (this.#loses()) this.lost += 1;
    else this.#ports.get(to.join("."))?.queue.push(datagram);
  }
}

/** One node's end of the network. Trains are cut on the way, as a network does. */
export class MemoryUnderlay implements BatchPort {
  readonly queue: Datagram[] = [];
  readonly #bytes: Uint8Array;
  readonly #address: Uint8Array;
  readonly #network: MemoryNetwork;

  constructor(bytes: Uint8Array, network: MemoryNetwork, address4: readonly number[]) {
    this.#bytes = bytes;
    this.#network = network;
    this.#address = new Uint8Array(16);
    this.#address.set(address4);
    network.attach(this.#address, this);
  }

  readBatch(at: number, count: number): number {
    const taken = this.queue.splice(0, count);
    taken.forEach((datagram, index) => {
      const descriptor = new Descriptor(this.#bytes, at + index * DESCRIPTOR_SIZE);
      descriptor.fill(datagram.bytes);
      descriptor.setSource(datagram.from, datagram.port);
    });
    return taken.length;
  }

  writeBatch(at: number, count: number): number {
    for (let index = 0; index < count; index += 1) {
      const descriptor = new Descriptor(this.#bytes, at + index * DESCRIPTOR_SIZE);
      const all = descriptor.packet();
      const step = descriptor.half(D_SEGMENT) || all.length;
      for (let begin = 0; begin < all.length; begin += step) {
        const bytes = all.slice(begin, begin + step);
        const source = { from: this.#address, port: 50_000 };
        this.#network.carry(descriptor.address(D_PEER), { bytes, ...source });
      }
      descriptor.setSent();
    }
    return count;
  }
}
