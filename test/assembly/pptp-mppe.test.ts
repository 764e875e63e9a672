// MPPE in a call: packets that a slow twin encrypted are read and read back, nothing passes in
// clear text where it must not, and no key is anywhere but in the key region.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CALL_KEYS_SIZE, CALLS_KEYS, CALLS_MAX } from "../../assembly/shared/calls.js";
import { C_CALLS_AT, CONTROL } from "../../assembly/shared/layout.js";
import type { MppeKeys } from "../../src/datapath/call-types.js";
import { packetsInFlight } from "../../src/datapath/counters.js";
import { loadModule } from "../support/module.js";
import { type Bits, StatelessTwin } from "../support/mppe.js";
import { contentsOf, podPacket } from "../support/nodes.js";
import { ACK, concat, TCP } from "../support/packets.js";
import { CallRoom, callPeer, ipFrame, parsed, pppFrame } from "../support/pptp.js";

const THEIRS = Uint8Array.from({ length: 16 }, (_, i) => 0xb0 + i);
const OURS = Uint8Array.from({ length: 16 }, (_, i) => 0x40 + i);
const keys = (startKey: Uint8Array, bits: Bits): MppeKeys => ({ startKey, bits, stateful: false });

async function callOf2(bits: Bits = 128, form = { acfc: false, pfc: false }) {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const call = room.open(2);
  room.set(call.slot, {
    ...{ phase: "network", requireMppe: true },
    ...{ receive: keys(THEIRS, bits), send: keys(OURS, bits) },
  });
  const pptp = { slot: call.slot, encrypted: true, ...form };
  room.module.publish(contentsOf(1, [callPeer(2, call.slot, { pptp })]));
  return { room, ...call, theirs: new StatelessTwin(THEIRS, bits) };
}

/** The encrypted frame of a packet; its protocol number stands inside. */
function hidden(twin: StatelessTwin, packet: Uint8Array): Uint8Array {
  const protocol = (packet[0] ?? 0) >> 4 === 6 ? 0x57 : 0x21;
  return pppFrame(0xfd, twin.encrypt(concat(Uint8Array.of(0, protocol), packet)));
}

function assertIdentity(room: CallRoom): void {
  const { egress, ingress } = room.module.counters();
  assert.equal([packetsInFlight(egress), packetsInFlight(ingress)], [0, 0]);
}

for (const bits of [40, 56, 128] as const) {
  for (const form of [
    { acfc: false, pfc: false },
    { acfc: true, pfc: true },
  ]) {
    const how = form.pfc ? "short" : "long";
    test(`${bits} bits, ${how} headers: as a slow twin has it, both ways`, async () => {
      const { room, localId, theirs } = await callOf2(bits, form);
      const ours = new StatelessTwin(OURS, bits);
      for (let sequence = 0; sequence < 20; sequence++) {
        const version = sequence % 2 === 0 ? 4 : 6;
        const came = podPacket(version, 2, 1, { payload: new Uint8Array(sequence * 60) });
        const [out] = room.feed(localId, 2, { sequence, payload: hidden(theirs, came) });
        assert.equal(out?.tun[0]?.packet, came);
        const goes = podPacket(version, 1, 2, { payload: new Uint8Array(sequence * 50) });
        room.module.feedTun(goes);
        const [left] = parsed(room.run().wire);
        const inside = concat(Uint8Array.of(0, version === 4 ? 0x21 : 0x57), goes);
        assert.equal(left?.payload, pppFrame(0xfd, ours.encrypt(inside), form));
      }
      assertIdentity(room);
    });
  }
}

test("a super-packet's segments are encrypted in the order of their counts", async () => {
  const { room, localId, theirs } = await callOf2();
  room.feed(localId, 2, { sequence: 0, payload: hidden(theirs, podPacket(4, 2, 1)) });
  const payload = Uint8Array.from({ length: 5000 }, (_, i) => i);
  const packet = podPacket(4, 1, 2, { protocol: TCP, payload, flags: ACK });
  const gso = { gsoType: 1, headerLength: 40, gsoSize: 1000 };
  room.module.feedTun(packet, { flags: 1, checksumStart: 20, checksumOffset: 16, ...gso });
  const back = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const call = back.open(1);
  back.set(call.slot, { phase: "network", requireMppe: true, receive: keys(OURS, 128) });
  back.module.publish(contentsOf(2, [callPeer(1, call.slot)]));
  const pieces = parsed(room.run().wire).flatMap(({ sequence = 0, payload: frame }) => {
    return back.feed(call.localId, 1, { sequence, payload: frame })[0]?.tun ?? [];
  });
  assert.equal(concat(...pieces.map((piece) => piece.packet.subarray(40))), payload);
});

