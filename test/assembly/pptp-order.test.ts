// Numbers of a PPTP call (RFC 2637 section 4): what is taken at once, held, lost, late, or double;
// acknowledgments at their time; no call without something due is ever looked at. The clock is the
// test's.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { BUFFERS_MAX, CALLS_HELD } from "../../assembly/shared/calls.js";
import { C_CALLS_AT, CONTROL } from "../../assembly/shared/layout.js";
import { packetsInFlight } from "../../src/datapath/counters.js";
import { loadModule, type TunOutput } from "../support/module.js";
import { contentsOf, podPacket } from "../support/nodes.js";
import { be16 } from "../support/packets.js";
import {
  CallRoom,
  callPeer,
  enhanced,
  fromNode,
  ipFrame,
  parsed,
  pppFrame,
} from "../support/pptp.js";
import { seededRandom } from "../support/random.js";

const HOLD_US = 30_000;
const ACK_US = 10_000;
const TOP = 2 ** 32;

async function callOf2() {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const call = room.open(2);
  room.set(call.slot, { phase: "network", requireMppe: false });
  room.module.publish(contentsOf(1, [callPeer(2, call.slot)]));
  /** Feeds packets of these numbers, each in a run of its own; the numbers that come out. */
  const taken = (...numbers: number[]) =>
    numbers.flatMap((sequence) => {
      const payload = ipFrame(podPacket(4, 2, 1, { identification: sequence & 0xffff }));
      return numbersOf(room.feed(call.localId, 2, { sequence: sequence >>> 0, payload })[0]?.tun);
    });
  /** Lets time pass; the numbers that come out, and the acknowledgments. */
  const wait = (us: number) => {
    room.module.now_us += us;
    const { tun, wire } = room.run();
    return { taken: numbersOf(tun), acks: parsed(wire).map(({ ack }) => ack) };
  };
  return { room, taken, wait, ...call };
}

/** Which packets came out: each carries the low half of its number as its identification. */
const numbersOf = (tun: TunOutput[] = []) => tun.map(({ packet }) => be16(packet, 4));

const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

function dropsOf(room: CallRoom): Record<string, number> {
  const { ingress } = room.module.counters();
  assert.is(packetsInFlight(ingress), room.module.view.getUint32(heldAt(room), true));
  return Object.fromEntries(
    Object.entries(ingress.drops).map(([name, one]) => [name, one.packets]),
  );
}

/** Where the packets that wait are counted: they are what is in flight between two runs. */
function heldAt({ module }: CallRoom): number {
  return module.view.getUint32(CONTROL + C_CALLS_AT, true) + CALLS_HELD;
}

test("any number may be the first, and order goes on from there", async () => {
  for (const first of [0, 1, 0xffff, TOP - 2]) {
    const { taken, room } = await callOf2();
    const low = (number: number) => number & 0xffff;
    assert.equal(taken(...range(first, 4)), range(first, 4).map(low));
    assert.equal(dropsOf(room), {});
  }
});

test("what comes early waits for what is missing, and comes in order", async () => {
  const { taken, room, slot } = await callOf2();
  assert.equal(taken(10), [10]);
  assert.equal(taken(12), []);
  assert.equal(taken(14), []);
  assert.equal(taken(11), [11, 12]);
  assert.equal(taken(13), [13, 14]);
  const { lost, late, duplicates, reordered } = room.calls.statistics(slot);
  assert.equal([lost, late, duplicates, reordered], [0, 0, 0, 2]);
  assert.equal(dropsOf(room), {});
});

test("what does not come is given up after its time, and is late then", async () => {
  const { taken, wait, room, slot } = await callOf2();
  taken(10, 12);
  assert.equal(wait(HOLD_US / 2).taken, []);
  assert.equal(taken(14), []);
  assert.is(room.module.deadline_us, room.module.now_us + ACK_US, "the next is due before");
  assert.equal(wait(HOLD_US / 2).taken, [12]);
  assert.equal(wait(HOLD_US / 2).taken, [14]);
  assert.equal(taken(11, 13), []);
  assert.equal(dropsOf(room), { OLD_SEQUENCE: 2 });
  assert.equal([room.calls.statistics(slot).lost, room.calls.statistics(slot).late], [2, 2]);
});

test("what comes twice is dropped: taken, held, or long ago", async () => {
  const { taken, wait, room, slot } = await callOf2();
  assert.equal(taken(10, 10, 11), [10, 11]);
  assert.equal(taken(13, 13), []);
  assert.equal(taken(12), [12, 13]);
  assert.equal(taken(13, 10), []);
  assert.equal(dropsOf(room), { DUPLICATE: 4 });
  assert.is(room.calls.statistics(slot).duplicates, 4);
  assert.equal(wait(HOLD_US).taken, []);
});

test("no more than 32 numbers are waited for, and the order holds", async () => {
  const { taken, room, slot } = await callOf2();
  taken(0);
  assert.equal(taken(...range(2, 31)), []);
  assert.equal(taken(33), range(2, 32));
  assert.is(room.calls.statistics(slot).lost, 1);
  assert.equal(taken(200), []);
  assert.equal(taken(232), [200]);
  assert.equal(taken(201), [201]);
  assert.equal(dropsOf(room), {});
});

