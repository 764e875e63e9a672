// The list of what is measured. A measure gives one or several figures of one carrier; each figure
// is a row of the table.
import type { Carrier } from "../network/carriers.js";
import { withCubic } from "../network/cubic.js";
import type { Lab } from "../network/lab.js";
import { residentBytes } from "../support/processes.js";
import { measureIdle } from "./idle.js";
import { measurePing } from "./ping.js";
import { measureTcp } from "./tcp.js";
import { measureUdp, searchLossless } from "./udp.js";

/** A row of the table. */
export interface Figure {
  title: string;
  unit: string;
  /** Whether the ratio to kernel VXLAN is of interest. */
  isCompared: boolean;
}

export const FIGURES = {
  idle: { title: "idle, each daemon", unit: "% of a core", isCompared: false },
  tcp1: { title: "TCP 1 stream", unit: "Gbit/s", isCompared: true },
  daemons: { title: "  CPU of both daemons", unit: "s/GB", isCompared: false },
  machine: { title: "  CPU of the machine", unit: "s/GB", isCompared: true },
  resident: { title: "  resident memory", unit: "MB", isCompared: false },
  tcp1cubic: { title: "TCP 1 stream, CUBIC at once", unit: "Gbit/s", isCompared: true },
  tcp4: { title: "TCP 4 streams", unit: "Gbit/s", isCompared: true },
  udp1400: { title: "UDP 1400 B flood, received", unit: "kpps", isCompared: true },
  udp64: { title: "UDP 64 B flood, received", unit: "kpps", isCompared: true },
  udp64lossless: { title: "UDP 64 B, loss <= 0.5 %", unit: "kpps", isCompared: true },
  ping50: { title: "ping p50", unit: "us", isCompared: true },
  ping99: { title: "ping p99", unit: "us", isCompared: true },
} as const satisfies Record<string, Figure>;

export type FigureName = keyof typeof FIGURES;
export type Values = Partial<Record<FigureName, number>>;

type Measure = (lab: Lab, carrier: Carrier, seconds: number) => Promise<Values>;

const floodSeconds = (seconds: number) => Math.max(1, Math.round(seconds / 2));

const flood =
  (figure: "udp1400" | "udp64", size: number): Measure =>
  async (lab, carrier, seconds) => {
    const flow = { size, seconds: floodSeconds(seconds), rate: 0 };
    return { [figure]: (await measureUdp(lab, carrier, flow)).packetsPerSecond / 1000 };
  };

/** In the order they are taken. */
export const MEASURES = {
  idle: async (_, { pids }): Promise<Values> => {
    return pids.length > 0 ? { idle: await measureIdle(pids) } : {};
  },
  tcp1: async (lab, carrier, seconds) => {
    const got = await measureTcp(lab, carrier, 1, seconds);
    const own = {
      daemons: got.daemonSecondsPerGB,
      resident: carrier.pids.length > 0 ? residentBytes(carrier.pids) / 1e6 : 0,
    };
    const all = { tcp1: got.gigabitsPerSecond, machine: got.machineSecondsPerGB };
    return carrier.pids.length > 0 ? { ...all, ...own } : all;
  },
  // iperf3 sets CUBIC after it has connected. Where the host's default is BBR, the socket keeps
  // that one's pacing for good, which costs what is fast more than what is slow.
  tcp1cubic: async (lab, carrier, seconds) => {
    const transfer = () => measureTcp(lab, carrier, 1, seconds);
    const got = await withCubic(lab.client.namespace, carrier.address, transfer);
    return { tcp1cubic: got.gigabitsPerSecond };
  },
  tcp4: async (lab, carrier, seconds) => {
    return { tcp4: (await measureTcp(lab, carrier, 4, seconds)).gigabitsPerSecond };
  },
  udp1400: flood("udp1400", 1400),
  udp64: flood("udp64", 64),
  udp64lossless: async (lab, carrier) => {
    return { udp64lossless: (await searchLossless(lab, carrier, 64)) / 1000 };
  },
  ping: async (lab, carrier) => {
    const { p50_us, p99_us } = await measurePing(lab, carrier);
    return { ping50: p50_us, ping99: p99_us };
  },
} as const satisfies Record<string, Measure>;

export type MeasureName = keyof typeof MEASURES;
