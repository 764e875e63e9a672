// MPPE without state between packets when packets are lost, late or there twice, at any place of
// the count's way round; and what the receiver does not do.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import { type Bits, openMppe, StatelessTwin, toHex } from "../support/mppe.js";
import { Random } from "../support/random.js";

const { state } = openMppe();
const random = new Random(3078);
const start = random.bytes(16);
const COUNTS = 4096;

/** Sender (the twin) and receiver at the same place: `sent` packets were taken. */
function begin(bits: Bits = 128, sent = 0) {
  const sender = new StatelessTwin(start, bits);
  const receiver = state(0);
  receiver.install(start, bits);
  for (let i = 0; i < sent; i++) receiver.decrypt(sender.encrypt(Uint8Array.of(0, 0x21, i)));
  return { sender, receiver };
}

const some = (length = 60) => random.bytes(length);

for (const bits of [40, 56, 128] as const) {
  test(`${bits} bits: all lengths and alignments, with losses of up to 255 packets`, () => {
    const { sender, receiver } = begin(bits);
    for (let i = 0; i < 400; i++) {
      const plain = some(random.between(1, 1500));
      if (i % 5 === 0) sender.lose(random.between(1, i % 25 === 0 ? 255 : 9));
      assert.equal(receiver.decrypt(sender.encrypt(plain), i % 16), plain);
    }
  });
}

test("the sender gives what the twin gives, for all lengths and alignments", () => {
  const { sender } = begin();
  const mine = state(1);
  mine.install(start, 128);
  for (let length = 1; length < 300; length++) {
    const plain = some(length);
    assert.equal(mine.encrypt(plain, length % 16), sender.encrypt(plain));
  }
});

test("the count goes round, several times", () => {
  const { sender, receiver } = begin();
  const mine = state(1);
  mine.install(start, 128);
  for (let i = 0; i < 2 * COUNTS + 100; i++) {
    const plain = some(20);
    const wire = mine.encrypt(plain);
    const count = toHex(wire.slice(0, 2));
    assert.is(count, (0x9000 + (i % COUNTS)).toString(16));
    assert.equal(wire, sender.encrypt(plain));
    assert.equal(receiver.decrypt(wire), plain);
  }
});

test("duplicates and late packets change nothing, also where the count goes round", () => {
  const { sender, receiver } = begin(128, COUNTS - 20);
  const sent = Array.from({ length: 40 }, () => {
    const wire = sender.encrypt(some());
    assert.ok(typeof receiver.decrypt(wire) === "object");
    return wire;
  });
  const before = toHex(receiver.bytes);
  for (const wire of [...sent, ...sent.reverse()]) {
    assert.is(receiver.decrypt(wire), -Drop.MPPE_BAD_COUNT);
  }
  assert.is(toHex(receiver.bytes), before);
  const plain = some();
  assert.equal(receiver.decrypt(sender.encrypt(plain)), plain);
});

test("256 packets ahead is caught up with at once, what is further by the packets after it", () => {
  for (const [ahead, lost] of [
    [256, 0],
    [257, 1],
    [511, 1],
    [512, 2],
    [2048, 8],
  ] as const) {
    const { sender, receiver } = begin(128, 3);
    sender.lose(ahead - 1);
    for (let i = 0; i < lost; i++) {
      assert.is(receiver.decrypt(sender.encrypt(some())), -Drop.MPPE_BAD_COUNT, `${ahead}: ${i}`);
    }
    const plain = some();
    assert.equal(receiver.decrypt(sender.encrypt(plain)), plain, `${ahead} ahead`);
  }
});

test("half of all counts behind or more is old: nothing changes", () => {
  const { sender, receiver } = begin(128, 3);
  sender.lose(2048);
  const before = toHex(receiver.bytes);
  assert.is(receiver.decrypt(sender.encrypt(some())), -Drop.MPPE_BAD_COUNT);
  assert.is(toHex(receiver.bytes), before);
});

test("a loss of any length is caught up with when the tunnel's numbers tell it", () => {
  for (const lost of [1, 255, 2047, 2048, 3000, 4095, 4096, 5000, 8191, 8192, 30_000]) {
    const { sender, receiver } = begin(128, 5);
    sender.lose(lost);
    // A few of the missing ones carried control frames, which have no count.
    receiver.skipped(lost + 3);
    let tries = 0;
    for (; tries < lost; tries++) {
      const plain = some();
      const answer = receiver.decrypt(sender.encrypt(plain));
      if (typeof answer === "object") {
        assert.equal(answer, plain, `${lost} lost`);
        break;
      }
      assert.is(answer, -Drop.MPPE_BAD_COUNT);
    }
    assert.ok(tries <= lost / 255 + 1, `${lost} lost: ${tries} more dropped`);
    const plain = some();
    assert.equal(receiver.decrypt(sender.encrypt(plain)), plain);
  }
});

test("what is not encrypted, not flushed or too short is dropped and changes nothing", () => {
  const { sender, receiver } = begin(128, 3);
  const before = toHex(receiver.bytes);
  const wire = sender.encrypt(some());
  const withWord = (word: number) => Uint8Array.from([word >> 8, word & 255, ...wire.slice(2)]);
  assert.is(receiver.decrypt(withWord(0x8003)), -Drop.BAD_FLAGS, "clear text is never taken");
  assert.is(receiver.decrypt(withWord(0x1003)), -Drop.BAD_FLAGS);
  for (const length of [0, 1, 2]) {
    assert.is(receiver.decrypt(wire.slice(0, length)), -Drop.TOO_SHORT);
  }
  assert.is(toHex(receiver.bytes), before);
  assert.ok(typeof receiver.decrypt(wire) === "object");
});

test("bits B and C mean nothing to MPPE (RFC 3078 section 3)", () => {
  const { sender, receiver } = begin();
  const plain = some();
  const wire = sender.encrypt(plain);
  wire[0] = (wire[0] ?? 0) | 0x60;
  assert.equal(receiver.decrypt(wire), plain);
});

test("directions of several calls do not touch each other", () => {
  const calls = Array.from({ length: 8 }, (_, index) => {
    const key = random.bytes(16);
    const bits = ([40, 56, 128] as const)[index % 3] ?? 128;
    const stateful = index % 2 === 1;
    const [sender, receiver] = [state(2 * index), state(2 * index + 1)];
    sender.install(key, bits, stateful);
    receiver.install(key, bits, stateful);
    return { sender, receiver };
  });
  for (let i = 0; i < 3000; i++) {
    const call = calls[random.between(0, calls.length - 1)];
    const plain = some(random.between(1, 90));
    const wire = call?.sender.encrypt(plain);
    assert.equal(wire && call?.receiver.decrypt(wire), plain);
  }
});

test.run();
