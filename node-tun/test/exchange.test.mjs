// The exchange: waiting, reading and writing in one call each way, as one worker uses it.
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { Batch, LOOPBACK4, thrownBy } from "./support.mjs";

const P = tun.exchangePlan;
const D = tun.descriptorLayout;
const COUNTS = 4096;
/** Of the one listening socket. */
const KIND = 3;
const opened = [];
const keep = (fd) => {
  opened.push(fd);
  return fd;
};
test.after.each(() => {
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
});

/** Four descriptors in, four out, one socket, a wake-up; no TUN queue: descriptor -1. */
function setUp() {
  const batch = new Batch();
  const socket = tun.openUdp({ family: 4, address: "127.0.0.1", port: 0 });
  const poller = keep(tun.openPoller());
  const wake = keep(tun.openWake());
  tun.pollerAdd(poller, keep(socket.fd), 1);
  tun.pollerAdd(poller, wake, 2);
  const plan = new Uint32Array(P.SIZE);
  const guard = new Uint32Array(1);
  const fields = { POLLER: poller, DEVICE: -1, BATCH: 4, SOCKETS: 1, FIRST_SOCKET: socket.fd };
  const places = { STATE_AT: COUNTS, DEVICE_IN_COUNT_AT: COUNTS + 4, WIRE_IN_COUNT_AT: COUNTS + 8 };
  const outs = { DEVICE_OUT_COUNT_AT: COUNTS + 12, WIRE_OUT_COUNT_AT: COUNTS + 16 };
  const at = { DEVICE_IN_AT: batch.at, WIRE_IN_AT: batch.at };
  const out = { DEVICE_OUT_AT: batch.of(8), WIRE_OUT_AT: batch.of(8) };
  const states = { STATE_WAITING: 7, STATE_RUNNING: 8 };
  const all = { ...fields, ...places, ...outs, ...at, ...out, ...states };
  for (const [name, value] of Object.entries(all)) plan[P[name]] = value;
  plan.set([socket.fd, KIND], P.FIRST_LISTENING);
  plan[P.LISTENING] = 1;
  const times = new Float64Array(plan.buffer, 0, 2);
  const word = (index) => batch.view.getUint32(COUNTS + 4 * index, true);
  const exchange = tun.openExchange(batch.memory, plan, guard);
  const wait = (wait_us) => {
    times[P.WAIT] = wait_us;
    return exchange.receive();
  };
  /** Sends one byte each by the exchange itself, to its own socket. */
  const send = (count) => {
    for (let i = 0; i < count; i++) {
      batch.put(8 + i, { bytes: [i], peer: LOOPBACK4, port: socket.port }, 64);
    }
    batch.view.setUint32(COUNTS + 16, count, true);
    exchange.send();
    batch.view.setUint32(COUNTS + 16, 0, true);
  };
  batch.preset(8, 64);
  return { batch, plan, guard, times, wake, word, wait, send };
}

test("what was sent is received, by counts in the memory, and the state is running again", () => {
  const { batch, plan, word, wait, send, times } = setUp();
  send(3);
  assert.is(batch.get(10).status, 0);
  batch.preset(8, 64);
  assert.is(wait(-1), P.BIT_WIRE);
  assert.is(word(2), 3);
  assert.equal([...batch.get(2).bytes], [2]);
  assert.is(batch.get(2).socket, KIND);
  assert.is(word(0), 8);
  assert.is(plan[P.READY], 0);
  assert.ok(times[P.NOW] > 0);
});

test("a full batch is read on without waiting, by both sides in turn", () => {
  const { batch, plan, word, wait, send } = setUp();
  send(4);
  send(1);
  batch.preset(8, 64);
  assert.is(wait(-1), 0);
  assert.is(word(2), 4);
  assert.is(plan[P.READY], P.BIT_DEVICE | P.BIT_WIRE);
  plan[P.READY] = P.BIT_WIRE;
  batch.preset(8, 64);
  assert.is(wait(-1), P.BIT_WIRE);
  assert.is(word(2), 1);
});

test("so many bytes are a full batch, too", () => {
  const { batch, plan, word, wait, send } = setUp();
  for (const [most, answer] of [
    [2, 0],
    [3, P.BIT_WIRE],
    [0, P.BIT_WIRE],
  ]) {
    send(2);
    batch.preset(8, 64);
    plan[P.BATCH_BYTES] = most;
    assert.is(wait(-1), answer, `at most ${most}`);
    assert.is(word(2), 2);
    assert.is(plan[P.READY], answer === 0 ? P.BIT_DEVICE | P.BIT_WIRE : 0);
    plan[P.READY] = 0;
  }
});

test("a wake-up and the end of a wait are answers without packets", () => {
  const { wake, word, wait } = setUp();
  assert.is(wait(1000), 0);
  tun.wake(wake);
  assert.is(wait(-1), P.BIT_WAKE);
  assert.is(word(2), 0);
});

test("while the guard is another nothing is read, and nothing is lost", () => {
  const { guard, batch, plan, word, wait, send } = setUp();
  send(1);
  batch.preset(8, 64);
  guard[0] = 5;
  assert.is(wait(-1), P.BIT_WAKE);
  assert.is(word(2), 0);
  plan[P.GUARD] = 5;
  assert.is(wait(-1), P.BIT_WIRE);
  assert.is(word(2), 1);
});

test("places outside of the memory and dead descriptors are errors, not crashes", () => {
  const { plan, wait, send, batch } = setUp();
  const tooFar = batch.memory.length - 4;
  plan[P.READY] = P.BIT_WIRE;
  plan[P.WIRE_IN_AT] = tooFar;
  assert.is(thrownBy(() => wait(0)).code, "EFAULT");
  plan[P.WIRE_OUT_AT] = tooFar;
  assert.is(thrownBy(() => send(1)).code, "EFAULT");
  plan[P.STATE_AT] = 2;
  assert.is(thrownBy(() => wait(0)).code, "EFAULT");
  const other = setUp();
  other.plan[P.READY] = P.BIT_DEVICE;
  assert.is(thrownBy(() => other.wait(0)).code, "EBADF");
  for (const parts of [
    [batch.memory, new Uint32Array(4), new Uint32Array(1)],
    [batch.memory, plan, new Uint32Array(0)],
    [new Uint16Array(8), plan, new Uint32Array(1)],
  ]) {
    assert.instance(
      thrownBy(() => tun.openExchange(...parts)),
      TypeError,
    );
  }
  assert.is(D.DESCRIPTOR_SIZE, 64);
});

test.run();
