// Several TCP streams at once between a pod and a guest that dialled in, both ways, whole by their
// hashes. Several, since one stream on a bad path waits most of the time.
import * as assert from "uvu/assert";
import type { KernelPeer } from "../peers/index.js";
import { openSink, sendStream } from "../support/hashed-stream.js";
import { until } from "../support/netns.js";

const FIRST_PORT = 9101;
const LIMIT_MS = 110_000;

export interface StreamEnds {
  guest: KernelPeer;
  /** Of the guest, as the pod reaches it. */
  guestAddress: string;
  /** Namespace of the pod. */
  pod: string;
  podAddress: string;
}

const hashesOf = (text: string) => text.match(/\b[0-9a-f]{64}\b/g)?.sort() ?? [];

/** From the guest to the pod. */
export async function streamsToPod(ends: StreamEnds, count: number, bytes: number): Promise<void> {
  const { guest, pod, podAddress } = ends;
  const sink = await openSink(pod, podAddress, count);
  const script = `for i in $(seq ${count}); do head -c ${bytes} /dev/urandom >/tmp/up$i; done
    for i in $(seq ${count}); do socat -u OPEN:/tmp/up$i TCP:${podAddress}:${sink.port} & done
    wait; sha256sum /tmp/up*; rm /tmp/up*\n`;
  const sent = hashesOf(await guest.exec(["sh", "-s"], { input: script, timeout_ms: LIMIT_MS }));
  const received = await sink.ends();
  assert.is(sent.length, count);
  assert.equal(received.map(({ sha256 }) => sha256).sort(), sent);
}

/** From the pod to the guest. */
export async function streamsToGuest(ends: StreamEnds, count: number, bytes: number) {
  const { guest, guestAddress, pod } = ends;
  const ports = Array.from({ length: count }, (_, index) => FIRST_PORT + index);
  const script = `for p in ${ports.join(" ")}; do
    socat -u TCP-LISTEN:$p,reuseaddr OPEN:/tmp/down$p,creat,trunc & done
    wait; sha256sum /tmp/down*; rm /tmp/down*\n`;
  const receiving = guest.exec(["sh", "-s"], { input: script, timeout_ms: LIMIT_MS });
  // Without this a receiver that fails first would end the process.
  receiving.catch(() => undefined);
  await until("the guest listens", async () => {
    const listening = await guest.exec(["ss", "-ltnH"]);
    return ports.every((port) => listening.includes(`:${port} `));
  });
  const sent = await Promise.all(
    ports.map((port) => sendStream(pod, { address: guestAddress, port, seed: port }, bytes)),
  );
  assert.equal(hashesOf(await receiving), sent.map(({ sha256 }) => sha256).sort());
}
