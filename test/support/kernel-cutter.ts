// Runs inside a network namespace: writes super-packets to one TUN device, lets the kernel route
// them to another that has no offloads, so that it must cut them itself, and says what came out
// there. Input and output are one JSON document each.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { openTun, readTunBatch, writeTunBatch } from "node-tun";
import {
  D_ADDRESS,
  D_CAPACITY,
  D_LENGTH,
  D_SOCKET,
  D_STATUS,
  DESCRIPTOR_SIZE,
} from "../../assembly/shared/layout.js";

export interface CutterInput {
  /** Each a virtio_net_hdr and a packet, in hex. */
  writes: string[];
  /** Routes to the second device. */
  routes: string[];
  /** Packets to wait for. */
  expected: number;
}

export interface CutterResult {
  offloads: Record<string, boolean>;
  /** errno of each write. */
  statuses: number[];
  packets: string[];
}

const SLOT = 131_072;
const DEADLINE_MS = 5000;

function ip(...argv: string[]): void {
  execFileSync("ip", argv, { stdio: ["ignore", "ignore", "inherit"] });
}

function set(setting: string, value: string): void {
  writeFileSync(`/proc/sys/net/${setting}`, value);
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const memory = new Uint8Array(new SharedArrayBuffer(2 * SLOT));
const view = new DataView(memory.buffer);

/** Writes one frame by the descriptor at 0 with its bytes at SLOT; gives the errno. */
function write(fd: number, frame: Uint8Array): number {
  memory.set(frame, SLOT);
  memory.fill(0, 0, DESCRIPTOR_SIZE);
  view.setUint32(D_ADDRESS, SLOT, true);
  view.setUint32(D_LENGTH, frame.length, true);
  view.setUint16(D_SOCKET, 0, true);
  writeTunBatch(Int32Array.of(fd), memory, 0, 1);
  return view.getUint32(D_STATUS, true);
}

function read(fd: number): string | undefined {
  view.setUint32(D_ADDRESS, SLOT, true);
  view.setUint32(D_CAPACITY, SLOT, true);
  if (readTunBatch(fd, memory, 0, 1) === 0) return undefined;
  return Buffer.from(memory.slice(SLOT, SLOT + view.getUint32(D_LENGTH, true))).toString("hex");
}

function main(): CutterResult {
  const input = JSON.parse(readFileSync(0, "utf8")) as CutterInput;
  const from = openTun({ name: "from0", vnetHeader: true, offloads: true });
  const to = openTun({ name: "to0" });
  for (const device of ["from0", "to0"])
    ip("link", "set", "dev", device, "txqueuelen", "5000", "up");
  for (const setting of ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]) set(setting, "1");
  for (const scope of ["all", "from0"]) set(`ipv4/conf/${scope}/rp_filter`, "0");
  for (const route of input.routes) ip("route", "replace", route, "dev", "to0");
  const statuses = input.writes.map((hex) => write(from.fd, Buffer.from(hex, "hex")));
  const packets: string[] = [];
  const end = Date.now() + DEADLINE_MS;
  while (packets.length < input.expected && Date.now() < end) {
    const packet = read(to.fd);
    if (packet === undefined) sleep(5);
    // The kernel's own talk (multicast listener reports) is no part of it.
    else if (!/^6.{47}ff/.test(packet)) packets.push(packet);
  }
  return { offloads: { ...from.offloads }, statuses, packets };
}

process.stdout.write(JSON.stringify(main()));
