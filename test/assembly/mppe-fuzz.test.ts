// A million inputs for MPPE's decryption: packets that are lost, late, doubled, damaged or made up.
// Each answer must be the one that a model of counts says, each packet taken must be decrypted if
// and only if both ends are at the same place of the keys; nothing traps, no other byte changes.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { MPPE_STATE_SIZE } from "../../assembly/shared/mppe.js";
import { type MppeState, openMppe } from "../support/mppe.js";
import { type Place, ReceiverModel, SenderModel } from "../support/mppe-model.js";
import { seededRandom } from "../support/random.js";

const INPUTS = 1_000_000;
const PAIRS = 8;
const PACKET = 3 << 20;
const GUARD = 16;
const LENGTH_MAX = 64;
/** Long enough that a wrong key never gives the plain text. */
const TOLD_FROM = 18;
const KEPT = 16;

const random = seededRandom("MPPE");
const { kernels, bytes, state } = openMppe();
const view = new DataView(bytes.buffer);
const plain = random.bytes(LENGTH_MAX);

interface Packet {
  wire: Uint8Array;
  /** Where in the keys it begins; null for one that nobody encrypted. */
  place: Place | null;
}

interface Pair {
  sender: MppeState;
  receiver: MppeState;
  sends: SenderModel;
  receives: ReceiverModel;
  sent: Packet[];
}

function install(index: number): Pair {
  const stateful = index % 2 === 1;
  const [sender, receiver] = [state(2 * index), state(2 * index + 1)];
  const key = random.bytes(16);
  const bits = random.pick([40, 56, 128] as const);
  sender.install(key, bits, stateful);
  receiver.install(key, bits, stateful);
  const [sends, receives] = [new SenderModel(stateful), new ReceiverModel(stateful)];
  return { sender, receiver, sends, receives, sent: [] };
}

function send(pair: Pair): Packet {
  const length = random.between(3, LENGTH_MAX);
  if (pair.sends.stateful && random.once(50)) {
    pair.sends.reset();
    kernels.mppeFlushNext(pair.sender.at);
  }
  bytes.set(plain.subarray(0, length), PACKET);
  kernels.mppeEncrypt(pair.sender.at, PACKET, length);
  const wire = bytes.slice(PACKET, PACKET + length);
  const packet = { wire, place: pair.sends.send(length - 2) };
  if (pair.sent.push(packet) > KEPT) pair.sent.shift();
  return packet;
}

/** Any packet: near in its count as a rule, for far ones take many key changes. */
function madeUp(pair: Pair): Packet {
  const wire = random.bytes(random.between(0, LENGTH_MAX));
  const last = pair.sent.at(-1)?.wire;
  if (wire.length >= 2 && last !== undefined && !random.once(100)) {
    const word = (last[0] ?? 0) * 256 + (last[1] ?? 0) + random.between(0, 6) - 3;
    wire[0] = (word >> 8) ^ (random.once(4) ? 0x80 : 0) ^ (random.once(9) ? 0x10 : 0);
    wire[1] = word;
  }
  return { wire, place: null };
}

function next(pair: Pair): Packet {
  const turn = random.between(0, 99);
  if (turn < 12) return madeUp(pair);
  if (turn < 18 && pair.sent.length > 0) return random.pick(pair.sent);
  const isLong = random.once(8000);
  const lost = isLong ? random.between(200, 9000) : turn < 22 ? random.between(1, 3) : 0;
  for (let i = 0; i < lost; i++) send(pair);
  if (isLong || random.once(2)) {
    // Now and then as a forged number of the tunnel would say it.
    const missing = random.once(1000) ? 1 << 30 : pair.receives.missing + lost;
    pair.receives.skipped(missing);
    kernels.mppeSkipped(pair.receiver.at, missing);
  }
  return send(pair);
}

const isSame = (a: Place, b: Place) => a.changes === b.changes && a.bytes === b.bytes;

/** Gives a packet to a receiver. @returns its answer */
function receive({ receiver, receives }: Pair, { wire, place }: Packet): number {
  const length = wire.length;
  bytes.fill(0xa5, PACKET - GUARD, PACKET + LENGTH_MAX + GUARD);
  bytes.set(wire, PACKET);
  const answer = kernels.mppeDecrypt(receiver.at, PACKET, length);
  const expected = receives.receive(length < 2 ? 0 : view.getUint16(PACKET), length);
  assert.is(answer, expected);
  const around = view.getBigUint64(PACKET - 8) ^ view.getBigUint64(PACKET + length);
  if (around !== 0n) assert.unreachable("a byte outside of the packet changed");
  const made = bytes.subarray(PACKET + 2, PACKET + length);
  if (answer !== 0) assert.equal(made, wire.subarray(2), "a dropped packet stays as it was");
  if (answer === 0 && place !== null && length >= TOLD_FROM) {
    const isRight = Buffer.compare(made, plain.subarray(2, length)) === 0;
    assert.is(isRight, isSame(place, receives.place), "decrypted if the places are the same");
  }
  if (answer === 0) receives.place.bytes += length - 2;
  return answer;
}

test("a million inputs are answered as the rules for counts say", () => {
  const pairs = Array.from({ length: PAIRS }, (_, index) => install(index));
  const beyond = state(2 * PAIRS).at;
  bytes.fill(0x5a, beyond, beyond + MPPE_STATE_SIZE);
  const answers = new Map<number, number>();
  let decrypted = 0;
  for (let input = 0; input < INPUTS; input++) {
    const index = random.between(0, PAIRS - 1);
    // After a while most receivers are somewhere else than their senders.
    if (random.once(300)) pairs[index] = install(index);
    const pair = pairs[index] ?? install(index);
    const packet = next(pair);
    const answer = receive(pair, packet);
    if (answer === 0 && packet.place !== null) decrypted++;
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
  }
  assert.is(
    [...answers.values()].reduce((sum, count) => sum + count, 0),
    INPUTS,
  );
  assert.is(answers.size, 5, `all answers came: ${[...answers]}`);
  assert.ok(decrypted > INPUTS / 10, `${decrypted} packets decrypted`);
  assert.ok(bytes.slice(beyond, beyond + MPPE_STATE_SIZE).every((byte) => byte === 0x5a));
  process.stdout.write(`  ${INPUTS} inputs: ${[...answers].map(String).join("; ")}\n`);
});

test.run();
