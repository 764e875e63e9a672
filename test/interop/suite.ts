// One encapsulation against a real kernel, both families inside and outside, both directions.
// tcpdump captures the underlay and tshark judges every frame of both ends.
import { suite, type Test } from "uvu";
import * as assert from "uvu/assert";
import { peerTest, whyAbsent } from "../peers/index.js";
import { wrongFrames } from "../support/capture.js";
import { formatMatrix, type Row } from "./matrix.js";
import { type Family, PROTOCOLS, type Protocol, type Tunnel } from "./protocols.js";
import { type Cell, type Connected, openScene, type Scene, withTunnel } from "./scene.js";
import { checkPing, checkTcp, checkUdp, DIRECTIONS, type Direction } from "./traffic.js";

const FAMILIES: readonly Family[] = [4, 6];
const FAIL = "FAIL";
const rows: Row<Direction>[] = [];
let scene: Scene | undefined;

async function checkDirection(row: Row<Direction>, connected: Connected): Promise<void> {
  row.ping = await checkPing(connected, row.direction);
  row.tcp = await checkTcp(connected, row.direction);
}

/** The capture holds full-size packets of the tunnel, and none with a fault. */
async function judge({ capture }: Connected, cell: Cell, tunnel: Tunnel): Promise<string> {
  await capture.stop();
  const { protocol, inner } = cell;
  const carried = inner === 4 ? "tcp || icmp" : "tcp || icmpv6";
  const decoded = protocol.decoded(tunnel);
  const strange = `(${carried}) && !(${decoded})`;
  const faulty = wrongFrames(tunnel.local, tunnel.remote);
  const [count = 0, ...others] = capture.counts([`${decoded} && (${carried})`, strange, faulty]);
  // Both streams in full-size packets, and what answers and measures.
  const least = protocol.tcpBytes / 2000;
  assert.ok(count > least, `${count} frames are what they ought to be`);
  capture.assertNone([strange, faulty], others);
  return `0 of ${count}`;
}

function openRows(cell: Cell): Row<Direction>[] {
  const nothing = { ping: FAIL, tcp: FAIL, udp: FAIL, capture: FAIL };
  return DIRECTIONS.map((direction: Direction) => ({ cell, direction, ...nothing }));
}

async function checkCell(cell: Cell): Promise<void> {
  assert.ok(scene, "the kernel peer runs");
  const own = openRows(cell);
  rows.push(...own);
  await withTunnel(scene, cell, async (connected, tunnel) => {
    for (const row of own) await checkDirection(row, connected);
    const sent = await checkUdp(connected);
    for (const row of own) row.udp = sent.get(row.direction) ?? FAIL;
    const verdict = await judge(connected, cell, tunnel);
    for (const row of own) row.capture = verdict;
  });
}

function registerCells(test: Test, protocol: Protocol): void {
  for (const underlay of FAMILIES) {
    for (const inner of FAMILIES) {
      if (protocol.isShort === true && inner !== underlay) continue;
      const { name: spoken, title = spoken } = protocol;
      const name = `${title} carries IPv${inner} over IPv${underlay} to and from a kernel`;
      peerTest(test, name, () => checkCell({ protocol, inner, underlay }));
    }
  }
}

/** The suite of one encapsulation, with a kernel of its own; prints its part of the matrix. */
export function runInterop(name: Protocol["name"]): void {
  const test = suite(`interop: ${name}`);
  test.before(async () => {
    if (whyAbsent() === undefined) scene = await openScene();
  });
  test.after(async () => {
    await scene?.guest.stop();
    if (rows.length > 0) process.stdout.write(`\n${formatMatrix(rows)}`);
  });
  for (const protocol of PROTOCOLS) if (protocol.name === name) registerCells(test, protocol);
  test.run();
}
