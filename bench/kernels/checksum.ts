// The Internet checksum at three sizes: headers, a full packet, a super-packet.
import { W_TUN_ARENA } from "../../assembly/shared/layout.js";
import { Random } from "../../test/support/random.js";
import type { Room } from "./room.js";
import { type Subject, sampleLoop } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const SIZES = [40, 1460, 64_000];

function checksumSubject(room: Room, size: number): Subject {
  const { module } = room;
  const at = module.base + W_TUN_ARENA;
  const bytes = new Random(size).bytes(size);
  module.views.bytes.set(bytes, at);
  const sum = module.hot.checksum(at, size, 0);
  const name = `checksum ${size} B`;
  assertEqualOutput(name, Uint8Array.of(sum & 0xff, sum >> 8), runTwin(["checksum"], bytes).output);
  const work = (calls: number) => {
    for (let i = 0; i < calls; i++) module.hot.checksum(at, size, i);
  };
  return {
    ...{ name, unit: "sum", bytes: size },
    sample: () => sampleLoop(work),
    sampleTwin: () => runTwin(["checksum"], bytes).ns,
  };
}

/** Of a module's own; its inputs lie in the arena. */
export function checksumSubjects(room: Room): Subject[] {
  return SIZES.map((size) => checksumSubject(room, size));
}

/** What a call into the module costs that does nothing. */
export function callSubject(room: Room): Subject {
  const work = (calls: number) => {
    for (let i = 0; i < calls; i++) room.module.hot.layoutVersion();
  };
  return { name: "call JavaScript -> wasm", unit: "call", sample: () => sampleLoop(work) };
}
