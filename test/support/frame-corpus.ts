// Frames that are kept: for each encapsulation and side one of each outcome that spoiled frames
// ever had in the hot path (what was counted: forwarded, consumed, generated, drops by name).
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { Drop } from "../../assembly/shared/drop.js";
import {
  EGRESS,
  INGRESS,
  N_CONSUMED,
  N_FORWARDED,
  N_GENERATED,
} from "../../assembly/shared/layout.js";
import { createMemory } from "../../src/datapath/memory.js";
import { compileModule, instantiateModule } from "../../src/datapath/module.js";
import { FuzzDriver, type WireMeta } from "./fuzz-driver.js";
import { CONTENTS } from "./fuzz-mesh.js";

/** Bytes in hex; `vnet` before a frame from TUN, `meta` beside one from the underlay. */
export interface KeptFrame {
  encapsulation: string;
  side: "tun" | "wire";
  outcome: string;
  bytes: string;
  vnet?: string;
  meta?: Omit<WireMeta, "from" | "before"> & { from: string; before?: string };
}

type Fed = Omit<KeptFrame, "encapsulation" | "outcome">;

const FILE = new URL("../../../test/corpus/frames.json", import.meta.url);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const raw = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));

export function keptFrames(): KeptFrame[] {
  return existsSync(FILE) ? (JSON.parse(readFileSync(FILE, "utf8")) as KeptFrame[]) : [];
}

export function keepFrames(frames: KeptFrame[]): void {
  const order = (one: KeptFrame) => `${one.encapsulation} ${one.side} ${one.outcome}`;
  frames.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  writeFileSync(FILE, `${JSON.stringify(frames, null, 1)}\n`);
}

/** A hot path that has seen nothing yet and tells what one frame does to its counters. */
export class FrameTrial extends FuzzDriver {
  /** What was fed last, where it can be kept: not with a damaged descriptor. */
  last: Fed | null = null;

  static async fresh(): Promise<FrameTrial> {
    const memory = createMemory({ workers: 2, peerCapacity: 64, prefixCapacity: 256 });
    const hot = instantiateModule(await compiled(), memory.memory);
    return new FrameTrial(hot, memory, CONTENTS, false);
  }

  override feedTun(...[vnet, packet, damage]: Parameters<FuzzDriver["feedTun"]>): void {
    const fed = { side: "tun" as const, bytes: hex(packet), vnet: hex(vnet) };
    this.last = damage === undefined ? fed : null;
    super.feedTun(vnet, packet, damage);
  }

  override feedWire(...[bytes, meta, damage]: Parameters<FuzzDriver["feedWire"]>): void {
    const { from, before, ...others } = meta;
    const texts = { from: hex(from), ...(before === undefined ? {} : { before: hex(before) }) };
    const fed = { side: "wire" as const, bytes: hex(bytes), meta: { ...others, ...texts } };
    this.last = damage === undefined ? fed : null;
    super.feedWire(bytes, meta, damage);
  }

  feed({ bytes, vnet, meta }: Fed): void {
    if (meta === undefined) {
      this.feedTun(raw(vnet ?? ""), raw(bytes));
      return;
    }
    const { from, before, ...others } = meta;
    const texts = { from: raw(from), ...(before === undefined ? {} : { before: raw(before) }) };
    this.feedWire(raw(bytes), { ...others, ...texts });
  }

  /** Runs what was fed; the names of what was counted. */
  outcome(): string {
    const before = this.#counts();
    this.run(
      () => undefined,
      () => ({ status: 0, failed: 0 }),
    );
    this.punts();
    const more = [...this.#counts()].filter(([name, count]) => count !== before.get(name));
    return more.map(([name]) => name).join(", ");
  }

  #counts(): Map<string, bigint> {
    const totals = { forwarded: N_FORWARDED, consumed: N_CONSUMED, generated: N_GENERATED };
    return new Map(
      [EGRESS, INGRESS].flatMap((way) => {
        const side = way === EGRESS ? "egress" : "ingress";
        const sums = Object.entries(totals).map(([name, at]): [string, bigint] => [
          `${side} ${name}`,
          this.counter(way, at),
        ]);
        const drops = this.drops(way).map((count, at): [string, bigint] => [
          `${side} ${Drop[at]}`,
          count,
        ]);
        return [...sums, ...drops];
      }),
    );
  }
}

let module: Promise<WebAssembly.Module> | undefined;

function compiled(): Promise<WebAssembly.Module> {
  module ??= compileModule();
  return module;
}
