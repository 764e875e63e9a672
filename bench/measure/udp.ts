// UDP by a sender and a sink of our own (native/udp-load.c): what arrives of a flood, and the
// highest rate of which almost all arrives.
import { once } from "node:events";
import { createInterface } from "node:readline";
import { runIn, spawnIn } from "../../test/support/netns.js";
import type { Carrier } from "../network/carriers.js";
import type { Lab } from "../network/lab.js";
import { nativeProgram } from "../support/native.js";

const PORT = "9000";
/** Share of packets that may be lost where we say "no loss": a few are, on any shared machine. */
export const LOSS_MAX = 0.005;
const SEARCH_STEPS = 6;
const SEARCH_SECONDS = 1;

export interface Flow {
  /** Bytes of UDP payload. */
  size: number;
  seconds: number;
  /** Packets per second, evenly; 0 = as fast as the sender can. */
  rate: number;
}

export interface UdpResult {
  sent: number;
  received: number;
  /** Packets per second from the first to the last that arrived. */
  packetsPerSecond: number;
  loss: number;
}

/** Starts the sink; `finish` asks it to end and gives its count. */
async function startSink(lab: Lab, carrier: Carrier) {
  const argv = [nativeProgram("udp-load"), "sink", carrier.address, PORT];
  const sink = spawnIn(lab.server.namespace, argv);
  if (sink.stdout === null) throw new Error("the sink has no output");
  const lines = createInterface({ input: sink.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.value !== "ready") throw new Error("udp-load sink did not start");
  const closed = once(sink, "close");
  const finish = async () => {
    sink.kill("SIGTERM");
    const last = await lines.next();
    await closed;
    return JSON.parse(String(last.value)) as { packets: number; seconds: number };
  };
  return finish;
}

/** Sends one flow from client to server and counts what arrives. */
export async function measureUdp(lab: Lab, carrier: Carrier, flow: Flow): Promise<UdpResult> {
  const finish = await startSink(lab, carrier);
  const numbers = [flow.size, flow.seconds, flow.rate].map(String);
  const argv = [nativeProgram("udp-load"), "send", carrier.address, PORT, ...numbers];
  const done = await runIn(lab.client.namespace, argv);
  const { packets, seconds } = await finish();
  if (done.code !== 0) throw new Error(done.stderr.trim());
  const { sent } = JSON.parse(done.stdout) as { sent: number };
  return {
    sent,
    received: packets,
    packetsPerSecond: seconds > 0 ? packets / seconds : 0,
    loss: sent > 0 ? 1 - packets / sent : 1,
  };
}

/**
 * What came through at a rate, in packets per second, or 0 where too much was lost. A second try
 * tells a path's limit from a machine's hiccup.
 */
async function carried(lab: Lab, carrier: Carrier, size: number, rate: number): Promise<number> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const got = await measureUdp(lab, carrier, { size, seconds: SEARCH_SECONDS, rate });
    // A sender kept from the processor sends at less than the rate asked for: its own rate counts.
    if (got.loss <= LOSS_MAX) return Math.min(rate, got.packetsPerSecond);
  }
  return 0;
}

/**
 * The highest rate in packets per second that loses at most LOSS_MAX, by halving the interval below
 * what a flood of the same size got through; 0 when even the lowest tried rate lost more.
 */
export async function searchLossless(lab: Lab, carrier: Carrier, size: number): Promise<number> {
  const flood = await measureUdp(lab, carrier, { size, seconds: SEARCH_SECONDS, rate: 0 });
  let low = 0;
  let high = flood.packetsPerSecond;
  let best = 0;
  for (let step = 0; step < SEARCH_STEPS; step++) {
    const rate = Math.round((low + high) / 2);
    const got = await carried(lab, carrier, size, rate);
    best = Math.max(best, got);
    if (got > 0) low = rate;
    else high = rate;
  }
  return best;
}
