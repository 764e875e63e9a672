// One worker's region for kernels that write to the TUN output: zeroed state, packets placed as a
// received train lies in a slot, and the outputs read back and judged.
import {
  ARENA_SIZE,
  D_ADDRESS,
  D_CAPACITY,
  D_DIRECTION,
  D_LENGTH,
  D_SEGMENTS,
  D_SOCKET,
  DESCRIPTOR_SIZE,
  VNET_HEADER_SIZE,
  W_FEATURES,
  W_PUNT_RING,
  W_TABLES,
  W_TUN_ARENA,
  W_TUN_ARENA_USED,
  W_TUN_OUT,
  W_TUN_OUT_COUNT,
  W_WIRE_SLOTS,
  WORKER_SIZE,
} from "../../assembly/shared/layout.js";
import {
  SELF_HAS_4,
  SELF_HAS_6,
  T_HEADER_SIZE,
  T_SELF_ADDRESS4,
  T_SELF_ADDRESS6,
  T_SELF_FLAGS,
} from "../../assembly/shared/tables.js";
import { fault, shapeOf, slowSegment } from "./judge.js";
import { type Kernels, openKernels } from "./kernels.js";
import { be16, be32, pseudoSum, TCP } from "./packets.js";

/** Bytes of outer headers before an inner packet of a VXLAN train. */
const GAP = 22;
const TABLES_AT = 65_536;
const BASE = 131_072;

export interface TunOutput {
  address: number;
  vnet: Uint8Array;
  packet: Uint8Array;
  segments: number;
  innerBytes: number;
  direction: number;
  socket: number;
  isInArena: boolean;
}

export interface WorkerRoom {
  kernels: Kernels;
  bytes: Uint8Array;
  base: number;
  /** Empties the outputs and forgets all packets placed. */
  reset(): void;
  /** Copies packets into the wire slots one after the other, outer headers between; addresses. */
  place(packets: Uint8Array[]): number[];
  outputs(): TunOutput[];
  setFeatures(bits: number): void;
  setArenaUsed(bytes: number): void;
  /** Which families the node has an address of. */
  setAddresses(has4: boolean, has6: boolean): void;
}

function readOutput(view: DataView, bytes: Uint8Array, at: number): TunOutput {
  const address = view.getUint32(at + D_ADDRESS, true);
  const length = view.getUint32(at + D_LENGTH, true);
  const arena = BASE + W_TUN_ARENA;
  return {
    address,
    vnet: bytes.slice(address, address + VNET_HEADER_SIZE),
    packet: bytes.slice(address + VNET_HEADER_SIZE, address + length),
    segments: view.getUint16(at + D_SEGMENTS, true),
    innerBytes: view.getUint32(at + D_CAPACITY, true),
    direction: view.getUint8(at + D_DIRECTION),
    socket: view.getUint16(at + D_SOCKET, true),
    isInArena: address >= arena && address + length <= arena + ARENA_SIZE,
  };
}

/** A worker's room with a node address of each family. */
export function openWorkerRoom(address4: Uint8Array, address6: Uint8Array): WorkerRoom {
  const { kernels, bytes } = openKernels(BASE + WORKER_SIZE);
  const view = new DataView(bytes.buffer);
  bytes.fill(0, BASE, BASE + W_PUNT_RING);
  bytes.fill(0, TABLES_AT, TABLES_AT + T_HEADER_SIZE);
  view.setUint8(TABLES_AT + T_SELF_FLAGS, SELF_HAS_4 + SELF_HAS_6);
  view.setUint32(TABLES_AT + T_SELF_ADDRESS4, be32(address4, 0), true);
  bytes.set(address6, TABLES_AT + T_SELF_ADDRESS6);
  view.setUint32(BASE + W_TABLES, TABLES_AT, true);
  kernels.bind(BASE);
  let next = BASE + W_WIRE_SLOTS + 256;
  return {
    ...{ kernels, bytes, base: BASE },
    reset() {
      view.setUint32(BASE + W_TUN_OUT_COUNT, 0, true);
      view.setUint32(BASE + W_TUN_ARENA_USED, 0, true);
      next = BASE + W_WIRE_SLOTS + 256;
    },
    place(packets) {
      return packets.map((packet) => {
        bytes.fill(0xa5, next, next + GAP);
        bytes.set(packet, next + GAP);
        next += GAP + packet.length;
        return next - packet.length;
      });
    },
    outputs() {
      const count = view.getUint32(BASE + W_TUN_OUT_COUNT, true);
      const at = BASE + W_TUN_OUT;
      return Array.from({ length: count }, (_, i) =>
        readOutput(view, bytes, at + i * DESCRIPTOR_SIZE),
      );
    },
    setFeatures: (bits) => view.setUint32(BASE + W_FEATURES, bits, true),
    setArenaUsed: (used) => view.setUint32(BASE + W_TUN_ARENA_USED, used, true),
    setAddresses(has4, has6) {
      view.setUint8(TABLES_AT + T_SELF_FLAGS, (has4 ? SELF_HAS_4 : 0) + (has6 ? SELF_HAS_6 : 0));
    },
  };
}

