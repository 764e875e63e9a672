// Round-trip times by ping, two milliseconds apart.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inNamespace } from "../../test/support/netns.js";
import type { Carrier } from "../network/carriers.js";
import type { Lab } from "../network/lab.js";
import { percentile } from "../support/statistics.js";

const INTERVAL = "0.002";
/** Of one turn; the measure has several of them a round. */
const COUNT = 300;
/** Not counted: carrier and pods have been idle for as long as the others had their turns. */
const WARM_UP = 20;

export interface PingResult {
  p50_us: number;
  p99_us: number;
}

/** Round-trip times in microseconds out of ping's own lines. */
export function parsePing(text: string): number[] {
  return [...text.matchAll(/ time=([\d.]+) ms/g)].map((match) => Number(match[1]) * 1000);
}

/**
 * What ping says, by way of a file: a pipe would wake this process for every line, and what wakes a
 * processor in between shows in the times.
 */
async function runPing(namespace: string, argv: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "meshd-ping-"));
  const path = join(folder, "lines");
  const output = openSync(path, "w", 0o600);
  try {
    const [file = "", ...rest] = inNamespace(namespace, [...argv]);
    const child = spawn(file, rest, { stdio: ["ignore", output, "ignore"] });
    await once(child, "close");
    return readFileSync(path, "utf8");
  } finally {
    closeSync(output);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One turn. @throws when a tenth of all pings stays without an answer */
export async function measurePing(lab: Lab, carrier: Carrier): Promise<PingResult> {
  const argv = [
    "ping",
    "-n",
    "-i",
    INTERVAL,
    "-c",
    `${WARM_UP + COUNT}`,
    "-W",
    "1",
    carrier.address,
  ];
  const times = parsePing(await runPing(lab.client.namespace, argv)).slice(WARM_UP);
  if (times.length < COUNT * 0.9) throw new Error(`${times.length} of ${COUNT} pings came back`);
  return { p50_us: percentile(times, 50), p99_us: percentile(times, 99) };
}
