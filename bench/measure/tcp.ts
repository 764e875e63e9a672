// TCP by iperf3: bits per second that arrived, and what the daemons used for them.
import { readFileSync } from "node:fs";
import { iperf } from "../../test/support/iperf.js";
import type { Carrier } from "../network/carriers.js";
import type { Lab } from "../network/lab.js";
import { busySeconds, cpuSeconds } from "../support/processes.js";

/** Slow start is not what is measured: so many seconds pass before the count begins. */
const WARM_UP_S = 1;
const CONTROLS = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/** CUBIC where this kernel has it, so that machines with another default can be compared. */
export function congestionControl(): string[] {
  const words = readFileSync(CONTROLS, "utf8").trim().split(" ");
  return words.includes("cubic") ? ["-C", "cubic"] : [];
}

export interface TcpResult {
  gigabitsPerSecond: number;
  retransmits: number;
  /** CPU seconds per 10^9 bytes, of the daemons and of the whole machine. */
  daemonSecondsPerGB: number;
  machineSecondsPerGB: number;
}

/** One transfer from client to server over `streams` connections; CPU time of it all. */
export async function measureTcp(
  lab: Lab,
  carrier: Carrier,
  streams: number,
  seconds: number,
): Promise<TcpResult> {
  const times = ["-O", `${WARM_UP_S}`, "-t", `${seconds}`];
  const argv = [...times, "-P", `${streams}`, ...congestionControl()];
  const before = { daemons: cpuSeconds(carrier.pids), machine: busySeconds() };
  const { client, server } = lab;
  const ends = { server: server.namespace, client: client.namespace, address: carrier.address };
  const got = await iperf({ ...ends, argv });
  const gigabytes = got.bytesInAll / 1e9;
  return {
    gigabitsPerSecond: got.bitsPerSecond / 1e9,
    retransmits: got.retransmits,
    daemonSecondsPerGB: (cpuSeconds(carrier.pids) - before.daemons) / gigabytes,
    machineSecondsPerGB: (busySeconds() - before.machine) / gigabytes,
  };
}
