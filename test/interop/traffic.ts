// What crosses the tunnel of a cell, in one direction: pings, a TCP stream judged by its hash, UDP.
import * as assert from "uvu/assert";
import { openSink, sendStream } from "../support/hashed-stream.js";
import { iperfClient } from "../support/iperf.js";
import { pings, until } from "../support/netns.js";
import type { Connected } from "./scene.js";

export const DIRECTIONS = ["meshd to kernel", "kernel to meshd"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** The first of many: tshark takes no port from here to 32,000 for a protocol of its own. */
const STREAM_PORT = 31_000;
const UDP_PORT = 5201;
const STREAM = "/tmp/stream";
const STREAM_LIMIT_MS = 120_000;
const ASK_MS = 8000;
const UDP_HEADER = 8;
const ICMP_HEADER = 8;
/**
 * A busy machine may drop some of a burst at a socket's queue; that is no fault of the format. One
 * of several tries must be as good: a format at fault loses in all of them.
 */
const LOSS_MAX = 0.02;
const UDP_TRIES = 3;

const ipHeader = ({ inner }: Connected) => (inner === 4 ? 20 : 40);

async function pingFrom(connected: Connected, direction: Direction, size: number): Promise<void> {
  const { guest, namespace, address } = connected;
  if (direction === "meshd to kernel") {
    assert.ok(pings(namespace, address.kernel, size, 5), `ping of ${size} bytes`);
    return;
  }
  const argv = ["ping", "-n", "-c", "1", "-W", "5", "-s", `${size}`, "-M", "do", address.node];
  await guest.exec(argv);
}

/** The smallest and the largest that fit. */
export async function checkPing(connected: Connected, direction: Direction): Promise<string> {
  const full = connected.mtu - ipHeader(connected) - ICMP_HEADER;
  for (const size of [0, full]) await pingFrom(connected, direction, size);
  return `${connected.mtu} B`;
}

async function untilListens({ guest }: Connected, ...ports: number[]): Promise<void> {
  // A question that is lost on the way into the guest is asked again.
  const ask = () => guest.exec(["ss", "-ltnH"], { timeout_ms: ASK_MS }).catch(() => "");
  const listens = async () => {
    const listening = await ask();
    return ports.every((port) => listening.includes(`:${port} `));
  };
  await until("the guest listens", listens, 4 * ASK_MS);
}

/** One that was left behind, by a stream that failed, must not be taken for the next one. */
let nextPort = STREAM_PORT;

async function streamOnce(connected: Connected): Promise<void> {
  const { guest, namespace, address, inner } = connected;
  const port = nextPort++;
  const listen = `socat -u TCP${inner}-LISTEN:${port},reuseaddr OPEN:${STREAM},creat,trunc`;
  const script = ["sh", "-c", `${listen} && sha256sum ${STREAM}`];
  const receiving = guest.exec(script, { timeout_ms: STREAM_LIMIT_MS });
  // Without this a receiver that fails first would end the process.
  receiving.catch(() => undefined);
  await untilListens(connected, port);
  const to = { address: address.kernel, port, seed: Date.now() };
  const sent = await sendStream(namespace, to, connected.tcpBytes);
  const [received] = (await receiving).split(" ");
  assert.is(received, sent.sha256, "the kernel received what meshd's host sent");
}

/** What the guest's sockets were is said with a failure: nothing else tells why it refused. */
async function streamToKernel(connected: Connected): Promise<void> {
  try {
    await streamOnce(connected);
  } catch (error) {
    const { stdout } = await connected.guest.tryExec(["ss", "-tanp"]);
    const sockets = stdout.trim().split("\n").slice(1).join("; ");
    throw new Error(`${(error as Error).message}; in the guest: ${sockets}`, { cause: error });
  }
}

/** Sends back the file that the kernel received before. */
async function streamFromKernel(connected: Connected): Promise<void> {
  const { guest, namespace, address, inner } = connected;
  const { port, ends } = await openSink(namespace, address.node);
  const host = inner === 4 ? address.node : `[${address.node}]`;
  const argv = ["socat", "-u", `OPEN:${STREAM}`, `TCP${inner}:${host}:${port}`];
  await guest.exec(argv, { timeout_ms: STREAM_LIMIT_MS });
  const [received] = await ends();
  const [sent] = (await guest.exec(["sha256sum", STREAM])).split(" ");
  assert.is(received?.bytes, connected.tcpBytes);
  assert.is(received?.sha256, sent, "meshd's host received what the kernel sent");
}

/** A stream that never repeats, whole by its SHA-256. */
export async function checkTcp(connected: Connected, direction: Direction): Promise<string> {
  const isThere = direction === "meshd to kernel";
  await (isThere ? streamToKernel(connected) : streamFromKernel(connected));
  return `${connected.tcpBytes / 1_000_000} MB`;
}

/** A flow of one second, at a port of the guest. */
interface Flow {
  direction: Direction;
  /** Bytes of a datagram. */
  length: number;
  port: number;
}

/** What came of the flows that one process in the guest serves at once. */
async function udpOnce(connected: Connected, flows: readonly Flow[]) {
  const { guest, namespace, address } = connected;
  const servers = flows.map(({ port }) => `iperf3 -s -1 -p ${port} >/dev/null & `);
  const serving = guest.sh(`${servers.join("")} wait`);
  // Without this a server that fails first would end the process.
  serving.catch(() => undefined);
  await untilListens(connected, ...flows.map(({ port }) => port));
  const measure = ({ direction, length, port }: Flow) => {
    const rate = length < 100 ? "100K" : "10M";
    const back = direction === "meshd to kernel" ? [] : ["-R"];
    const argv = ["-p", `${port}`, "-u", "-t", "1", "-b", rate, "-l", `${length}`, ...back];
    // On a busy machine iperf3's own connection may end before its time.
    return iperfClient({ client: namespace, address: address.kernel, argv }).catch(
      (error: Error) => error,
    );
  };
  return Promise.all(flows.map(measure));
}

/** All at once first, which is soon over; then each alone: an emulated processor may be slow. */
async function udpTry(connected: Connected, flows: readonly Flow[], isFirst: boolean) {
  if (isFirst) return udpOnce(connected, flows);
  const results: Awaited<ReturnType<typeof udpOnce>> = [];
  for (const flow of flows) results.push(...(await udpOnce(connected, [flow])));
  return results;
}

/** Packets sent of each of the flows; those that lost too many, or whose iperf3 failed, again. */
async function udp(connected: Connected, flows: readonly Flow[]): Promise<Map<Flow, number>> {
  const sent = new Map<Flow, number>();
  let last = "";
  for (let tries = 0; tries < UDP_TRIES && sent.size < flows.length; tries++) {
    const left = flows.filter((flow) => !sent.has(flow));
    const results = await udpTry(connected, left, tries === 0);
    for (const [index, measured] of results.entries()) {
      const flow = left[index] as Flow;
      // A server that was left waiting holds its port.
      flow.port += flows.length;
      if (measured instanceof Error) {
        last = `${flow.direction}, ${flow.length} bytes: ${measured.message}`;
        continue;
      }
      const { packets, lostPackets } = measured;
      assert.ok(packets > 100, `${packets} packets of ${flow.length} bytes`);
      if (lostPackets <= packets * LOSS_MAX) sent.set(flow, packets);
      else last = `${lostPackets} of ${packets} packets of ${flow.length} bytes lost`;
    }
  }
  if (sent.size < flows.length) throw new Error(last);
  return sent;
}

/** Small datagrams and the largest that fit, all at once: by direction, how many were sent. */
export async function checkUdp(connected: Connected): Promise<Map<Direction, string>> {
  const full = connected.mtu - ipHeader(connected) - UDP_HEADER;
  const flows = DIRECTIONS.flatMap((direction, index) =>
    [16, full].map((length, at) => ({ direction, length, port: UDP_PORT + 2 * index + at })),
  );
  const sent = await udp(connected, flows);
  const of = (flow: Flow | undefined) => (flow === undefined ? 0 : sent.get(flow));
  return new Map(
    DIRECTIONS.map((direction) => {
      const [small, large] = flows.filter((flow) => flow.direction === direction);
      return [direction, `${of(small)} + ${of(large)}`];
    }),
  );
}
