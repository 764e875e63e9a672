// iperf3 between two namespaces: starts the server, waits until it listens, runs the client.
import { runIn, runSync, spawnIn, until } from "./netns.js";

const PORT = "5201";

/** What the receiving side got. */
export interface Measured {
  bitsPerSecond: number;
  bytes: number;
  /** Sent, with what a warm-up (-O) left out of all other figures. */
  bytesInAll: number;
  /** TCP only. */
  retransmits: number;
  /** UDP only. */
  packets: number;
  lostPackets: number;
}

interface Report {
  error?: string;
  intervals?: { sum: { bytes: number } }[];
  end?: {
    sum?: { bits_per_second: number; bytes: number; packets: number; lost_packets: number };
    sum_received?: { bits_per_second: number; bytes: number };
    sum_sent?: { retransmits?: number };
  };
}

/** The most that Linux gives by default; it counts twice as much as it gives who does not ask. */
const ROOM = "208K";

export interface Transfer {
  server: string;
  client: string;
  /** Address of the server; IPv4 or IPv6. */
  address: string;
  /** More arguments of the client, e.g. ["-u", "-b", "10M", "-l", "64"]. */
  argv?: string[];
}

/**
 * One transfer. What a receiver has not read when the sender ends, iperf3 does not count: up to
 * what both sockets hold, 10 MB by TCP on a busy machine. Throws with iperf3's own words when it
 * fails.
 */
export async function iperf(transfer: Transfer): Promise<Measured> {
  const { server, address } = transfer;
  const serving = spawnIn(server, ["iperf3", "-s", "-1", "-B", address, "-p", PORT]);
  const ended = new Promise((resolve) => serving.once("close", resolve));
  await until("iperf3 listens", () => runSync(server, ["ss", "-ltnH"]).includes(`:${PORT} `));
  try {
    return await iperfClient(transfer);
  } catch (error) {
    serving.kill();
    throw error;
  } finally {
    await ended;
  }
}

/** The client's part, for a server that somebody else started on iperf3's own port. */
export async function iperfClient(transfer: Omit<Transfer, "server">): Promise<Measured> {
  const { client, address } = transfer;
  const { argv = [] } = transfer;
  // Sockets with room for what comes while a busy machine keeps the receiver from reading.
  const room = argv.includes("-u") ? ["-w", ROOM] : [];
  const words = ["iperf3", "-c", address, "-p", PORT, "-J", ...room, ...argv];
  const done = await runIn(client, words);
  const report = JSON.parse(done.stdout) as Report;
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
  const received = report.end?.sum_received ?? report.end?.sum;
  return {
    bitsPerSecond: received?.bits_per_second ?? 0,
    bytes: received?.bytes ?? 0,
    bytesInAll: (report.intervals ?? []).reduce((sum, one) => sum + one.sum.bytes, 0),
    retransmits: report.end?.sum_sent?.retransmits ?? 0,
    packets: report.end?.sum?.packets ?? 0,
    lostPackets: report.end?.sum?.lost_packets ?? 0,
  };
}