test("losses and changed order cost what was lost, and nothing else", async () => {
  const { room, localId, theirs, slot } = await callOf2();
  const packets = Array.from({ length: 100 }, (_, i) => podPacket(4, 2, 1, { identification: i }));
  const frames = packets.map((packet) => hidden(theirs, packet));
  const order = [0, 1, 3, 2, 4, 6, 7, 5, 7, 9, 60, 61, 62, 99];
  const out = order.flatMap((sequence) => {
    const payload = frames[sequence] ?? new Uint8Array(0);
    room.module.now_us += 40_000;
    return room.feed(localId, 2, { sequence, payload })[0]?.tun ?? [];
  });
  room.module.now_us += 40_000;
  out.push(...room.run().tun);
  assert.equal(
    out.map(({ packet }) => packet),
    [0, 1, 2, 3, 4, 6, 7, 9, 60, 61, 62, 99].map((i) => packets[i]),
  );
  const { drops } = room.module.counters().ingress;
  assert.equal(Object.keys(drops).sort(), ["DUPLICATE", "OLD_SEQUENCE"]);
  assert.is(room.calls.statistics(slot).badFrames, 0);
  assertIdentity(room);
});

test("what comes or goes in clear text is dropped where it must be encrypted", async () => {
  const { room, localId, slot, theirs } = await callOf2();
  room.feed(localId, 2, { sequence: 0, payload: ipFrame(podPacket(4, 2, 1)) });
  room.feed(localId, 2, { sequence: 1, payload: ipFrame(podPacket(6, 2, 1)) });
  assert.equal(Object.keys(room.module.counters().ingress.drops), ["CLEAR_REFUSED"]);
  const out = room.feed(localId, 2, { sequence: 2, payload: hidden(theirs, podPacket(4, 2, 1)) });
  assert.is(out[0]?.tun.length, 1);
  // The tables say something else than the call.
  room.module.publish(contentsOf(1, [callPeer(2, slot)]));
  room.module.feedTun(podPacket(4, 1, 2));
  assert.is(room.run().wire.length, 0);
  // The call has given its keys up.
  const pptp = { slot, encrypted: true, acfc: false, pfc: false };
  room.module.publish(contentsOf(1, [callPeer(2, slot, { pptp })]));
  room.set(slot, { send: null });
  room.module.feedTun(podPacket(4, 1, 2));
  assert.is(room.run().wire.length, 0);
  assert.ok(room.calls.send(slot, concat(Uint8Array.of(0, 0x21), podPacket(4, 1, 2))));
  assert.is(room.run().wire.length, 0);
  const { drops } = room.module.counters().egress;
  assert.equal(Object.keys(drops), ["NOT_ENCRYPTED"]);
  assert.is(drops.NOT_ENCRYPTED?.packets, 3);
  room.set(slot, { receive: null });
  room.feed(localId, 2, { sequence: 3, payload: hidden(theirs, podPacket(4, 2, 1)) });
  room.feed(localId, 2, { sequence: 4, payload: ipFrame(podPacket(4, 2, 1)) });
  const { ingress } = room.module.counters();
  assert.equal([ingress.drops.MPPE_NO_KEY?.packets, ingress.drops.CLEAR_REFUSED?.packets], [1, 3]);
  assertIdentity(room);
});

test("with keys nothing comes or goes in clear, though it need not be encrypted", async () => {
  const { room, localId, slot } = await callOf2();
  room.set(slot, { requireMppe: false });
  room.feed(localId, 2, { sequence: 0, payload: ipFrame(podPacket(4, 2, 1)) });
  assert.equal(Object.keys(room.module.counters().ingress.drops), ["CLEAR_REFUSED"]);
  room.module.publish(contentsOf(1, [callPeer(2, slot)]));
  room.module.feedTun(podPacket(4, 1, 2));
  assert.is(room.run().wire.length, 0);
  assert.equal(Object.keys(room.module.counters().egress.drops), ["NOT_ENCRYPTED"]);
  assertIdentity(room);
});

