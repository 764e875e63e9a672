// Trains of packets for the coalescer, and the way through it on a worker's room of its own.
import { FEATURE_TUN_USO, INGRESS } from "../../assembly/shared/layout.js";
import type { PacketOptions } from "./packets.js";
import { address4, address6, buildPacket, TCP } from "./packets.js";
import { Random } from "./random.js";
import { openWorkerRoom, type TunOutput } from "./worker-room.js";

export const TIMESTAMPS = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2);
export const room = openWorkerRoom(address4(10, 0, 1, 1), address6(1, 1));
export const random = new Random(6864);
room.setFeatures(FEATURE_TUN_USO);

/** Gives the packets to the coalescer one by one, then flushes it. */
export function deliver(packets: Uint8Array[], direction = INGRESS): TunOutput[] {
  room.reset();
  room.place(packets).forEach((at, i) => {
    room.kernels.deliver(room.base, at, packets[i]?.length ?? 0, direction);
  });
  room.kernels.flush(room.base);
  return room.outputs();
}

/** A train of one flow: `sizes` are payload lengths; `change` alters packet i. */
export function train(
  o: Partial<PacketOptions>,
  sizes: number[],
  change: (i: number) => Partial<PacketOptions> = () => ({}),
): Uint8Array[] {
  let sequence = o.sequence ?? 5000;
  return sizes.map((size, i) => {
    const plain = { version: 4 as const, protocol: TCP, payload: random.bytes(size) };
    const packet = buildPacket({ ...plain, sequence, identification: i, ...o, ...change(i) });
    sequence = (sequence + size) % 2 ** 32;
    return packet;
  });
}

export const packetsOf = (outputs: TunOutput[]) => outputs.map((output) => output.packet);
/** How many wire-size packets each output carries. */
export const counts = (outputs: TunOutput[]) => outputs.map((output) => output.segments);
