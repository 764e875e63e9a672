// The Internet checksum at three sizes: headers, a full packet, a super-packet.
import { W_TUN_ARENA } from "../../assembly/shared/layout.js";
import { Random } from "../../test/support/random.js";
import type { Loops } from "./loops.js";
import type { Room } from "./room.js";
import { type Subject, sampleCalls } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const SIZES = [40, 1460, 64_000];
/** Sums per call, so that the call costs nothing beside them. */
const COUNT = 64;

function checksumSubject(room: Room, loops: Loops, size: number): Subject {
  const { module } = room;
  const at = module.base + W_TUN_ARENA;
  const bytes = new Random(size).bytes(size);
  module.views.bytes.set(bytes, at);
  const name = `checksum ${size} B`;
  const twin = () => runTwin("kernels", ["checksum", `${COUNT}`], bytes);
  const own = Uint32Array.of(loops.checksums(at, size, COUNT));
  assertEqualOutput(name, new Uint8Array(own.buffer), twin().output);
  return {
    ...{ name, unit: "sum", bytes: size },
    sample: () => {
      module.views.bytes.set(bytes, at);
      return sampleCalls(() => loops.checksums(at, size, COUNT), COUNT);
    },
    sampleTwin: () => twin().ns,
  };
}

/** Its inputs lie in the room's arena. */
export function checksumSubjects(room: Room, loops: Loops): Subject[] {
  return SIZES.map((size) => checksumSubject(room, loops, size));
}

/** What a call into the module costs that does nothing. */
export function callSubject(room: Room): Subject {
  const work = () => {
    for (let i = 0; i < COUNT; i++) room.module.hot.layoutVersion();
  };
  return { name: "call JavaScript -> wasm", unit: "call", sample: () => sampleCalls(work, COUNT) };
}
