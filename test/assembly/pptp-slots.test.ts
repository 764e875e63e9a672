// Slots and keys of calls between the control thread and the worker: what one has not done yet is
// never taken for the other call's.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CALLS_KEYS } from "../../assembly/shared/calls.js";
import { C_CALLS_AT, CONTROL } from "../../assembly/shared/layout.js";
import { loadModule } from "../support/module.js";
import { StatelessTwin } from "../support/mppe.js";
import { contentsOf, podPacket, underlayOf } from "../support/nodes.js";
import { concat } from "../support/packets.js";
import {
  CallRoom,
  callPeer,
  enhanced,
  fromNode,
  ipFrame,
  PEER_ID,
  pppFrame,
} from "../support/pptp.js";

/** So many slots rest before one is used again. */
const RESTING = 64;
const END = {
  ...{ peerId: PEER_ID, address: underlayOf(2), window: 64 },
  windowMode: "off" as const,
};
const ECHO = pppFrame(0xc021, Uint8Array.of(9, 1, 0, 8, 0, 0, 0, 0));

async function makeRoom(): Promise<CallRoom> {
  return new CallRoom(await loadModule({ peerCapacity: 8 }));
}

test("a frame of a call that has ended is not the next one's in its slot", async () => {
  const room = await makeRoom();
  const { module, calls } = room;
  const old = room.open(2);
  module.publish(contentsOf(1, [callPeer(2, old.slot)]));
  module.feedWire(enhanced(old.localId, { sequence: 0, payload: ECHO }), fromNode(2));
  module.run();
  const late = module.punts();
  assert.is(late.length, 1);
  calls.close(old.slot);
  for (let i = 0; i < RESTING; i++) calls.close(calls.reserve().slot);
  module.run();
  const next = room.open(2);
  assert.is(next.slot, old.slot);
  assert.is.not(next.localId, old.localId);
  for (const { packet, kind, peer } of late) calls.take(packet, kind, peer);
  assert.equal(room.frames, []);
  room.feed(next.localId, 2, { sequence: 0, payload: ECHO });
  assert.is(room.frames.length, 1);
  // The tables still mean the one before.
  room.set(next.slot, { phase: "network", requireMppe: false });
  const [out] = room.feed(next.localId, 2, { sequence: 1, payload: ipFrame(podPacket(4, 2, 1)) });
  assert.is(out?.tun.length, 0);
  assert.equal(Object.keys(module.counters().ingress.drops), ["NO_CALL"]);
});

test("a slot is not given again before the worker has ended its call", async () => {
  const room = await makeRoom();
  const slots = Array.from({ length: RESTING + 2 }, () => room.open(2).slot);
  for (const slot of slots) room.calls.close(slot);
  const fresh = room.calls.reserve();
  assert.not(slots.includes(fresh.slot));
  room.module.run();
  assert.is(room.calls.reserve().slot, slots[0], "the oldest one");
});

test("keys wait until those before them were taken, and no copy of them stays", async () => {
  const room = await makeRoom();
  const { slot, localId } = room.open(2);
  const startKeys = [1, 2, 3].map((first) =>
    Uint8Array.from({ length: 16 }, (_, i) => first + 7 * i),
  );
  const keys = (index: number) => ({
    ...{ startKey: startKeys[index] ?? new Uint8Array(16) },
    ...{ bits: 128 as const, stateful: false },
  });
  room.module.publish(contentsOf(1, [callPeer(2, slot)]));
  room.calls.set(slot, { phase: "network", requireMppe: true });
  for (const index of [0, 1, 2]) room.calls.set(slot, { receive: keys(index), send: keys(index) });
  for (const _ of startKeys) {
    room.module.run();
    room.calls.resume();
  }
  room.module.run();
  const twin = new StatelessTwin(startKeys[2] ?? new Uint8Array(16), 128);
  const payload = pppFrame(0xfd, twin.encrypt(concat(Uint8Array.of(0, 0x21), podPacket(4, 2, 1))));
  assert.is(room.feed(localId, 2, { sequence: 0, payload })[0]?.tun.length, 1);
  const { bytes } = room.module.views;
  const memory = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = room.module.view.getUint32(CONTROL + C_CALLS_AT, true) + CALLS_KEYS;
  for (const key of startKeys.slice(0, 2)) assert.is(memory.indexOf(Buffer.from(key)), -1);
  assert.ok(memory.indexOf(Buffer.from(startKeys[2] ?? "")) >= at, "the last one's state");
  assert.is(startKeys[0]?.[0], 1, "the caller's own copy is the caller's");
});

test("keys for a call that ended meanwhile are gone with it", async () => {
  const room = await makeRoom();
  const { slot } = room.open(2);
  const startKey = Uint8Array.from({ length: 16 }, (_, i) => 0x90 + i);
  room.calls.set(slot, { receive: { startKey, bits: 128, stateful: false } });
  const again = room.calls.reserve();
  room.calls.open(again.slot, END);
  room.calls.close(again.slot);
  room.calls.close(slot);
  room.module.run();
  const { bytes } = room.module.views;
  const memory = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  assert.is(memory.indexOf(Buffer.from(startKey)), -1);
});

test.run();
