// Steering: which queue and which socket a packet reaches, by the CPU of its sender.
import { once } from "node:events";
import { release } from "node:os";
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { Batch, LOOPBACK4, thrownBy } from "./support.mjs";

const isRoot = process.getuid() === 0;
const rootTest = isRoot ? test : test.skip;
const opened = [];
const keep = (fd) => {
  opened.push(fd);
  return fd;
};
test.after.each(() => {
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
});

const door = JSON.stringify(new URL("../dist/index.js", import.meta.url).href);

/** Runs `body` (an expression of `tun`, `cpu`) in a thread pinned there, and gives its value. */
async function onCpu(cpu, body) {
  const worker = new Worker(
    `const { parentPort, workerData: cpu } = require("node:worker_threads");
     (async () => {
       const tun = await import(${door});
       tun.pinThread(cpu);
       parentPort.postMessage(${body});
     })();`,
    { eval: true, workerData: cpu },
  );
  const exit = once(worker, "exit");
  const [value] = await once(worker, "message");
  await exit;
  return value;
}

/** Linux 6.12 was the first that takes a length for ordinary threads. */
function isShortSliceKnown() {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 12);
}

test("a pinned thread may run on its CPU alone, the others as before", async () => {
  const before = tun.allowedCpus();
  const last = before.at(-1);
  assert.equal(await onCpu(last, "tun.allowedCpus()"), [last]);
  assert.equal(tun.allowedCpus(), before);
});

test("a CPU that is not there is refused", () => {
  assert.is(thrownBy(() => tun.pinThread(1023)).code, "EINVAL");
  assert.is(thrownBy(() => tun.pinThread(1 << 20)).code, "EINVAL");
});

test("a thread's turns are as short as asked for, where the kernel knows that", async () => {
  const slice = await onCpu(tun.allowedCpus()[0], "tun.setThreadSlice(100)");
  assert.is(slice, isShortSliceKnown());
  assert.instance(
    thrownBy(() => tun.setThreadSlice(-1)),
    TypeError,
  );
});

test("an order that no program can have is a TypeError", () => {
  for (const cpus of [[], [-1], [0.5], "0", Array(65).fill(0)]) {
    const wrong = thrownBy(() => tun.steerTun(0, { cpus, busy: 0, stamps: 0, flows: 0 }));
    assert.instance(wrong, TypeError);
  }
  assert.instance(
    thrownBy(() => tun.steerUdp(0, { cpus: [0], busy: 64, stamps: 0, flows: 0 })),
    TypeError,
  );
});

rootTest("a descriptor of another kind is refused", () => {
  const maps = { stamps: keep(tun.openStamps()), flows: keep(tun.openFlows()) };
  const wake = keep(tun.openWake());
  assert.is(thrownBy(() => tun.steerTun(wake, { cpus: [0], busy: 1, ...maps })).code, "ENOTTY");
  assert.is(thrownBy(() => tun.steerUdp(wake, { cpus: [0], busy: 1, ...maps })).code, "ENOTSOCK");
  assert.is(thrownBy(() => tun.mapStamps(wake)).code, "ENODEV");
});

rootTest("what one thread stamps the other one reads", () => {
  const fd = keep(tun.openStamps());
  const [first, second] = [tun.mapStamps(fd), tun.mapStamps(fd)];
  first[6] = 0xffffffff;
  assert.is(second[6], 0xffffffff);
  assert.is(second.length, 128);
});

const BUSY = 4;
const FRAME = new Uint8Array(14).fill(0x45);
const OPTION = new Uint8Array(12).fill(0x46);

/** Geneve of an inner packet, with or without a frame and options. */
function geneve(inner, { framed = false, options = new Uint8Array() }) {
  const type = framed ? 0x6558 : inner[0] >> 4 === 6 ? 0x86dd : 0x0800;
  const header = [options.length / 4, 0, type >> 8, type & 255, 0, 0, 1, 0];
  return Uint8Array.from([...header, ...options, ...(framed ? FRAME : []), ...inner]);
}

