// The send window of a PPTP call in its three ways, with the adaptive time-out (RFC 2637 sections
// 4.3 and 4.4). The clock is the test's.
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { CallEnd } from "../../src/datapath/call-types.js";
import { packetsInFlight } from "../../src/datapath/counters.js";
import { loadModule } from "../support/module.js";
import { contentsOf, podPacket } from "../support/nodes.js";
import { ACK, TCP } from "../support/packets.js";
import { CallRoom, callPeer, parsed, pppFrame } from "../support/pptp.js";

const TIMEOUT_FIRST_US = 500_000;
const TIMEOUT_MIN_US = 100_000;

async function callOf2(end: Partial<CallEnd>) {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const call = room.open(2, end);
  room.set(call.slot, { phase: "network", requireMppe: false });
  room.module.publish(contentsOf(1, [callPeer(2, call.slot)]));
  room.feed(call.localId, 2, { sequence: 0, payload: pppFrame(0xc021, new Uint8Array(4)) });
  /** Offers packets; the numbers that leave. */
  const send = (count: number) => {
    const out: (number | undefined)[] = [];
    for (let i = 0; i < count; i++) {
      room.module.feedTun(podPacket(4, 1, 2));
      out.push(...parsed(room.run().wire).map(({ sequence }) => sequence));
    }
    return out;
  };
  const ack = (number: number) => room.feed(call.localId, 2, { ack: number });
  return { room, send, ack, ...call };
}

function windowDrops(room: CallRoom): number {
  const { egress } = room.module.counters();
  assert.is(packetsInFlight(egress), 0);
  return egress.drops.WINDOW_FULL?.packets ?? 0;
}

test("as many as the other end advertised are on their way, those above are drops", async () => {
  const { room, send, ack, slot } = await callOf2({ window: 70, windowMode: "advertised" });
  assert.is(send(80).length, 70);
  assert.is(windowDrops(room), 10);
  ack(9);
  assert.equal(send(12), [70, 71, 72, 73, 74, 75, 76, 77, 78, 79]);
  assert.is(windowDrops(room), 12);
  assert.is(room.calls.statistics(slot).windowDrops, 12);
});

test("who says that it takes few takes 64, but not to the letter of the RFC", async () => {
  const kind = await callOf2({ window: 3, windowMode: "advertised" });
  assert.is(kind.send(80).length, 64);
  const strict = await callOf2({ window: 3, windowMode: "strict" });
  assert.is(strict.send(80).length, 1);
  const off = await callOf2({ window: 3, windowMode: "off" });
  assert.is(off.send(300).length, 300);
});

test("without an acknowledgment in time, what is on its way counts as gone", async () => {
  const { room, send, slot } = await callOf2({ window: 64, windowMode: "advertised" });
  assert.is(send(70).length, 64);
  room.module.now_us += TIMEOUT_FIRST_US - 1;
  assert.is(send(1).length, 0);
  room.module.now_us += 1;
  assert.is(send(70).length, 64);
  assert.is(room.calls.statistics(slot).timeouts, 1);
  room.module.now_us += TIMEOUT_FIRST_US;
  assert.is(send(1).length, 1);
});

test("the time-out follows what acknowledgments take", async () => {
  const { room, send, ack, slot } = await callOf2({ window: 64, windowMode: "advertised" });
  for (let i = 0; i < 30; i++) {
    const [number = 0] = send(1);
    room.module.now_us += 40_000;
    ack(number);
  }
  const { rtt_us } = room.calls.statistics(slot);
  assert.ok(Math.abs((rtt_us ?? 0) - 40_000) < 100, `${rtt_us}`);
  send(64);
  room.module.now_us += TIMEOUT_MIN_US - 1;
  assert.is(send(1).length, 0);
  room.module.now_us += 1;
  assert.is(send(1).length, 1);
});

test("strict begins with half, grows by one a window, and is halved when time is up", async () => {
  const { room, send, ack } = await callOf2({ window: 16, windowMode: "strict" });
  assert.is(send(20).length, 8);
  ack(7);
  const second = send(20);
  assert.is(second.length, 9);
  ack(16);
  assert.is(send(20).length, 10);
  room.module.now_us += TIMEOUT_FIRST_US * 4;
  assert.is(send(20).length, 5);
});

test("strict never grows above what was advertised", async () => {
  const { send, ack } = await callOf2({ window: 4, windowMode: "strict" });
  for (let i = 0; i < 20; i++) ack((send(4).at(-1) ?? 0) as number);
  assert.is(send(10).length, 4);
});

test("acknowledgments of what was never sent, and old ones, say nothing", async () => {
  const { room, send, ack, slot } = await callOf2({ window: 64, windowMode: "advertised" });
  send(64);
  for (const number of [64, 1000, 2 ** 31, 2 ** 32 - 1]) ack(number);
  assert.is(send(1).length, 0);
  ack(31);
  assert.is(send(40).length, 32);
  ack(10);
  assert.is(send(1).length, 0);
  assert.is(room.calls.statistics(slot).acksReceived, 6);
});

test("of a super-packet as many segments leave as the window lets, others are drops", async () => {
  const { room } = await callOf2({ window: 64, windowMode: "advertised" });
  const size = 500;
  const packet = podPacket(4, 1, 2, {
    ...{ protocol: TCP, payload: new Uint8Array(size * 100), flags: ACK },
  });
  const gso = { gsoType: 1, headerLength: 40, gsoSize: size };
  room.module.feedTun(packet, { flags: 1, checksumStart: 20, checksumOffset: 16, ...gso });
  const left = parsed(room.run().wire);
  assert.equal(
    left.map(({ sequence }) => sequence),
    Array.from({ length: 64 }, (_, i) => i),
  );
  assert.is(windowDrops(room), 36);
  const { egress } = room.module.counters();
  assert.is(egress.received, 100);
  assert.is(egress.drops.WINDOW_FULL?.bytes, 36 * (size + 40));
  room.module.feedTun(packet, { flags: 1, checksumStart: 20, checksumOffset: 16, ...gso });
  assert.is(room.run().wire.length, 0);
  assert.is(windowDrops(room), 136);
  assert.is(room.calls.statistics(0).windowDrops, 136);
});

test("frames of the control thread leave whatever the window says", async () => {
  const { room, send, slot } = await callOf2({ window: 64, windowMode: "advertised" });
  send(70);
  assert.ok(room.calls.send(slot, Uint8Array.of(0xc0, 0x21, 9, 1, 0, 4)));
  assert.equal(
    parsed(room.run().wire).map(({ sequence }) => sequence),
    [64],
  );
});

test.run();