/** What is wrong with a virtio_net_hdr that names a super-packet, or undefined. */
export function offloadFault(vnet: Uint8Array, packet: Uint8Array): string | undefined {
  const view = new DataView(vnet.buffer, vnet.byteOffset, VNET_HEADER_SIZE);
  const shape = shapeOf(packet);
  if (typeof shape === "string") return shape;
  const isTcp = shape.protocol === TCP;
  const flags = packet[shape.offset + 13] ?? 0;
  const type = isTcp ? (shape.version === 4 ? 1 : 4) | (flags & 0x80) : 5;
  const field = isTcp ? 16 : 6;
  const transport = packet.subarray(shape.offset);
  const pseudo = pseudoSum(packet, shape.protocol, transport.length);
  const expected: [string, number, number][] = [
    ["NEEDS_CSUM", view.getUint8(0), 1],
    ["gso_type", view.getUint8(1), type],
    ["hdr_len", view.getUint16(2, true), shape.header],
    ["csum_start", view.getUint16(6, true), shape.offset],
    ["csum_offset", view.getUint16(8, true), field],
    ["pseudo-header sum", be16(transport, field), pseudo],
  ];
  const wrong = expected.find(([, value, right]) => value !== right);
  if (wrong !== undefined) return `${wrong[0]} is ${wrong[1]}, not ${wrong[2]}`;
  return view.getUint16(4, true) > 0 ? undefined : "gso_size is 0";
}

/** The packets that an output stands for; a super-packet is judged and cut by hand. */
export function expand(output: TunOutput): Uint8Array[] {
  const view = new DataView(output.vnet.buffer, output.vnet.byteOffset, VNET_HEADER_SIZE);
  if (view.getUint8(1) === 0) {
    if (output.vnet.some((byte) => byte !== 0)) throw new Error("vnet header of a lone packet");
    if (output.segments !== 1) throw new Error(`${output.segments} segments in a lone packet`);
    return [output.packet];
  }
  const wrong = offloadFault(output.vnet, output.packet);
  if (wrong !== undefined) throw new Error(wrong);
  const pieces = slowSegment(output.packet, view.getUint16(4, true));
  const bad = pieces.map(fault).find((f) => f !== undefined);
  if (bad !== undefined) throw new Error(bad);
  // Segments that nobody cut count as the one packet that came.
  if (output.segments === 1) return pieces;
  if (pieces.length !== output.segments) throw new Error(`${output.segments} segments announced`);
  const carried = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (carried !== output.innerBytes) throw new Error(`${output.innerBytes} bytes announced`);
  return pieces;
}

/** A packet without what RFC 6864 lets a hop change: identification under don't-fragment. */
export function comparable(packet: Uint8Array): string {
  const copy = Uint8Array.from(packet);
  const isAtomic = (copy[0] ?? 0) >> 4 === 4 && (be16(copy, 6) & 0x4000) !== 0;
  if (isAtomic && fault(packet) === undefined) copy.fill(0, 4, 6).fill(0, 10, 12);
  return Buffer.from(copy).toString("hex");
}
