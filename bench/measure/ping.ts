// Round-trip times by ping, two milliseconds apart.
import { runIn } from "../../test/support/netns.js";
import type { Carrier } from "../network/carriers.js";
import type { Lab } from "../network/lab.js";
import { percentile } from "../support/statistics.js";

const INTERVAL = "0.002";
const COUNT = 1500;

export interface PingResult {
  p50_us: number;
  p99_us: number;
}

/** Round-trip times in microseconds out of ping's own lines. */
export function parsePing(text: string): number[] {
  return [...text.matchAll(/ time=([\d.]+) ms/g)].map((match) => Number(match[1]) * 1000);
}

/** @throws when a tenth of all pings stays without an answer */
export async function measurePing(lab: Lab, carrier: Carrier): Promise<PingResult> {
  const argv = ["ping", "-n", "-i", INTERVAL, "-c", `${COUNT}`, "-W", "1", carrier.address];
  const times = parsePing((await runIn(lab.client.namespace, argv)).stdout);
  if (times.length < COUNT * 0.9) throw new Error(`${times.length} of ${COUNT} pings came back`);
  return { p50_us: percentile(times, 50), p99_us: percentile(times, 99) };
}
