// Descriptors passed to another process over a Unix socket, and used there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { Batch, enterNamespace, inNamespace, LOOPBACK4, thrownBy } from "./support.mjs";

const entered = enterNamespace(import.meta.url);
const rootTest = inNamespace(test, entered);
const opened = [];
const keep = (fd) => {
  opened.push(fd);
  return fd;
};
test.after.each(() => {
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
});

function startChild() {
  const [ours, theirs] = tun.openSocketPair();
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL("pass-child.mjs", import.meta.url))],
    {
      stdio: ["ignore", "pipe", "inherit", theirs],
    },
  );
  tun.closeDescriptor(theirs);
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  const answer = once(child, "close").then(() => JSON.parse(output));
  return { end: keep(ours), answer };
}

async function passAndAnswer(more) {
  const into = tun.openUdp({ family: 4, address: "127.0.0.1", port: 0, receiveOffload: true });
  const from = tun.openUdp({ family: 4, address: "127.0.0.1", port: 0 });
  keep(from.fd);
  const { end, answer } = startChild();
  const batch = new Batch();
  batch.put(0, { bytes: [1, 2], peer: LOOPBACK4, port: into.port });
  assert.is(tun.writeUdpBatch(new Int32Array([from.fd]), batch.memory, batch.at, 1), 1);
  tun.sendDescriptors(end, [into.fd, ...more], Uint8Array.of(8, 9));
  tun.closeDescriptor(into.fd);
  const said = await answer;
  const [reply] = batch.collect(tun.readUdpBatch, from.fd, 1);
  assert.equal([...reply.bytes], [1, 2, 8, 9]);
  assert.is(reply.port, into.port);
  assert.is(said.sent, 1);
  assert.is(said.port, into.port);
  assert.is(said.offload, true);
  return said;
}

test("a UDP socket lives on where it was passed to, with what was waiting in it", async () => {
  assert.is((await passAndAnswer([])).queue, null);
});

rootTest("a TUN queue goes along, with its name and offloads", async () => {
  const queue = tun.openTun({ name: "passed0", vnetHeader: true, offloads: true });
  keep(queue.fd);
  const { queue: adopted } = await passAndAnswer([queue.fd]);
  assert.equal({ ...adopted, fd: queue.fd }, queue);
});

test("more descriptors than asked for are an error, and none stays open", () => {
  const [a, b] = tun.openSocketPair().map(keep);
  const wakes = [1, 2, 3, 4].map(() => keep(tun.openWake()));
  const next = tun.openWake();
  tun.closeDescriptor(next);
  for (const max of [1, 2, 3]) {
    tun.sendDescriptors(a, wakes);
    assert.is(thrownBy(() => tun.receiveDescriptors(b, max)).code, "EMSGSIZE");
  }
  const after = keep(tun.openWake());
  assert.is(after, next, "the lowest free number is the same as before");
});

test("the most that fit go in one message, and the copies are the same thing", () => {
  const [a, b] = tun.openSocketPair().map(keep);
  const wake = keep(tun.openWake());
  tun.sendDescriptors(a, new Array(253).fill(wake));
  const copies = tun.receiveDescriptors(b, 253);
  assert.is(copies.length, 253);
  copies.forEach(keep);
  const poller = keep(tun.openPoller());
  tun.pollerAdd(poller, copies[252], 1);
  tun.wake(wake);
  assert.is(tun.pollerWait(poller, new Uint32Array(1), 0), 1);
});

test("a closed end is an empty answer, and EPIPE to the sender", () => {
  const [a, b] = tun.openSocketPair();
  tun.closeDescriptor(a);
  keep(b);
  assert.equal(tun.receiveDescriptors(b, 1), []);
  const error = thrownBy(() => tun.sendDescriptors(b, [b]));
  assert.is(error.code, "EPIPE");
  assert.is(error.syscall, "sendmsg SCM_RIGHTS");
});

test("what cannot be passed is said", () => {
  const [a] = tun.openSocketPair().map(keep);
  const wake = keep(tun.openWake());
  assert.is(thrownBy(() => tun.sendDescriptors(a, [99999])).code, "EBADF");
  assert.is(thrownBy(() => tun.sendDescriptors(wake, [a])).code, "ENOTSOCK");
  for (const action of [
    () => tun.sendDescriptors(a, []),
    () => tun.sendDescriptors(a, new Array(254).fill(a)),
    () => tun.sendDescriptors(a, ["1"]),
    () => tun.sendDescriptors(a, new Int32Array(1)),
    () => tun.sendDescriptors(a, [a], new Uint8Array(0)),
    () => tun.sendDescriptors(a, [a], "text"),
    () => tun.receiveDescriptors(a, 0),
    () => tun.receiveDescriptors(a, 254),
  ]) {
    assert.instance(thrownBy(action), TypeError);
  }
});

test.run();
