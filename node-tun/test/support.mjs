// What the suites share: a batch of descriptors in shared memory, and an own network namespace.
import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import {
  closeDescriptor,
  descriptorLayout as D,
  openPoller,
  pollerAdd,
  pollerWait,
} from "../dist/index.js";

const SLOT = 70000;
const MAX_DESCRIPTORS = 300;

/** Descriptors and their slots in one shared WebAssembly memory. */
export class Batch {
  constructor(pages = 400) {
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.memory = new Uint8Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.at = 65536;
    this.slots = this.at + MAX_DESCRIPTORS * D.DESCRIPTOR_SIZE;
  }

  /** Address of descriptor i. */
  of(i) {
    return this.at + i * D.DESCRIPTOR_SIZE;
  }

  /** Presets `count` descriptors for a read, `capacity` bytes each, filled with 0xa5 all over. */
  preset(count, capacity = SLOT) {
    this.memory.fill(0xa5, this.at, this.of(count));
    for (let i = 0; i < count; i++) {
      this.view.setUint32(this.of(i) + D.D_ADDRESS, this.slots + i * capacity, true);
      this.view.setUint32(this.of(i) + D.D_CAPACITY, capacity, true);
    }
    return this;
  }

  /** Writes descriptor i for a send, with its bytes in slot i of `room` bytes. */
  put(i, packet, room = SLOT) {
    const at = this.of(i);
    const address = packet.address ?? this.slots + i * room;
    this.memory.fill(0, at, at + D.DESCRIPTOR_SIZE);
    if (packet.bytes) this.memory.set(packet.bytes, address);
    this.view.setUint32(at + D.D_ADDRESS, address, true);
    this.view.setUint32(at + D.D_LENGTH, packet.length ?? packet.bytes.length, true);
    this.view.setUint16(at + D.D_SEGMENT, packet.segment ?? 0, true);
    this.view.setUint8(at + D.D_TOS, packet.tos ?? 0);
    this.view.setUint16(at + D.D_SOCKET, packet.socket ?? 0, true);
    this.view.setUint16(at + D.D_PORT, packet.port ?? 0, true);
    this.view.setUint8(at + D.D_FAMILY, packet.family ?? 4);
    this.view.setUint16(at + D.D_SEGMENTS, packet.segments ?? 0, true);
    this.view.setUint32(at + D.D_STATUS, 9999, true);
    this.view.setUint16(at + D.D_FAILED, 9999, true);
    this.memory.set(packet.peer ?? [], at + D.D_PEER);
    this.memory.set(packet.local ?? [], at + D.D_LOCAL);
  }

  /** Descriptor i as an object; bytes is a copy. */
  get(i) {
    const at = this.of(i);
    const u32 = (offset) => this.view.getUint32(at + offset, true);
    const u16 = (offset) => this.view.getUint16(at + offset, true);
    const u8 = (offset) => this.view.getUint8(at + offset);
    const length = u32(D.D_LENGTH);
    const address = u32(D.D_ADDRESS);
    return {
      length,
      segment: u16(D.D_SEGMENT),
      tos: u8(D.D_TOS),
      flags: u8(D.D_FLAGS),
      socket: u16(D.D_SOCKET),
      port: u16(D.D_PORT),
      family: u8(D.D_FAMILY),
      status: u32(D.D_STATUS),
      failed: u16(D.D_FAILED),
      peer: [...this.memory.slice(at + D.D_PEER, at + D.D_PEER + 16)],
      local: [...this.memory.slice(at + D.D_LOCAL, at + D.D_LOCAL + 16)],
      bytes: Buffer.from(this.memory.slice(address, address + length)),
    };
  }

  /** Reads until `wanted` packets came or nothing comes for `quiet_ms`; gives them as objects. */
  collect(read, fd, wanted, quiet_ms = 3000) {
    const poller = openPoller();
    pollerAdd(poller, fd, 1);
    const ready = new Uint32Array(1);
    const packets = [];
    while (packets.length < wanted && pollerWait(poller, ready, quiet_ms * 1000) > 0) {
      this.preset(64);
      const count = read(fd, this.memory, this.at, 64);
      for (let i = 0; i < count; i++) packets.push(this.get(i));
    }
    closeDescriptor(poller);
    return packets;
  }
}

/** 16 bytes of an address field, IPv4 in the first 4. */
export function field(...bytes) {
  return [...bytes, ...new Array(16 - bytes.length).fill(0)];
}

export const LOOPBACK4 = field(127, 0, 0, 1);
export const LOOPBACK6 = [...new Array(15).fill(0), 1];

/** Bytes that differ from place to place. */
export function pattern(length, seed = 1) {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13 + (i >> 8)) & 0xff);
}

/** Runs one `ip` command in this process' namespace. */
export function ip(...argv) {
  return execFileSync("ip", argv, { encoding: "utf8" });
}

/** The error that `action` throws. */
export function thrownBy(action) {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/**
 * Runs the suite in a network namespace of its own: the first process starts itself again below
 * `unshare -n` and ends with its exit code; the namespace goes with the last process in it.
 * Gives false when that is not allowed (not root): the suite then counts its tests as skipped.
 */
export function enterNamespace(url) {
  if (process.env.NODE_TUN_NAMESPACE === "1") {
    ip("link", "set", "lo", "up");
    return true;
  }
  if (process.getuid?.() !== 0) return false;
  const argv = ["-n", process.execPath, ...process.execArgv, fileURLToPath(url)];
  const env = { ...process.env, NODE_TUN_NAMESPACE: "1" };
  const child = spawnSync("unshare", argv, { stdio: "inherit", env });
  process.exit(child.status ?? 1);
}

/** uvu's test, or its skip (with the reason printed) where the namespace is not to be had. */
export function inNamespace(test, entered) {
  if (entered) return test;
  const { skip: countAsSkipped } = test;
  return (name, body) => {
    console.log(`  SKIPPED (needs root): ${name}`);
    countAsSkipped(name, body);
  };
}
