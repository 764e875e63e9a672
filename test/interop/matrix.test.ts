// Every encapsulation against a real kernel, both families inside and outside, both directions.
// tcpdump captures the underlay and tshark judges every frame of both ends.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type KernelPeer, peerTest, whyAbsent } from "../peers/index.js";
import { wrongFrames } from "../support/capture.js";
import { formatMatrix, type Row } from "./matrix.js";
import { type Family, PROTOCOLS, type Tunnel } from "./protocols.js";
import { type Cell, type Connected, openScene, type Scene, withTunnel } from "./scene.js";
import { checkPing, checkTcp, checkUdp, DIRECTIONS, type Direction } from "./traffic.js";

const test = suite("interop");
const FAMILIES: readonly Family[] = [4, 6];
const FAIL = "FAIL";
const rows: Row[] = [];
let scene: Scene | undefined;
let guest: KernelPeer | undefined;

test.before(async () => {
  if (whyAbsent() !== undefined) return;
  scene = await openScene();
  guest = scene.guest;
});

test.after(async () => {
  await guest?.stop();
  if (rows.length > 0) process.stdout.write(`\n${formatMatrix(rows)}\n`);
});

async function checkDirection(row: Row, connected: Connected): Promise<void> {
  row.ping = await checkPing(connected, row.direction);
  row.tcp = await checkTcp(connected, row.direction);
  row.udp = await checkUdp(connected, row.direction);
}

/** The capture holds full-size packets of the tunnel, and none with a fault. */
async function judge({ capture, sender }: Connected, cell: Cell, tunnel: Tunnel): Promise<string> {
  await capture.stop();
  const decoded = cell.protocol.decoded(tunnel);
  const count = capture.frames(`${decoded} && tcp.len > 1000`).length;
  assert.ok(count > 1000, `${count} frames are what they ought to be`);
  const wrong = capture.frames(wrongFrames(sender));
  assert.equal(wrong.slice(0, 5), [], `${wrong.length} frames at fault`);
  return `0 of ${capture.frames("").length}`;
}

function openRows(cell: Cell): Row[] {
  const nothing = { ping: FAIL, tcp: FAIL, udp: FAIL, capture: FAIL };
  return DIRECTIONS.map((direction: Direction) => ({ cell, direction, ...nothing }));
}

async function checkCell(cell: Cell): Promise<void> {
  assert.ok(scene, "the kernel peer runs");
  const own = openRows(cell);
  rows.push(...own);
  await withTunnel(scene, cell, async (connected, tunnel) => {
    for (const row of own) await checkDirection(row, connected);
    const verdict = await judge(connected, cell, tunnel);
    for (const row of own) row.capture = verdict;
  });
}

for (const protocol of PROTOCOLS) {
  for (const underlay of FAMILIES) {
    for (const inner of FAMILIES) {
      const name = `${protocol.name} carries IPv${inner} over IPv${underlay} to and from a kernel`;
      peerTest(test, name, () => checkCell({ protocol, inner, underlay }));
    }
  }
}

test.run();
