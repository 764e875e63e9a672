// The poller and its wake-ups, across threads; the addon in several threads at once.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { Batch, LOOPBACK4, thrownBy } from "./support.mjs";

const opened = [];
const keep = (fd) => {
  opened.push(fd);
  return fd;
};
test.after.each(() => {
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
});

const door = JSON.stringify(new URL("../dist/index.js", import.meta.url).href);
const support = JSON.stringify(new URL("./support.mjs", import.meta.url).href);
const startWorker = (body, workerData) =>
  new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     (async () => {
       const tun = await import(${door});
       const { Batch, LOOPBACK4 } = await import(${support});
       ${body}
     })();`,
    { eval: true, workerData },
  );

test("tokens tell what is ready; ready it stays until it was read", () => {
  const poller = keep(tun.openPoller());
  const wakes = Array.from({ length: 3 }, () => keep(tun.openWake()));
  wakes.forEach((fd, i) => {
    tun.pollerAdd(poller, fd, 0xfffffff0 + i);
  });
  const ready = new Uint32Array(8);
  assert.is(tun.pollerWait(poller, ready, 0), 0);
  tun.wake(wakes[0]);
  tun.wake(wakes[2]);
  tun.wake(wakes[2]);
  assert.is(tun.pollerWait(poller, ready, -1), 2);
  assert.equal([...ready.subarray(0, 2)].sort(), [0xfffffff0, 0xfffffff2]);
  assert.is(tun.pollerWait(poller, ready, 0.5), 2, "level-triggered");
  assert.is(tun.pollerWait(poller, ready.subarray(0, 1), 1e6), 1, "no more than there is room");
  tun.clearWake(wakes[2]);
  tun.clearWake(wakes[2]);
  tun.pollerRemove(poller, wakes[0]);
  assert.is(tun.pollerWait(poller, ready, 1000), 0);
});

test("a worker thread wakes the thread that waits", async () => {
  const poller = keep(tun.openPoller());
  const fd = keep(tun.openWake());
  tun.pollerAdd(poller, fd, 5);
  // The gate makes sure that the worker is up: from then on this thread never yields.
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const body =
    "parentPort.postMessage(0); Atomics.wait(workerData.gate, 0, 0); tun.wake(workerData.fd);";
  const worker = startWorker(body, { gate, fd });
  await once(worker, "message");
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
  const ready = new Uint32Array(1);
  assert.is(tun.pollerWait(poller, ready, -1), 1);
  assert.is(ready[0], 5);
  await once(worker, "exit");
});

test("a worker that waits for ever is woken from here, and ends", async () => {
  const poller = keep(tun.openPoller());
  const fd = keep(tun.openWake());
  tun.pollerAdd(poller, fd, 6);
  const body = `parentPort.postMessage("waiting");
    const ready = new Uint32Array(1);
    const count = tun.pollerWait(workerData.poller, ready, Infinity);
    parentPort.postMessage([count, ready[0]]);`;
  const worker = startWorker(body, { poller });
  assert.equal(await once(worker, "message"), ["waiting"]);
  const answer = once(worker, "message");
  tun.wake(fd);
  assert.equal(await answer, [[1, 6]]);
});

test("a signal does not cut a wait short", async () => {
  const poller = keep(tun.openPoller());
  const fd = keep(tun.openWake());
  tun.pollerAdd(poller, fd, 1);
  const onSignal = () => {};
  process.on("SIGUSR2", onSignal);
  const body = `parentPort.postMessage(0);
    Atomics.wait(workerData.gate, 0, 0);
    for (let i = 0; i < 50; i++) process.kill(process.pid, "SIGUSR2");
    tun.wake(workerData.fd);`;
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const worker = startWorker(body, { gate, fd });
  await once(worker, "message");
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
  const ready = new Uint32Array(1);
  assert.is(tun.pollerWait(poller, ready, 60e6), 1);
  await once(worker, "exit");
  process.off("SIGUSR2", onSignal);
});

test("four threads read and write batches at once, each with its own sockets", async () => {
  const body = `
    const open = (options) => tun.openUdp({ family: 4, address: "127.0.0.1", port: 0, ...options });
    const into = open({ receiveBuffer: 1 << 20 });
    const fds = new Int32Array([open({ receive: false }).fd]);
    const batch = new Batch();
    let came = 0;
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < 32; i++) {
        batch.put(i, { bytes: [round, i, workerData], peer: LOOPBACK4, port: into.port }, 64);
      }
      if (tun.writeUdpBatch(fds, batch.memory, batch.at, 32) !== 32) throw new Error("unsent");
      batch.preset(64, 64);
      const count = tun.readUdpBatch(into.fd, batch.memory, batch.at, 64);
      for (let i = 0; i < count; i++) {
        const { bytes } = batch.get(i);
        if (bytes[0] === round && bytes[1] === i && bytes[2] === workerData) came++;
      }
    }
    let code;
    try { tun.openUdp({ family: 4, address: "127.0.0.1", port: into.port }); }
    catch (error) { code = error instanceof tun.SystemCallError ? error.code : String(error); }
    parentPort.postMessage({ came, code });`;
  const workers = [1, 2, 3, 4].map((number) => startWorker(body, number));
  const answers = await Promise.all(workers.map((worker) => once(worker, "message")));
  assert.equal(answers.flat(), new Array(4).fill({ came: 200 * 32, code: "EADDRINUSE" }));
});

test("a worker that is ended takes no descriptor with it", async () => {
  const batch = new Batch();
  const into = tun.openUdp({ family: 4, address: "127.0.0.1", port: 0 });
  keep(into.fd);
  const body = `tun.readUdpBatch(workerData, new Uint8Array(64), 0, 1);
    parentPort.postMessage(0); setInterval(() => {}, 1000);`;
  const worker = startWorker(body, into.fd);
  await once(worker, "message");
  await worker.terminate();
  batch.put(0, { bytes: [1], peer: LOOPBACK4, port: into.port });
  assert.is(tun.writeUdpBatch(new Int32Array([into.fd]), batch.memory, batch.at, 1), 1);
  assert.is(batch.collect(tun.readUdpBatch, into.fd, 1).length, 1);
});

test("what cannot be polled or waited for is an error with its call", () => {
  const poller = keep(tun.openPoller());
  const fd = keep(tun.openWake());
  tun.pollerAdd(poller, fd, 1);
  const twice = thrownBy(() => tun.pollerAdd(poller, fd, 2));
  assert.is(twice.code, "EEXIST");
  assert.is(twice.syscall, "epoll_ctl EPOLL_CTL_ADD");
  tun.pollerRemove(poller, fd);
  assert.is(thrownBy(() => tun.pollerRemove(poller, fd)).code, "ENOENT");
  assert.is(thrownBy(() => tun.pollerWait(fd, new Uint32Array(1), 0)).code, "EINVAL");
  assert.is(thrownBy(() => tun.wake(poller)).syscall, "write");
  for (const action of [
    () => tun.pollerWait(poller, new Uint32Array(0), 0),
    () => tun.pollerWait(poller, new Int32Array(1), 0),
    () => tun.pollerWait(poller, new Uint32Array(1), NaN),
    () => tun.pollerWait(poller, new Uint32Array(1)),
    () => tun.pollerAdd(poller, fd),
    () => tun.pollerAdd(poller, -1, 0),
    () => tun.pollerAdd(poller, fd, -1),
    () => tun.wake("1"),
  ]) {
    assert.instance(thrownBy(action), TypeError);
  }
});

test.run();
