// Steering: which queue and which socket a packet reaches, by the CPU of its sender.
import { once } from "node:events";
import { release } from "node:os";
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { thrownBy } from "./support.mjs";

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
  const [value] = await once(worker, "message");
  await once(worker, "exit");
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

test.run();
