// Entry of a thread that makes or takes traffic: one job, one answer. It blocks in system calls
// (node-tun's load functions), so nothing else runs in it. By node:net one stream over a veth
// ends at 13 Gbit/s and costs 0.9 CPU seconds a GB, where these pass 30: it would measure itself.
import { timingSafeEqual } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import {
  closeDescriptor,
  loadAccept,
  loadConnect,
  loadCountDatagrams,
  loadListen,
  loadPing,
  loadRead,
  loadReceiveStream,
  loadSendDatagrams,
  loadSendStream,
  loadWrite,
} from "node-tun";
import { bodyOf } from "./errors.js";
import { ACCEPT_MS, DRAIN_MS, GREETING_MS, QUIET_MS, SLICE_MS, WRITE_BYTES } from "./limits.js";
import type { Job, SinkCount } from "./threads.js";

type JobOf<K extends Job["kind"]> = Extract<Job, { kind: K }>;

/** Asked to stop: the owner of the thread sets its word. */
const isStopped = (job: { flag: Int32Array }) => Atomics.load(job.flag, 0) !== 0;

function say(message: Record<string, unknown>): void {
  parentPort?.postMessage(message);
}

const nothing = (): SinkCount => ({ packets: 0, bytes: 0, foreign: 0, first_us: 0, last_us: 0 });

/** Adds what a slice brought. */
function add(count: SinkCount, slice: Omit<SinkCount, "foreign" | "packets">): void {
  if (slice.bytes === 0) return;
  if (count.bytes === 0) count.first_us = slice.first_us;
  count.last_us = slice.last_us;
  count.bytes += slice.bytes;
}

/** The connection that says the token; others are closed and counted. -1 when none came. */
function acceptRight(fd: number, job: JobOf<"stream-sink">, count: SinkCount): number {
  const deadline = performance.now() + ACCEPT_MS;
  const greeting = new Uint8Array(job.token.length);
  while (performance.now() < deadline && !isStopped(job)) {
    const accepted = loadAccept(fd, SLICE_MS * 1000);
    if (accepted < 0) continue;
    const got = loadRead(accepted, greeting, GREETING_MS * 1000);
    if (got === greeting.length && timingSafeEqual(greeting, job.token)) return accepted;
    closeDescriptor(accepted);
    count.foreign++;
  }
  return -1;
}

function streamSink(job: JobOf<"stream-sink">): SinkCount {
  const listener = loadListen({ family: job.family, datagrams: false, address: job.own });
  say({ port: listener.port });
  const count = nothing();
  const fd = acceptRight(listener.fd, job, count);
  closeDescriptor(listener.fd);
  if (fd < 0) return count;
  const buffer = new Uint8Array(WRITE_BYTES);
  for (let ended = false; !ended && !isStopped(job); ) {
    const slice = loadReceiveStream(fd, buffer, SLICE_MS * 1000);
    add(count, slice);
    ended = slice.ended;
  }
  closeDescriptor(fd);
  return count;
}

/** Counts until it is stopped, and then until nothing has come for a while. */
function datagramSink(job: JobOf<"datagram-sink">): SinkCount {
  const { fd, port } = loadListen({ family: job.family, datagrams: true, address: job.own });
  say({ port });
  const count = nothing();
  let stopped_ms = 0;
  let came_ms = 0;
  for (;;) {
    const slice = loadCountDatagrams(fd, job.token, SLICE_MS * 1000);
    const now_ms = performance.now();
    add(count, slice);
    count.packets += slice.packets;
    count.foreign += slice.foreign;
    if (slice.packets > 0) came_ms = now_ms;
    if (!isStopped(job)) continue;
    if (stopped_ms === 0) stopped_ms = now_ms;
    const quiet_ms = now_ms - Math.max(came_ms, stopped_ms);
    if (quiet_ms >= QUIET_MS || now_ms - stopped_ms > DRAIN_MS) break;
  }
  closeDescriptor(fd);
  return count;
}

/** Connects, says the token, waits for the others, sends for its time. */
function streamSource(job: JobOf<"stream-source">): { sent: number } {
  const { family, own: source, peer: address, port, congestion } = job;
  const timeout_us = ACCEPT_MS * 1000;
  const wish = { family, datagrams: false, source, address, port, timeout_us, congestion };
  const fd = loadConnect(wish);
  loadWrite(fd, job.token, timeout_us);
  say({ port });
  Atomics.wait(job.flag, 0, 0, ACCEPT_MS);
  const sent = loadSendStream(fd, new Uint8Array(WRITE_BYTES), job.seconds * 1e6);
  closeDescriptor(fd);
  return { sent };
}

function datagramSource(job: JobOf<"datagram-source">): { sent: number } {
  const { family, own: source, peer: address, port, rate } = job;
  const timeout_us = ACCEPT_MS * 1000;
  const fd = loadConnect({ family, datagrams: true, source, address, port, timeout_us });
  const payload = new Uint8Array(job.size);
  payload.set(job.token);
  const sent = loadSendDatagrams(fd, payload, rate, job.seconds * 1e6);
  closeDescriptor(fd);
  return { sent };
}

function ping(job: JobOf<"ping">): { times_ns: Uint32Array } {
  const times_ns = new Uint32Array(job.count);
  const { family, own: source, peer: address, identifier, interval_ms } = job;
  const interval_us = interval_ms * 1000;
  // Twice the planned time: who answers nothing does not hold the session.
  const timeout_us = 2 * job.count * interval_us;
  loadPing({ family, source, address, identifier, interval_us, timeout_us }, times_ns);
  return { times_ns };
}

function work(job: Job): unknown {
  switch (job.kind) {
    case "stream-sink":
      return streamSink(job);
    case "datagram-sink":
      return datagramSink(job);
    case "stream-source":
      return streamSource(job);
    case "datagram-source":
      return datagramSource(job);
    case "ping":
      return ping(job);
  }
}

try {
  say({ done: work(workerData as Job) });
} catch (error) {
  say({ error: bodyOf(error) });
}
