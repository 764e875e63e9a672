// A node's datapath without an agent: runs inside a network namespace, is told everything by JSON
// lines on its standard input and answers by JSON lines. Ends when its input ends.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { C_TABLES_AT, CONTROL } from "../../assembly/shared/layout.js";
import type { Crew } from "../../src/datapath/crew.js";
import {
  type CallEnd,
  type CallSettings,
  Datapath,
  type DatapathOptions,
  type MppeKeys,
  type TableContents,
} from "../../src/datapath/index.js";
import type { DatapathMemory } from "../../src/datapath/memory.js";

/** First line of the input. Addresses are CIDRs set on the device, routes CIDRs led to it. */
export interface HostConfig {
  datapath: Omit<DatapathOptions, "log">;
  contents: TableContents;
  addresses: string[];
  routes: string[];
}

/** Every later line. */
export type HostCommand =
  | {
      do:
        | "counters"
        | "workers"
        | "heaps"
        | "offloads"
        | "generation"
        | "usage"
        | "steering"
        | "listen"
        | "traffic"
        | "look"
        | "pid";
    }
  | { do: "publish"; contents: TableContents }
  | { do: "rebind"; underlay: DatapathOptions["underlay"] }
  | { do: "inject"; packet: string }
  | { do: "terminate" | "trap"; worker: number }
  | { do: "call-reserve" }
  | { do: "call-open"; slot: number; end: CallEnd }
  | { do: "call-set"; slot: number; settings: SpokenSettings }
  | { do: "call-send"; slot: number; frame: string }
  | { do: "call-statistics" | "call-close"; slot: number }
  | { do: "close" | "exit" };

/** Settings of a call, whose keys are in hexadecimal. */
export type SpokenSettings = Partial<Omit<CallSettings, "receive" | "send">> & {
  receive?: SpokenKeys | null;
  send?: SpokenKeys | null;
};
export type SpokenKeys = Omit<MppeKeys, "startKey"> & { startKey: string };

const keysOf = (spoken: SpokenKeys): MppeKeys => ({
  ...spoken,
  startKey: Buffer.from(spoken.startKey, "hex"),
});

function settingsOf({ receive, send, ...rest }: SpokenSettings): Partial<CallSettings> {
  return {
    ...rest,
    ...(receive === undefined ? {} : { receive: receive === null ? null : keysOf(receive) }),
    ...(send === undefined ? {} : { send: send === null ? null : keysOf(send) }),
  };
}

function say(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function ip(...argv: string[]): void {
  execFileSync("ip", argv, { stdio: ["ignore", "ignore", "inherit"] });
}

/** As the agent does: ICMP errors come in with an address of this host, so it must accept such. */
function setUpDevice(config: HostConfig): void {
  const device = config.datapath.deviceName;
  writeFileSync(`/proc/sys/net/ipv4/conf/${device}/accept_local`, "1");
  ip("link", "set", "dev", device, "mtu", `${config.contents.self.mtu}`);
  for (const address of config.addresses) {
    const noWait = address.includes(":") ? ["nodad"] : [];
    ip("address", "replace", address, "dev", device, ...noWait);
  }
  ip("link", "set", "dev", device, "gso_max_size", "61000", "up");
  for (const route of config.routes) ip("route", "replace", route, "dev", device);
}

const hidden = <T>(datapath: Datapath, name: string): T => Reflect.get(datapath, name) as T;

/** Makes the next table lookup leave the memory: a trap. Mended once the worker is dead. */
function trap(datapath: Datapath, worker: number): void {
  const { words } = hidden<DatapathMemory>(datapath, "memory");
  const index = (CONTROL + C_TABLES_AT) / 4;
  const saved = [words[index] ?? 0, words[index + 1] ?? 0];
  words.fill(0xffff_ff00, index, index + 2);
  const watch = setInterval(() => {
    if (datapath.workers()[worker]?.state !== "dead") return;
    words.set(saved, index);
    clearInterval(watch);
  }, 1);
  watch.unref();
}

async function answer(datapath: Datapath, command: HostCommand): Promise<unknown> {
  switch (command.do) {
    case "counters":
      return datapath.counters();
    case "workers":
      return datapath.workers();
    case "heaps":
      await datapath.measureHeaps();
      return datapath.workers().map(({ heap }) => heap);
    case "offloads":
      return datapath.offloads();
    case "generation":
      return datapath.generation();
    case "steering":
      return datapath.steering();
    case "listen":
      return datapath.listen();
    case "traffic":
      return datapath.traffic();
    case "look":
      datapath.strangers.look();
      return datapath.strangers.status();
    case "pid":
      return process.pid;
    case "usage":
      return process.cpuUsage();
    case "publish":
      return datapath.publish(command.contents);
    case "rebind":
      return datapath.rebind(command.underlay);
    case "inject":
      return datapath.inject(Buffer.from(command.packet, "hex"));
    case "terminate":
      return hidden<Crew>(datapath, "crew").terminate(command.worker);
    case "trap":
      return trap(datapath, command.worker);
    case "call-reserve":
      return datapath.calls.reserve();
    case "call-open":
      return datapath.calls.open(command.slot, command.end);
    case "call-set":
      return datapath.calls.set(command.slot, settingsOf(command.settings));
    case "call-send":
      return datapath.calls.send(command.slot, Buffer.from(command.frame, "hex"));
    case "call-statistics":
      return datapath.calls.statistics(command.slot);
    case "call-close":
      return datapath.calls.close(command.slot);
    case "close":
      return datapath.close();
    case "exit":
      return process.exit(0);
  }
}

async function serve(config: HostConfig): Promise<Datapath> {
  const log = (event: string, fields: Record<string, unknown>) => say({ event, ...fields });
  const datapath = await Datapath.open({ ...config.datapath, log });
  datapath.onPunt((packet, kind, peer) => {
    say({ event: "punt", packet: Buffer.from(packet).toString("hex"), kind, peer });
  });
  datapath.calls.onFrame((slot, frame) => {
    say({ event: "frame", slot, frame: Buffer.from(frame).toString("hex") });
  });
  datapath.on("round", () => say({ event: "round" }));
  datapath.on("device-recreated", () => setUpDevice(config));
  datapath.publish(config.contents);
  setUpDevice(config);
  return datapath;
}

async function main(): Promise<void> {
  let datapath: Datapath | undefined;
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      if (datapath === undefined) {
        datapath = await serve(JSON.parse(line) as HostConfig);
        say({ reply: "ready" });
      } else {
        say({ reply: (await answer(datapath, JSON.parse(line) as HostCommand)) ?? null });
      }
    } catch (error) {
      const { name, code, message } = error as Error & { code?: string };
      say({ refused: { name, code, message } });
    }
  }
  await datapath?.close();
}

await main();
