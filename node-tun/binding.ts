// Loads the addon: the one built here first, then the one that came with the package.
// Everything here speaks plain numbers; index.ts gives them names.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SystemCallError } from "./errors.js";
import type {
  DescriptorMessage,
  Exchange,
  LoadListener,
  ReceivedDatagrams,
  ReceivedStream,
} from "./types.js";

type ReadBatch = (
  fd: number,
  memory: Uint8Array,
  at: number,
  count: number,
  socketIndex?: number,
) => number;
type WriteBatch = (fds: Int32Array, memory: Uint8Array, at: number, count: number) => number;

type Steer = (
  fd: number,
  cpus: Uint32Array,
  busy: number,
  stamps: number,
  flows: number,
  packetAt: number,
  geneve: boolean,
) => void;

export interface NativeQueue {
  fd: number;
  name: string;
  is: number;
  offloads: number;
}

export interface NativeSocket {
  fd: number;
  address: string;
  port: number;
  granted: number;
  sendBuffer: number;
  receiveBuffer: number;
}

/** What the C files register. */
export interface Binding {
  setErrorClass(errorClass: typeof SystemCallError): void;
  openTun(name: string, wants: number, persist: number): NativeQueue;
  adoptTun(fd: number): NativeQueue;
  setTunPersist(fd: number, on: boolean): void;
  attachTun(fd: number, on: boolean): void;
  openUdp(
    family: number,
    address: string,
    port: number,
    wants: number,
    sendBuffer: number,
    receiveBuffer: number,
    device: string,
  ): NativeSocket;
  adoptUdp(fd: number): NativeSocket;
  setUdpChecksums(fd: number, send: boolean, zeroes: boolean): void;
  receiveDrops(fd: number): number;
  probePort(family: number, address: string, port: number): boolean;
  openRaw(
    family: number,
    protocol: number,
    shareIndex: number,
    shareCount: number,
    address: string,
    sendBuffer: number,
    receiveBuffer: number,
    receive: boolean,
    fragments: boolean,
  ): { fd: number };
  filterRaw(
    fd: number,
    family: number,
    protocol: number,
    shareIndex: number,
    shareCount: number,
    sources: Uint8Array,
    sample: number,
  ): void;
  closeDescriptor(fd: number): void;
  openSocketPair(): [number, number];
  sendDescriptors(unixSocketFd: number, fds: number[], data?: Uint8Array): void;
  receiveDescriptors(unixSocketFd: number, max: number): DescriptorMessage;
  readTunBatch: ReadBatch;
  readUdpBatch: ReadBatch;
  readRawBatch: ReadBatch;
  writeTunBatch: WriteBatch;
  writeUdpBatch: WriteBatch;
  writeRawBatch: WriteBatch;
  openPoller(): number;
  pollerAdd(poller: number, fd: number, token: number): void;
  pollerRemove(poller: number, fd: number): void;
  pollerWait(poller: number, ready: Uint32Array, timeout_us: number): number;
  exchangePlan(): Record<string, number>;
  openExchange(memory: Uint8Array, plan: Uint32Array, guard: Uint32Array): Exchange;
  openWake(): number;
  wake(fd: number): void;
  clearWake(fd: number): void;
  openEvents(protocol: number, groups: Uint32Array): number;
  readEvents(fd: number, types: Uint32Array): number;
  linkMtu(name: string): number;
  linkFeature(name: string, feature: string): boolean;
  steerTun: Steer;
  unsteerTun(fd: number): void;
  steerUdp: Steer;
  gatherUdp(fd: number, index: number): void;
  spreadUdp(fd: number): void;
  openStamps(): number;
  openFlows(): number;
  mapStamps(fd: number): ArrayBuffer;
  pinThread(cpu: number): void;
  setThreadSlice(microseconds: number): boolean;
  allowedCpus(): number[];
  releasePages(): number;
  loadListen(family: number, datagrams: boolean, address: string, port: number): LoadListener;
  loadAccept(fd: number, timeout_us: number): number;
  loadConnect(
    family: number,
    datagrams: boolean,
    source: string,
    address: string,
    port: number,
    timeout_us: number,
    congestion: string,
  ): number;
  loadRead(fd: number, bytes: Uint8Array, timeout_us: number): number;
  loadWrite(fd: number, bytes: Uint8Array, timeout_us: number): number;
  loadSendStream(fd: number, bytes: Uint8Array, duration_us: number): number;
  loadReceiveStream(fd: number, bytes: Uint8Array, timeout_us: number): ReceivedStream;
  loadSendDatagrams(fd: number, payload: Uint8Array, rate: number, duration_us: number): number;
  loadCountDatagrams(fd: number, begin: Uint8Array, timeout_us: number): ReceivedDatagrams;
  loadPing(
    family: number,
    source: string,
    address: string,
    times_ns: Uint32Array,
    identifier: number,
    interval_us: number,
    timeout_us: number,
  ): number;
  descriptorLayout: Record<string, number>;
}

function load(): Binding {
  const root = join(dirname(fileURLToPath(import.meta.url)), "..");
  const require = createRequire(import.meta.url);
  const places = [join("build"), join("prebuilds", `linux-${process.arch}`)];
  const refusals: string[] = [];
  for (const place of places) {
    try {
      return require(join(root, place, "node-tun.node")) as Binding;
    } catch (error) {
      refusals.push(error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error));
    }
  }
  throw new Error(
    `node-tun: no addon for ${process.platform}-${process.arch} loads; build it with ` +
      `\`npm rebuild node-tun\` (needs gcc and libc6-dev): ${refusals.join("; ")}`,
  );
}

export const binding: Binding = load();
binding.setErrorClass(SystemCallError);
