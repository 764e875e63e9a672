// No argument and no descriptor's content may crash the process: random values for every function,
// random descriptors on real sockets, and memory that another thread changes meanwhile.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { Batch, enterNamespace, inNamespace } from "./support.mjs";

const entered = enterNamespace(import.meta.url);
const rootTest = inNamespace(test, entered);
const ROUNDS = Number(process.env.NODE_TUN_FUZZ_ROUNDS ?? 20000);
const seed = Number(process.env.NODE_TUN_FUZZ_SEED ?? Date.now() % 2 ** 31);
console.log(`  seed ${seed} (NODE_TUN_FUZZ_SEED), ${ROUNDS} rounds`);

/** xorshift32: numbers from 0 to below `limit`. */
function makeRandom(start) {
  let state = start | 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}
const random = makeRandom(seed);
const pick = (list) => list[random(list.length)];

const shared = new Uint8Array(new SharedArrayBuffer(65536));
// Descriptors of this process are not among them: a fuzzer that closes those tests Node, not us.
const ODD = [
  ...[undefined, null, true, false, NaN, Infinity, -Infinity, -1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53],
  ...[999999, 2 ** 31 - 1, 2 ** 32 - 1, "", "x", "\0", "::1", "127.0.0.1", "9".repeat(400), 10n],
  ...[
    Symbol("s"),
    {},
    [],
    [1],
    [999999],
    () => 0,
    new Date(),
    new ArrayBuffer(8),
    new DataView(new ArrayBuffer(8)),
  ],
  ...[new Uint8Array(0), new Uint8Array(100), shared, shared.subarray(3, 200), new Int32Array(4)],
  ...[new Uint32Array(4), new Float64Array(2), Buffer.from("buffer"), new Proxy({}, {})],
];
const FUNCTIONS = Object.entries(tun).filter(
  ([name, value]) => typeof value === "function" && name !== "SystemCallError",
);

test("any arguments: a TypeError, a SystemCallError or an answer, never a crash", () => {
  assert.ok(FUNCTIONS.length >= 20);
  const seen = { TypeError: 0, SystemCallError: 0, answer: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const [name, call] = pick(FUNCTIONS);
    const argv = Array.from({ length: random(7) }, () => pick(ODD));
    try {
      const answer = call(...argv);
      seen.answer++;
      if (/^open(Poller|Wake)$/.test(name)) tun.closeDescriptor(answer);
      if (name === "openSocketPair") answer.forEach(tun.closeDescriptor);
    } catch (error) {
      const kind =
        error instanceof tun.SystemCallError ? "SystemCallError" : error.constructor.name;
      assert.ok(kind in seen, `${name}(${argv.map(String)}): ${error.stack}`);
      seen[kind]++;
    }
  }
  assert.ok(seen.TypeError > 0 && seen.SystemCallError > 0 && seen.answer > 0);
});

/** A descriptor that is mostly plausible, so that the calls get as far as the kernel. */
function scribble(batch, i, port) {
  const at = batch.of(i);
  for (let offset = 0; offset < 64; offset++) batch.memory[at + offset] = random(256);
  const size = batch.memory.length;
  const address = pick([batch.slots, random(size), size - random(100), 0xffffffff - random(100)]);
  const length = pick([0, random(2000), random(70000), 0xffffffff - random(100)]);
  const family = pick([4, 6, 0, 4, 6]);
  batch.view.setUint32(at, address, true);
  batch.view.setUint32(at + 4, pick([length, random(3000)]), true);
  batch.view.setUint32(at + 8, length, true);
  batch.view.setUint16(at + 12, pick([0, 64 + random(2000), random(65536)]), true);
  batch.view.setUint16(at + 16, pick([0, 1, 0, 1, random(65536)]), true);
  batch.view.setUint16(at + 18, port, true);
  batch.view.setUint8(at + 20, family);
  batch.memory.fill(0, at + 32, at + 64);
  if (family === 4) batch.memory.set([127, 0, 0, 1], at + 32);
  if (family === 6) batch.memory[at + 47] = 1;
}

/** A worker that flips bytes in the descriptors until it is ended. */
async function startMutator(batch) {
  const body = `const { parentPort, workerData } = require("node:worker_threads");
    const { memory, from, to } = workerData;
    parentPort.postMessage(0);
    for (let at = from; ; at = at + 7 >= to ? from + (at % 5) : at + 7) memory[at] += 37;`;
  const workerData = { memory: batch.memory, from: batch.at, to: batch.of(64) };
  const worker = new Worker(body, { eval: true, workerData });
  await once(worker, "message");
  return worker;
}

async function scribbleRounds(mutated) {
  const sockets = [4, 6].map((family) => {
    const address = family === 4 ? "127.0.0.1" : "::1";
    return tun.openUdp({ family, address, port: 0, receiveOffload: true });
  });
  const raws = [4, 6].map((family) => tun.openRaw({ family, protocol: 253 }).fd);
  const queue = tun.openTun({ name: "fuzz%d", vnetHeader: true, offloads: true });
  const fds = Int32Array.from(sockets, (socket) => socket.fd);
  const batch = new Batch(100);
  const mutator = mutated ? await startMutator(batch) : null;
  const calls = [
    (count) => tun.writeUdpBatch(fds, batch.memory, batch.at, count),
    (count) => tun.writeRawBatch(Int32Array.from(raws), batch.memory, batch.at, count),
    (count) => tun.writeTunBatch(new Int32Array([queue.fd, -1]), batch.memory, batch.at, count),
    (count) => tun.readUdpBatch(pick(sockets).fd, batch.memory, batch.at, count),
    (count) => tun.readRawBatch(pick(raws), batch.memory, batch.at, count),
    (count) => tun.readTunBatch(queue.fd, batch.memory, batch.at, count),
  ];
  const seen = { answer: 0, EFAULT: 0 };
  for (let round = 0; round < ROUNDS / 20; round++) {
    const count = 1 + random(64);
    for (let i = 0; i < count; i++) scribble(batch, i, pick(sockets).port);
    try {
      const done = pick(calls)(count);
      assert.ok(done >= 0 && done <= count);
      seen.answer++;
    } catch (error) {
      assert.is(error.code, "EFAULT", error.stack);
      seen.EFAULT++;
    }
  }
  await mutator?.terminate();
  for (const fd of [...fds, ...raws, queue.fd]) tun.closeDescriptor(fd);
  assert.ok(seen.answer > 0 && seen.EFAULT > 0);
}

rootTest("any descriptors on real sockets: counted, refused, never a crash", () =>
  scribbleRounds(false),
);

rootTest("descriptors that another thread changes during the call: never a crash", () =>
  scribbleRounds(true),
);

test.run();