/** An inner UDP packet of a flow; `seed` is what changes from one packet to the next. */
function inner(family, flow, seed) {
  const four = [
    0x45,
    0,
    0,
    60,
    seed,
    seed,
    0x40,
    0,
    64,
    17,
    seed,
    seed,
    10,
    1,
    0x45,
    5,
    10,
    2,
    1,
    1,
  ];
  const address = (host) => [0xfd, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, host];
  const six = [0x60, 0, 0, seed, 0, 40, 17, 64, ...address(1), ...address(2)];
  const ports = [flow >> 8, flow & 255, 0, 80];
  return [...(family === 4 ? four : six), ...ports, ...Array(40).fill(seed)];
}

/** Sockets that share one port. */
function openGroup() {
  const place = { family: 4, address: "127.0.0.1", reusePort: true };
  const sockets = [tun.openUdp({ ...place, port: 0 })];
  const { port } = sockets[0];
  while (sockets.length < BUSY) sockets.push(tun.openUdp({ ...place, port }));
  return sockets;
}

/** Steered sockets on one port without CPUs, and how to ask which of them a datagram reaches. */
function steeredGroup() {
  const sockets = openGroup();
  const { port } = sockets[0];
  const sender = tun.openUdp({ family: 4, address: "127.0.0.1", port: 0, receive: false });
  for (const { fd } of [...sockets, sender]) keep(fd);
  const maps = { stamps: keep(tun.openStamps()), flows: keep(tun.openFlows()) };
  tun.steerUdp(sockets[0].fd, { cpus: [], busy: BUSY, geneve: true, ...maps });
  const batch = new Batch();
  return (bytes) => {
    batch.put(0, { bytes, port, peer: LOOPBACK4 });
    tun.writeUdpBatch(new Int32Array([sender.fd]), batch.memory, batch.at, 1);
    batch.preset(1);
    return sockets.findIndex(({ fd }) => tun.readUdpBatch(fd, batch.memory, batch.at, 1) === 1);
  };
}

rootTest("in Geneve a flow has one socket, with options and without, framed or bare", () => {
  const reached = steeredGroup();
  const forms = [{}, { framed: true }, { options: OPTION }, { framed: true, options: OPTION }];
  for (const family of [4, 6]) {
    const used = new Set();
    for (let flow = 1000; flow < 1032; flow++) {
      const seeds = [0, 1, 7, 0x45, 0x60, 200];
      const all = forms.flatMap((form) =>
        seeds.map((seed) => reached(geneve(inner(family, flow, seed), form))),
      );
      assert.is(new Set(all).size, 1, `IPv${family}, flow ${flow}: sockets ${all}`);
      used.add(all[0]);
    }
    assert.equal([...used].sort(), [0, 1, 2, 3], `IPv${family}`);
  }
  for (const length of [0, 3, 8, 20]) assert.is(reached(new Uint8Array(length).fill(0xff)), 0);
});

test("a group's datagrams go to one of its sockets, and by flow again", () => {
  const sockets = openGroup();
  const [first] = sockets;
  const { port } = first;
  const own = { family: 4, address: "127.0.0.1", port: 0, receive: false };
  const senders = Array.from({ length: 24 }, () => tun.openUdp(own));
  for (const { fd } of [...sockets, ...senders]) keep(fd);
  const batch = new Batch();
  const reached = () =>
    senders.map(({ fd }) => {
      batch.put(0, { bytes: FRAME, port, peer: LOOPBACK4 });
      tun.writeUdpBatch(new Int32Array([fd]), batch.memory, batch.at, 1);
      batch.preset(1);
      return sockets.findIndex((one) => tun.readUdpBatch(one.fd, batch.memory, batch.at, 1) === 1);
    });
  const different = () => new Set(reached()).size;
  assert.ok(different() > 1, "by flow");
  tun.gatherUdp(first.fd, 2);
  assert.equal([...new Set(reached())], [2]);
  tun.gatherUdp(sockets[3].fd, 0);
  assert.equal([...new Set(reached())], [0]);
  tun.spreadUdp(sockets[1].fd);
  assert.ok(different() > 1, "by flow again");
  tun.spreadUdp(first.fd);
  assert.is(thrownBy(() => tun.gatherUdp(keep(tun.openWake()), 0)).code, "ENOTSOCK");
});

test.run();
