// The Internet checksum at three sizes: headers, a full packet, a super-packet.
import { W_TUN_ARENA } from "../../assembly/shared/layout.js";
import { Random } from "../../test/support/random.js";
import type { Room } from "./room.js";
import { type Row, sampleLoop, statistics } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const SIZES = [40, 1460, 64_000];

/** Rows; `call_ns` is what a call from JavaScript costs by itself. */
export function checksumRows(room: Room, call_ns: number): Row[] {
  const { module } = room;
  const at = module.base + W_TUN_ARENA;
  return SIZES.map((size) => {
    const bytes = new Random(size).bytes(size);
    module.views.bytes.set(bytes, at);
    const sum = module.hot.checksum(at, size, 0);
    const twin = runTwin(["checksum"], bytes);
    assertEqualOutput(`checksum ${size} B`, Uint8Array.of(sum & 0xff, sum >> 8), twin.output);
    const samples = sampleLoop((calls) => {
      for (let i = 0; i < calls; i++) module.hot.checksum(at, size, i);
    });
    const { ns, ns99 } = statistics(samples, 1);
    const own = { ns: ns - call_ns, ns99: ns99 - call_ns, twin_ns: twin.ns };
    return { name: `checksum ${size} B`, unit: "sum", bytes: size, ...own };
  });
}

/** What a call into the module costs that does nothing. */
export function callRow(room: Room): Row {
  const samples = sampleLoop((calls) => {
    for (let i = 0; i < calls; i++) room.module.hot.layoutVersion();
  });
  return { name: "call JavaScript -> wasm", unit: "call", ...statistics(samples, 1) };
}
