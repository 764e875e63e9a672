// The control thread's ends of the punt and inject rings, against a worker's ends of a few lines.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  ENTRY_DATA,
  ENTRY_KIND,
  ENTRY_LENGTH,
  ENTRY_PEER,
  INJECT_PACKET,
  PUNT_PROBE,
  RING_DATA,
  RING_ENTRIES,
  RING_ENTRY_SIZE,
  RING_HEAD,
  RING_TAIL,
  W_INJECT_RING,
  W_PUNT_RING,
  WORKER_SIZE,
} from "../../assembly/shared/layout.js";
import { drainPunts, putInject, RING_PACKET_MAX } from "../../src/datapath/punt.js";

const BASE = 65536;
const memory = new SharedArrayBuffer(BASE + WORKER_SIZE);
const views = { bytes: new Uint8Array(memory), words: new Uint32Array(memory) };
const word = (at: number) => views.words[at / 4] ?? 0;
const setWord = (at: number, value: number) => {
  views.words[at / 4] = value;
};

function setIndexes(ring: number, value: number): void {
  setWord(BASE + ring + RING_HEAD, value);
  setWord(BASE + ring + RING_TAIL, value);
}

/** What the hot path does to punt. */
function punt(packet: number[], peer: number): void {
  const ring = BASE + W_PUNT_RING;
  const head = word(ring + RING_HEAD);
  const at = ring + RING_DATA + (head % RING_ENTRIES) * RING_ENTRY_SIZE;
  setWord(at + ENTRY_LENGTH, packet.length);
  setWord(at + ENTRY_KIND, PUNT_PROBE);
  setWord(at + ENTRY_PEER, peer);
  views.bytes.set(packet, at + ENTRY_DATA);
  setWord(ring + RING_HEAD, (head + 1) >>> 0);
}

/** What the hot path does to take one injected packet. */
function takeInjected(): { kind: number; packet: number[] } | undefined {
  const ring = BASE + W_INJECT_RING;
  const tail = word(ring + RING_TAIL);
  if (tail === word(ring + RING_HEAD)) return undefined;
  const at = ring + RING_DATA + (tail % RING_ENTRIES) * RING_ENTRY_SIZE;
  const packet = [...views.bytes.subarray(at + ENTRY_DATA).subarray(0, word(at + ENTRY_LENGTH))];
  setWord(ring + RING_TAIL, (tail + 1) >>> 0);
  return { kind: word(at + ENTRY_KIND), packet };
}

test("punted packets come out in order, as copies, with kind and peer", () => {
  setIndexes(W_PUNT_RING, 0);
  punt([1, 2, 3], 9);
  punt([4], 10);
  const seen: [number[], number, number][] = [];
  const packets: Uint8Array[] = [];
  drainPunts(views, BASE, (packet, kind, peer) => {
    packets.push(packet);
    seen.push([[...packet], kind, peer]);
  });
  assert.equal(seen, [
    [[1, 2, 3], PUNT_PROBE, 9],
    [[4], PUNT_PROBE, 10],
  ]);
  assert.not.ok(packets[0]?.buffer instanceof SharedArrayBuffer);
  assert.is(word(BASE + W_PUNT_RING + RING_TAIL), 2);
});

test("an empty punt ring calls nobody", () => {
  setIndexes(W_PUNT_RING, 5);
  assert.is(
    drainPunts(views, BASE, () => assert.unreachable()),
    0,
  );
});

test("a punt ring that is refilled while it is drained gives one ring's worth and no more", () => {
  setIndexes(W_PUNT_RING, 0);
  punt([0], 0);
  const taken = drainPunts(views, BASE, () => punt([0], 0));
  assert.is(taken, RING_ENTRIES);
});

test("a length that cannot be true is cut to the entry", () => {
  setIndexes(W_PUNT_RING, 0);
  punt([7], 0);
  setWord(BASE + W_PUNT_RING + RING_DATA + ENTRY_LENGTH, 0xffff_ffff);
  drainPunts(views, BASE, (packet) => assert.is(packet.length, RING_PACKET_MAX));
});

test("injected packets reach the worker in order, also when the indexes wrap at 2^32", () => {
  setIndexes(W_INJECT_RING, 0xffff_fffe);
  const packets = [[1], [2, 2], [3, 3, 3], [4]];
  for (const packet of packets) assert.ok(putInject(views, BASE, Uint8Array.from(packet)));
  for (const packet of packets) assert.equal(takeInjected(), { kind: INJECT_PACKET, packet });
  assert.is(takeInjected(), undefined);
});

test("a full inject ring and a packet longer than an entry are refused", () => {
  setIndexes(W_INJECT_RING, 3);
  const packet = new Uint8Array(20);
  for (let index = 0; index < RING_ENTRIES; index += 1) assert.ok(putInject(views, BASE, packet));
  assert.is(putInject(views, BASE, packet), false);
  takeInjected();
  assert.is(putInject(views, BASE, new Uint8Array(RING_PACKET_MAX + 1)), false);
  assert.is(putInject(views, BASE, new Uint8Array(RING_PACKET_MAX)), true);
});

test.run();
