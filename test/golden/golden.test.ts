// Golden cases: captures of the kernel's VXLAN through the built hot path. See README.md here.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import { EGRESS, INGRESS } from "../../assembly/shared/layout.js";
import type { TableContents } from "../../src/datapath/types.js";
import { FuzzDriver, type Output } from "../support/fuzz-driver.js";
import { shapeOf } from "../support/judge.js";
import { concat } from "../support/packets.js";
import { comparable, expand } from "../support/worker-room.js";

interface Case {
  direction: "ingress" | "egress";
  in: string;
  out: string | null;
  contents: TableContents;
}

type Drops = Record<"egress" | "ingress", Record<string, number>>;

const FOLDER = "test/golden";
const ETHERNET = 14;
const UDP_PAYLOAD = ETHERNET + 20 + 8;
const PLAIN_VNET = new Uint8Array(10);
const sent = () => ({ status: 0, failed: 0 });

/** Frames of a little-endian pcap file. */
function readPcap(path: string): Uint8Array[] {
  const bytes = new Uint8Array(readFileSync(path));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  assert.is(view.getUint32(0, true), 0xa1b2c3d4, `${path} is a pcap file of this byte order`);
  const frames: Uint8Array[] = [];
  for (let at = 24; at < bytes.length; ) {
    const length = view.getUint32(at + 8, true);
    assert.is(view.getUint32(at + 12, true), length, "no frame was cut short");
    frames.push(bytes.slice(at + 16, at + 16 + length));
    at += 16 + length;
  }
  return frames;
}

const payloadsOf = (path: string) => readPcap(path).map((frame) => frame.slice(UDP_PAYLOAD));
const packetsOf = (path: string) => readPcap(path).map((frame) => frame.slice(ETHERNET));

function expandTun(output: Output): Uint8Array[] {
  return expand({
    ...{ ...output, isInArena: true },
    ...{ vnet: output.bytes.slice(0, 10), packet: output.bytes.slice(10) },
  });
}

function feedDatagrams(driver: FuzzDriver, path: string): Uint8Array[] {
  const out: Uint8Array[] = [];
  const run = () => driver.run((tun) => out.push(...tun.flatMap(expandTun)), sent);
  for (const frame of readPcap(path)) {
    if (driver.wireFree === 0) run();
    const from = concat(frame.slice(ETHERNET + 12, ETHERNET + 16), new Uint8Array(12));
    driver.feedWire(frame.slice(UDP_PAYLOAD), { from, family: 4, tos: frame[ETHERNET + 1] ?? 0 });
  }
  run();
  return out;
}

function feedPackets(driver: FuzzDriver, path: string): Uint8Array[] {
  const out: Uint8Array[] = [];
  const cut = ({ bytes, segment, segments }: Output) =>
    Array.from({ length: segments }, (_, i) =>
      segments === 1 ? bytes.slice() : bytes.slice(i * segment, (i + 1) * segment),
    );
  const run = () => driver.run((_, wire) => out.push(...wire.flatMap(cut)), sent);
  for (const packet of packetsOf(path)) {
    if (driver.tunFree === 0) run();
    driver.feedTun(PLAIN_VNET, packet);
  }
  run();
  return out;
}

/** Packets by protocol and addresses, in order. */
function byFlow(packets: Uint8Array[], skip: number): Record<string, string[]> {
  const flows: Record<string, string[]> = {};
  for (const bytes of packets) {
    const packet = bytes.slice(skip);
    const shape = shapeOf(packet);
    if (typeof shape === "string") throw new Error(shape);
    const ports = Buffer.from(packet.slice(shape.offset, shape.offset + 4)).toString("hex");
    const key = `${shape.version} ${shape.protocol} ${shape.protocol === 1 ? "" : ports}`;
    const head = Buffer.from(bytes.slice(0, skip)).toString("hex");
    flows[key] = [...(flows[key] ?? []), head + comparable(packet)];
  }
  return flows;
}

function dropsOf(driver: FuzzDriver): Drops {
  const named = (direction: number) =>
    Object.fromEntries(
      driver
        .drops(direction)
        .map((count, reason): [string, number] => [Drop[reason] ?? `${reason}`, Number(count)])
        .filter(([, count]) => count > 0),
    );
  return { egress: named(EGRESS), ingress: named(INGRESS) };
}

for (const name of readdirSync(FOLDER).sort()) {
  const folder = join(FOLDER, name);
  if (!existsSync(join(folder, "config.json"))) continue;
  const golden = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Case;
  const isIngress = golden.direction === "ingress";

  test(`golden case ${name}: packets and drops are as expected`, async () => {
    const driver = await FuzzDriver.open(golden.contents);
    const source = join(folder, golden.in);
    const out = isIngress ? feedDatagrams(driver, source) : feedPackets(driver, source);
    const drops = dropsOf(driver);
    const dropsPath = join(folder, "drops.json");
    if (process.argv.includes("--write")) {
      writeFileSync(dropsPath, `${JSON.stringify(drops, undefined, 2)}\n`);
    }
    assert.equal(drops, JSON.parse(readFileSync(dropsPath, "utf8")));
    const wanted = golden.out === null ? [] : join(folder, golden.out);
    const expected =
      typeof wanted !== "string" ? wanted : isIngress ? packetsOf(wanted) : payloadsOf(wanted);
    const skip = isIngress ? 0 : 22;
    assert.is(out.length, expected.length);
    assert.equal(byFlow(out, skip), byFlow(expected, skip));
  });
}

test.run();
