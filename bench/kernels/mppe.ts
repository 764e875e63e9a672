// RC4 and MPPE-128 without state between packets, over what a packet of 1,400 bytes has: beside C
// by the same algorithm, and beside libcrypto where there is one with RC4.

import { spawnSync } from "node:child_process";
import { W_TUN_ARENA } from "../../assembly/shared/layout.js";
import {
  MPPE_COUNT_SIZE,
  MPPE_STAGED_BITS,
  MPPE_STAGED_KEY,
  MPPE_STAGED_SIZE,
} from "../../assembly/shared/mppe.js";
import { concat } from "../../test/support/packets.js";
import { Random } from "../../test/support/random.js";
import { nativeProgram } from "../support/native.js";
import type { Loops } from "./loops.js";
import type { Room } from "./room.js";
import { MPPE_BESIDE_RC4, type Subject, sampleCalls } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const SIZE = 1400;
const KEY_SIZE = 16;
/** Passes of a call: what a call does beside them costs nothing then. */
const COUNT = 64;
const PLACE = 4096;

const random = new Random(3078);
const data = random.bytes(SIZE);

type Of = "own" | "openssl";

/** Whether there is a libcrypto with RC4 to compare with. */
export function hasOpenssl(): boolean {
  return spawnSync(nativeProgram("mppe"), ["libcrypto"], { input: "" }).status === 0;
}

/** A kernel: what it does, where its output lies, and its twins' word for it. */
interface Kernel {
  name: string;
  word: "rc4" | "mppe";
  key: Uint8Array;
  at: number;
  work(): void;
}

function kernels({ module }: Room, loops: Loops): [rc4: Kernel, mppe: Kernel] {
  const at = module.base + W_TUN_ARENA;
  const [key, state, from, to] = [at, at + PLACE, at + 2 * PLACE, at + 3 * PLACE];
  const startKey = random.bytes(KEY_SIZE);
  const staged = new Uint8Array(MPPE_STAGED_SIZE);
  staged.set(startKey, MPPE_STAGED_KEY);
  new DataView(staged.buffer).setUint32(MPPE_STAGED_BITS, 128, true);
  const lay = (work: () => void) => () => {
    module.views.bytes.set(staged, key);
    module.views.bytes.set(data, from);
    work();
  };
  return [
    {
      ...{ name: `RC4 ${SIZE} B`, word: "rc4", key: startKey, at: to },
      work: lay(() => loops.rc4s(key, from, to, SIZE, COUNT)),
    },
    {
      ...{ name: `MPPE-128 stateless ${SIZE} B`, word: "mppe", key: startKey },
      at: to + MPPE_COUNT_SIZE,
      work: lay(() => loops.mppes(key, state, from, to, SIZE, COUNT)),
    },
  ];
}

const twinOf = ({ word, key }: Kernel, of: Of) =>
  runTwin("mppe", [word, of, `${COUNT}`], concat(key, data));

function subject({ module }: Room, kernel: Kernel, of: Of): Subject {
  const { at, work } = kernel;
  work();
  assertEqualOutput(
    kernel.name,
    module.views.bytes.slice(at, at + SIZE),
    twinOf(kernel, of).output,
  );
  return {
    ...{ name: of === "own" ? kernel.name : `${kernel.name}, beside OpenSSL` },
    ...{ unit: "packet", bytes: SIZE },
    sample: () => sampleCalls(work, COUNT),
    sampleTwin: () => twinOf(kernel, of).ns,
  };
}

/** Their inputs lie in the room's arena. */
export function mppeSubjects(room: Room, loops: Loops): Subject[] {
  const [rc4, mppe] = kernels(room, loops);
  const own = [rc4, mppe].map((kernel) => subject(room, kernel, "own"));
  if (!hasOpenssl()) return own;
  const beside = [rc4, mppe].map((kernel) => subject(room, kernel, "openssl"));
  // Each was proven equal above. What MPPE costs over the RC4 it cannot do without.
  const both = {
    ...{ name: MPPE_BESIDE_RC4, unit: "packet", bytes: SIZE },
    sample: () => sampleCalls(mppe.work, COUNT),
    sampleTwin: () => twinOf(rc4, "openssl").ns,
  };
  return [...own, ...beside, both];
}
