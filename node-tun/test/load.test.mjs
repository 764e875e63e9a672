// Load over loopback: what is sent is what is counted; strangers, limits and refusals.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { enterNamespace, inNamespace, thrownBy } from "./support.mjs";

const entered = enterNamespace(import.meta.url);
const rootTest = inNamespace(test, entered);
const SECOND = 1e6;
const opened = [];
const keep = (fd) => {
  opened.push(fd);
  return fd;
};
test.after.each(() => {
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
});

const homes = [
  [4, "127.0.0.1"],
  [6, "::1"],
];

/** Both ends of a connection, or of a UDP flow. */
function pair(family, address, datagrams) {
  const listener = tun.loadListen({ family, datagrams, address });
  keep(listener.fd);
  const { port } = listener;
  const wish = { family, datagrams, source: address, address, port, timeout_us: SECOND };
  const from = keep(tun.loadConnect(wish));
  return { listener, from, into: datagrams ? listener.fd : keep(tun.loadAccept(listener.fd, 1e6)) };
}

/** A call of the module in a thread of its own; `finish` gives its answer. */
function inThread(name, ...argv) {
  const body = `const { workerData: w, parentPort } = require("node:worker_threads");
    import(w.url).then((tun) => parentPort.postMessage(tun[w.name](...w.argv)));`;
  const url = new URL("../dist/index.js", import.meta.url).href;
  const worker = new Worker(body, { eval: true, workerData: { url, name, argv } });
  return { finish: async () => (await once(worker, "message"))[0] };
}

for (const [family, address] of homes) {
  rootTest(`IPv${family}: every byte of a stream is counted, and its end is seen`, async () => {
    const { from, into } = pair(family, address, false);
    const receiver = inThread("loadReceiveStream", into, new Uint8Array(65536), 10 * SECOND);
    const sent = tun.loadSendStream(from, new Uint8Array(100000), 0.2 * SECOND);
    tun.closeDescriptor(opened.splice(opened.indexOf(from), 1)[0]);
    const got = await receiver.finish();
    assert.ok(sent > 0);
    assert.is(got.bytes, sent);
    assert.is(got.ended, true);
    assert.ok(got.first_us > 0 && got.last_us >= got.first_us);
  });

  rootTest(
    `IPv${family}: datagrams with the right beginning are counted, others apart`,
    async () => {
      const { from, into } = pair(family, address, true);
      const begin = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
      const payload = new Uint8Array(64);
      // Long enough for a few to go out, also of a thread that has to wait for its processor.
      const stranger = tun.loadSendDatagrams(from, payload, 10000, 0.1 * SECOND);
      payload.set(begin);
      const short = tun.loadSendDatagrams(from, payload.subarray(0, 15), 10000, 0.1 * SECOND);
      const sent = tun.loadSendDatagrams(from, payload, 2000, 0.1 * SECOND);
      const got = tun.loadCountDatagrams(into, begin, 0.1 * SECOND);
      // How many go out in a time is the machine's affair; that none is lost or doubled is ours.
      assert.ok(stranger > 0 && short > 0 && sent > 0);
      assert.equal([got.packets, got.bytes, got.foreign], [sent, sent * 64, stranger + short]);
      assert.ok(got.last_us >= got.first_us && got.first_us > 0);
    },
  );

  rootTest(`IPv${family}: every ping is answered, and its time written down`, () => {
    const times = new Uint32Array(20);
    const ways = { family, source: address, address, identifier: 4242 };
    tun.loadPing({ ...ways, interval_us: 1000, timeout_us: SECOND }, times);
    assert.ok([...times].every((time) => time > 0 && time < 1e9));
  });
}

rootTest("a flood goes as long as it shall, and gives what it sent", () => {
  const { from, into } = pair(4, "127.0.0.1", true);
  const sent = tun.loadSendDatagrams(from, new Uint8Array(64), 0, 0.05 * SECOND);
  const got = tun.loadCountDatagrams(into, new Uint8Array(0), 0.05 * SECOND);
  assert.ok(sent >= 64);
  assert.ok(got.packets > 0 && got.packets <= sent);
});

rootTest("reads and writes are whole, or end with the stream or the time", () => {
  const { from, into, listener } = pair(4, "127.0.0.1", false);
  assert.is(tun.loadWrite(from, Uint8Array.of(1, 2, 3, 4, 5), SECOND), 5);
  const bytes = new Uint8Array(3);
  assert.is(tun.loadRead(into, bytes, SECOND), 3);
  assert.equal([...bytes], [1, 2, 3]);
  assert.is(tun.loadRead(into, bytes, 0.05 * SECOND), 2);
  assert.is(tun.loadRead(into, bytes, 0), 0);
  tun.closeDescriptor(opened.splice(opened.indexOf(from), 1)[0]);
  assert.is(tun.loadRead(into, bytes, SECOND), 0);
  assert.is(tun.loadAccept(listener.fd, 0.01 * SECOND), -1);
});

rootTest("a connection that nobody takes is refused, one that nobody answers ends in time", () => {
  const wish = { family: 4, datagrams: false, source: "127.0.0.1", address: "127.0.0.1" };
  const refused = thrownBy(() => tun.loadConnect({ ...wish, port: 9, timeout_us: SECOND }));
  assert.is(refused.code, "ECONNREFUSED");
  const gone = { ...wish, source: "127.0.0.77", address: "192.0.2.1", port: 9, timeout_us: SECOND };
  const error = thrownBy(() => tun.loadConnect(gone));
  assert.ok(["ENETUNREACH", "ETIMEDOUT", "EINVAL"].includes(error.code), error.message);
  const taken = thrownBy(() =>
    tun.loadListen({ family: 4, datagrams: false, address: "192.0.2.9", port: 0 }),
  );
  assert.is(taken.code, "EADDRNOTAVAIL");
});

rootTest("a congestion control by name is taken, or refused when there is none of it", () => {
  const { fd, port } = tun.loadListen({ family: 4, datagrams: false, address: "127.0.0.1" });
  keep(fd);
  const ends = { source: "127.0.0.1", address: "127.0.0.1", port, timeout_us: SECOND };
  const wish = { family: 4, datagrams: false, ...ends };
  keep(tun.loadConnect({ ...wish, congestion: "reno" }));
  const error = thrownBy(() => tun.loadConnect({ ...wish, congestion: "nosuch" }));
  assert.equal([error.code, error.syscall], ["ENOENT", "setsockopt TCP_CONGESTION"]);
});

test("arguments of a wrong type or range are TypeErrors", () => {
  const wrong = [
    () => tun.loadListen({ family: 5, datagrams: false, address: "127.0.0.1" }),
    () => tun.loadListen({ family: 6, datagrams: false, address: "127.0.0.1" }),
    () => tun.loadListen({ family: 4, datagrams: false, address: "127.0.0.1", port: 65536 }),
    () => tun.loadAccept(3, -1),
    () => tun.loadAccept(3, 121e6),
    () => tun.loadRead(3, new Uint8Array(0), 0),
    () => tun.loadSendStream(3, new Uint16Array(5), 0),
    () => tun.loadSendDatagrams(3, new Uint8Array(5), -1, 0),
    () => tun.loadCountDatagrams(3, new Uint8Array(3000), 0),
    () => tun.loadPing({ family: 4, source: "::1", address: "::1" }, new Uint32Array(1)),
  ];
  for (const call of wrong) assert.ok(thrownBy(call) instanceof TypeError, String(call));
});

test.run();