test("a call that must be encrypted has no clear text before its first keys", async () => {
  const room = new CallRoom(await loadModule({ peerCapacity: 8 }));
  const { slot, localId } = room.open(2);
  room.set(slot, { phase: "network", requireMppe: true });
  room.module.publish(contentsOf(1, [callPeer(2, slot)]));
  room.feed(localId, 2, { sequence: 0, payload: ipFrame(podPacket(4, 2, 1)) });
  room.module.feedTun(podPacket(4, 1, 2));
  assert.is(room.run().wire.length, 0);
  const { ingress, egress } = room.module.counters();
  assert.equal(
    [Object.keys(ingress.drops), Object.keys(egress.drops)],
    [["CLEAR_REFUSED"], ["NOT_ENCRYPTED"]],
  );
});

test("control frames that come encrypted are nobody's", async () => {
  const { room, localId, theirs } = await callOf2();
  const inside = Uint8Array.of(0xc0, 0x21, 5, 1, 0, 4);
  room.feed(localId, 2, { sequence: 0, payload: pppFrame(0xfd, theirs.encrypt(inside)) });
  assert.equal(room.frames, []);
  assert.equal(Object.keys(room.module.counters().ingress.drops), ["BAD_PPP"]);
});

test("an old count, and one too far ahead, are counted drops", async () => {
  const { room, localId, theirs } = await callOf2();
  const old = hidden(theirs, podPacket(4, 2, 1));
  room.feed(localId, 2, { sequence: 0, payload: old }, { sequence: 1, payload: old });
  theirs.lose(1000);
  const far = hidden(theirs, podPacket(4, 2, 1));
  room.feed(localId, 2, { sequence: 2, payload: far });
  const { drops } = room.module.counters().ingress;
  assert.is(drops.MPPE_BAD_COUNT?.packets, 2);
  assertIdentity(room);
});

test("a call goes on after losses of any length, also more than counts can say", async () => {
  const { room, localId, theirs } = await callOf2();
  let sequence = 0;
  for (const lost of [0, 1000, 3000, 4096, 5000, 20_000]) {
    theirs.lose(lost);
    sequence += lost;
    // A far number is believed after 16 of them; then 256 key changes a packet catch up.
    const most = 17 + Math.ceil(lost / 255);
    let tries = 0;
    for (; tries < most; tries++) {
      const packet = podPacket(4, 2, 1, { identification: sequence & 0xffff });
      const payload = hidden(theirs, packet);
      const out = room.feed(localId, 2, { sequence, payload })[0]?.tun ?? [];
      // What is near enough waits for those that are missing, as long as it may.
      room.module.now_us += 40_000;
      out.push(...room.run().tun);
      sequence++;
      if (out.length === 0) continue;
      assert.equal(out[0]?.packet, packet, `${lost} lost`);
      break;
    }
    assert.ok(tries < most, `${lost} lost: ${tries} more`);
  }
  assertIdentity(room);
});

test("a lost place in a key stream is told, and not again at once", async () => {
  const { room, slot, localId } = await callOf2();
  room.set(slot, { receive: { ...keys(THEIRS, 128), stateful: true } });
  const wrong = pppFrame(0xfd, Uint8Array.of(0x10, 0x05, 1, 2, 3, 4));
  room.feed(localId, 2, { sequence: 0, payload: wrong }, { sequence: 1, payload: wrong });
  assert.equal(room.events, [slot]);
  room.module.now_us += 1_000_000;
  room.feed(localId, 2, { sequence: 2, payload: wrong });
  assert.equal(room.events, [slot, slot]);
  assert.is(room.module.counters().ingress.drops.MPPE_BAD_COUNT?.packets, 3);
});

test("keys that fit nothing any more are told after 128 frames in a row", async () => {
  const { room, slot, localId, theirs } = await callOf2();
  let sequence = 0;
  const feed = (payload: Uint8Array) => room.feed(localId, 2, { sequence: sequence++, payload });
  const stranger = new StatelessTwin(OURS, 128);
  for (let i = 0; i < 127; i++) feed(hidden(stranger, podPacket(4, 2, 1)));
  theirs.lose(127);
  assert.is(feed(hidden(theirs, podPacket(4, 2, 1)))[0]?.tun.length, 1);
  stranger.lose(1);
  for (let i = 0; i < 127; i++) feed(hidden(stranger, podPacket(4, 2, 1)));
  assert.equal(room.lost, [], "one that made sense was between");
  feed(hidden(stranger, podPacket(4, 2, 1)));
  assert.equal(room.lost, [slot]);
  for (let i = 0; i < 127; i++) feed(hidden(stranger, podPacket(4, 2, 1)));
  assert.equal(room.lost, [slot]);
});