test("where no buffer is left, what is missing is given up at once", async () => {
  const room = new CallRoom(await loadModule({ peerCapacity: 32 }));
  const calls = range(2, 10).map((node) => ({ node, ...room.open(node) }));
  for (const { slot } of calls) room.set(slot, { phase: "network", requireMppe: false });
  room.module.publish(
    contentsOf(
      1,
      calls.map(({ node, slot }) => callPeer(node, slot)),
    ),
  );
  let out = 0;
  for (const { node, localId } of calls) {
    for (const sequence of [0, ...range(2, 31)]) {
      const payload = ipFrame(podPacket(4, node, 1));
      out += room.feed(localId, node, { sequence, payload })[0]?.tun.length ?? 0;
    }
  }
  // Eight calls hold 31 each; the ninth gets the last eight, and gives them back.
  const held = Math.floor(BUFFERS_MAX / 31) * 31;
  assert.is(room.module.view.getUint32(heldAt(room), true), held);
  assert.is(out, calls.length * 32 - held);
  room.module.now_us += HOLD_US;
  assert.is(room.run().tun.length, held);
  assert.equal(dropsOf(room), {});
});

test("before authentication a call holds four packets at most", async () => {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const { localId } = room.open(2);
  for (const sequence of [0, 2, 4, 6, 8, 10]) {
    room.feed(localId, 2, { sequence, payload: pppFrame(0xc021, new Uint8Array(4)) });
  }
  assert.is(room.frames.length, 6, "the sixth made all before it go on");
  assert.is(room.module.view.getUint32(heldAt(room), true), 0);
});

test("a packet too large for a buffer does not wait", async () => {
  const { taken, room, localId } = await callOf2();
  taken(0);
  const payload = ipFrame(podPacket(4, 2, 1, { payload: new Uint8Array(2100) }));
  assert.is(room.feed(localId, 2, { sequence: 5, payload })[0]?.tun.length, 1);
  assert.equal(taken(6), [6]);
  assert.equal(dropsOf(room), {});
});

test("one far number is nobody's, a run of them is the sender's", async () => {
  const { taken, room } = await callOf2();
  taken(1000);
  assert.equal(taken(1_000_000, 1001), [1001]);
  assert.equal(taken(TOP - 5, 1002), [1002]);
  assert.equal(taken(...range(0x50000, 16)), [0x5000f & 0xffff]);
  assert.equal(taken(0x50010), [0x10]);
  assert.equal(dropsOf(room), { OLD_SEQUENCE: 17 });
  assert.equal(taken(...range(3, 20)), range(18, 5), "began anew");
});

test("a call that ends while packets wait counts them", async () => {
  const { taken, room, slot } = await callOf2();
  taken(0, 2, 3);
  room.calls.close(slot);
  room.run();
  assert.equal(dropsOf(room), { NO_CALL: 2 });
  assert.is(room.module.view.getUint32(heldAt(room), true), 0);
});

test("what came is acknowledged after 10 ms, or at once from eight on, and only once", async () => {
  const { taken, wait, room } = await callOf2();
  assert.is(room.module.deadline_us, Number.POSITIVE_INFINITY, "nothing is due at rest");
  taken(5, 6);
  assert.is(room.module.deadline_us, room.module.now_us + ACK_US);
  assert.equal(wait(ACK_US - 1).acks, []);
  assert.equal(wait(1).acks, [6]);
  assert.is(room.module.deadline_us, Number.POSITIVE_INFINITY);
  assert.equal(wait(ACK_US).acks, []);
});

test("eight packets of one run are acknowledged at its end, with the highest number", async () => {
  const { room, localId, taken } = await callOf2();
  taken(0);
  for (const sequence of [1, 2, 3, 4, 5, 6, 8]) {
    const payload = ipFrame(podPacket(4, 2, 1, { identification: sequence }));
    room.module.feedWire(enhanced(localId, { sequence, payload }), fromNode(2));
  }
  const { tun, wire } = room.run();
  assert.is(tun.length, 6);
  assert.equal(parsed(wire), [
    { callId: 0x1234, sequence: undefined, ack: 8, payload: new Uint8Array(0) },
  ]);
  assert.is(room.module.counters().ingress.generated, 1);
});

test("a packet that leaves acknowledges, and nothing else does then", async () => {
  const { room, taken, wait } = await callOf2();
  taken(7, 8);
  room.module.feedTun(podPacket(4, 1, 2));
  assert.equal(
    parsed(room.run().wire).map(({ sequence, ack }) => [sequence, ack]),
    [[0, 8]],
  );
  assert.equal(wait(ACK_US).acks, []);
  assert.is(room.module.deadline_us, Number.POSITIVE_INFINITY);
});

test("shuffled within what is waited for, nothing is lost and all comes in order", async () => {
  const { taken, room } = await callOf2();
  const random = seededRandom("pptp-order");
  const count = 3000;
  const out = [...taken(0)];
  let waiting: number[] = [];
  for (let number = 1; number < count; number++) {
    waiting.push(number);
    if (waiting.length < 12) continue;
    const [next] = waiting.splice(random.between(0, 11), 1);
    if (waiting[0] !== undefined && number - waiting[0] > 28) {
      out.push(...taken(waiting.shift() ?? 0));
    }
    out.push(...taken(next ?? 0));
  }
  waiting = waiting.sort(() => random.between(0, 1) * 2 - 1);
  out.push(...taken(...waiting));
  assert.equal(out, range(0, count));
  assert.equal(dropsOf(room), {});
});

test.run();