/** Places where the bytes stand in memory. */
function placesOf(memory: Uint8Array, wanted: Uint8Array): number[] {
  const all = Buffer.from(memory.buffer);
  const places: number[] = [];
  for (let at = all.indexOf(wanted); at >= 0; at = all.indexOf(wanted, at + 1)) places.push(at);
  return places;
}

test("keys are in the key region alone, and gone with the call", async () => {
  const { room, slot, localId, theirs } = await callOf2();
  room.feed(localId, 2, { sequence: 0, payload: hidden(theirs, podPacket(4, 2, 1)) });
  room.module.feedTun(podPacket(4, 1, 2));
  room.run();
  const { views, view } = room.module;
  const from = view.getUint32(CONTROL + C_CALLS_AT, true) + CALLS_KEYS;
  const isKeyRegion = (at: number) => at >= from && at < from + CALLS_MAX * CALL_KEYS_SIZE;
  for (const key of [THEIRS, OURS]) {
    const places = placesOf(views.bytes, key);
    assert.is(places.length, 1, "one copy: what was staged is zeros again");
    assert.ok(places.every(isKeyRegion));
  }
  room.calls.close(slot);
  room.run();
  for (const key of [THEIRS, OURS]) assert.equal(placesOf(views.bytes, key), []);
  // Keys for a call that has ended meanwhile.
  const next = room.open(2);
  room.calls.set(next.slot, { receive: keys(THEIRS, 128) });
  room.calls.close(next.slot);
  room.run();
  assert.equal(placesOf(views.bytes, THEIRS), []);
});

test("keys that were half moved on when a thread died end their call", async () => {
  const { room, slot, localId, theirs } = await callOf2();
  room.feed(localId, 2, { sequence: 0, payload: hidden(theirs, podPacket(4, 2, 1)) });
  const { views, view, hot, base } = room.module;
  const record = view.getUint32(CONTROL + C_CALLS_AT, true) + 4096 + slot * 512;
  views.bytes[record + 11] = 1;
  hot.init(base);
  room.feed(localId, 2, { sequence: 1, payload: hidden(theirs, podPacket(4, 2, 1)) });
  assert.is(room.module.counters().ingress.drops.UNKNOWN_CALL?.packets, 1);
  assert.equal(placesOf(views.bytes, THEIRS), []);
});

test("forged numbers far away cost packets, not the call: its keys fit again", async () => {
  const { room, localId, theirs } = await callOf2();
  let sequence = 100;
  const real = (count: number): number => {
    let out = 0;
    for (let i = 0; i < count; i++) {
      const payload = hidden(theirs, podPacket(4, 2, 1));
      out += room.feed(localId, 2, { sequence, payload })[0]?.tun.length ?? 0;
      sequence++;
    }
    return out;
  };
  const echo = pppFrame(0xc021, Uint8Array.of(9, 1, 0, 8, 0, 0, 0, 0));
  for (const far of [2 ** 30, 2 ** 31 + 5]) {
    assert.is(real(20), 20);
    for (let i = 0; i < 17; i++) {
      room.feed(localId, 2, { sequence: (sequence + far + i) >>> 0, payload: echo });
    }
    assert.ok(real(40) >= 20, "who sends goes on where it was");
  }
  assertIdentity(room);
});

test("more packets lost in a row than there are counts: the call goes on", async () => {
  const { room, localId, theirs } = await callOf2();
  let sequence = 0;
  const next = () => ({ sequence: sequence++, payload: hidden(theirs, podPacket(4, 2, 1)) });
  const echo = () => {
    const payload = pppFrame(0xc021, Uint8Array.of(9, 1, 0, 8, 0, 0, 0, 0));
    return { sequence: sequence++, payload };
  };
  for (const lost of [2000, 3000, 4090, 9000]) {
    for (let i = 0; i < 20; i++) {
      assert.is(room.feed(localId, 2, next())[0]?.tun.length, 1, `${i} before ${lost} are lost`);
      room.feed(localId, 2, echo());
    }
    for (let i = 0; i < lost; i++) next();
    // The first ones are too far ahead for the numbers, or for the keys at one go.
    for (let i = 0; i < 80; i++) room.feed(localId, 2, next());
  }
  assert.is(room.feed(localId, 2, next())[0]?.tun.length, 1);
  // Echoes that nothing encrypted stands between are not missing.
  for (let i = 0; i < 5000; i++) room.feed(localId, 2, echo());
  assert.is(room.feed(localId, 2, next())[0]?.tun.length, 1);
  assertIdentity(room);
});

test.run();
