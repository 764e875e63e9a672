// MPPE with one key stream over many packets: flag packets, losses, resets; senders as Linux is and
// as the RFC has it.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import { MPPE_NEEDS_RESET } from "../../assembly/shared/mppe.js";
import { type Bits, KeyChain, openMppe, Rc4, toHex } from "../support/mppe.js";
import { Random } from "../support/random.js";

const { state } = openMppe();
const random = new Random(79);
const start = random.bytes(16);
const some = () => random.bytes(random.between(1, 120));

/** A sender written apart from the hot path. */
class StatefulTwin {
  readonly #chain: KeyChain;
  #stream: Rc4;
  #count = 0;
  #isAsked = false;
  #saysNew: boolean;

  /** `saysFirst`: the first packet has FLUSHED, as the RFC has it; Linux leaves it out. */
  constructor(bits: Bits, saysFirst: boolean) {
    this.#chain = new KeyChain(start, bits);
    this.#saysNew = saysFirst;
    this.#stream = new Rc4(this.#chain.key);
  }

  reset(): void {
    this.#isAsked = true;
  }

  encrypt(plain: Uint8Array): Uint8Array {
    const count = this.#count;
    this.#count = (count + 1) & 4095;
    if ((count & 255) === 255 || this.#isAsked) {
      this.#chain.change();
      this.#stream = new Rc4(this.#chain.key);
      this.#saysNew = true;
    }
    const word = (this.#saysNew ? 0x9000 : 0x1000) | count;
    this.#saysNew = false;
    this.#isAsked = false;
    return Uint8Array.from([word >> 8, word & 255, ...this.#stream.crypt(plain)]);
  }
}

function begin(bits: Bits = 128, sent = 0, saysFirst = false) {
  const sender = new StatefulTwin(bits, saysFirst);
  const receiver = state(0);
  receiver.install(start, bits, true);
  for (let i = 0; i < sent; i++) receiver.decrypt(sender.encrypt(some()));
  return { sender, receiver };
}

for (const bits of [40, 56, 128] as const) {
  for (const saysFirst of [false, true]) {
    test(`${bits} bits, first packet${saysFirst ? "" : " not"} FLUSHED, all counts`, () => {
      const { sender, receiver } = begin(bits, 0, saysFirst);
      const mine = state(1);
      mine.install(start, bits, true);
      for (let i = 0; i < 4096 + 300; i++) {
        const plain = some();
        const wire = sender.encrypt(plain);
        assert.equal(receiver.decrypt(wire), plain, `packet ${i}`);
        const own = mine.encrypt(plain);
        assert.equal(own.slice(2), wire.slice(2), `packet ${i}, sent`);
        if (i > 0) assert.equal(own, wire);
      }
    });
  }
}

test("a loss is answered by a wish for a reset, until a FLUSHED packet comes", () => {
  for (const sent of [1, 3, 250, 254, 255, 256, 4090]) {
    for (const lost of [1, 2, 6, 255, 256, 700]) {
      const { sender, receiver } = begin(128, sent);
      for (let i = 0; i < lost; i++) sender.encrypt(some());
      const seen = [];
      let wire = sender.encrypt(some());
      for (let i = 0; i < 3 && (wire[0] ?? 0) < 0x80; i++, wire = sender.encrypt(some())) {
        seen.push(receiver.decrypt(wire));
      }
      assert.ok(seen.every((answer) => answer === MPPE_NEEDS_RESET));
      sender.reset();
      const plain = some();
      assert.equal(receiver.decrypt(sender.encrypt(plain)), plain, `${lost} after ${sent}`);
      const next = some();
      assert.equal(receiver.decrypt(sender.encrypt(next)), next);
    }
  }
});

test("a flag packet ends a loss without a reset", () => {
  const { sender, receiver } = begin(128, 250);
  sender.encrypt(some());
  assert.is(receiver.decrypt(sender.encrypt(some())), MPPE_NEEDS_RESET);
  for (let i = 252; i < 255; i++) receiver.decrypt(sender.encrypt(some()));
  const plain = some();
  const flag = sender.encrypt(plain);
  assert.is(toHex(flag.slice(0, 2)), "90ff");
  assert.equal(receiver.decrypt(flag), plain);
});

test("a reset that nobody needed changes the key on both sides", () => {
  const { sender, receiver } = begin(128, 10);
  sender.reset();
  const wire = sender.encrypt(some());
  assert.is(toHex(wire.slice(0, 2)), "900a");
  assert.ok(typeof receiver.decrypt(wire) === "object");
  const plain = some();
  assert.equal(receiver.decrypt(sender.encrypt(plain)), plain);
});

test("after a Reset-Request the next packet sent is FLUSHED with a new key, that one alone", () => {
  const { sender, receiver } = begin(128, 10);
  const mine = state(1);
  mine.install(start, 128, true);
  for (let i = 0; i < 10; i++) mine.encrypt(some());
  mine.flushNext();
  sender.reset();
  for (let i = 0; i < 5; i++) {
    const plain = some();
    const wire = mine.encrypt(plain);
    assert.is(toHex(wire.slice(0, 2)), i === 0 ? "900a" : `100${(10 + i).toString(16)}`);
    assert.equal(wire, sender.encrypt(plain));
    assert.equal(receiver.decrypt(wire), plain);
  }
});

test("duplicates and late packets change nothing, flag packets among them", () => {
  const { sender, receiver } = begin(128, 254);
  const sent = Array.from({ length: 4 }, () => sender.encrypt(some()));
  for (const wire of sent) receiver.decrypt(wire);
  const before = toHex(receiver.bytes);
  for (const wire of sent) assert.is(receiver.decrypt(wire), -Drop.MPPE_BAD_COUNT);
  assert.is(toHex(receiver.bytes), before);
  const plain = some();
  assert.equal(receiver.decrypt(sender.encrypt(plain)), plain);
});

test("a flag packet without FLUSHED has a new key all the same (RFC 3078 section 7.1)", () => {
  const { sender, receiver } = begin(128, 255);
  const plain = some();
  const wire = sender.encrypt(plain);
  wire[0] = 0x10;
  assert.equal(receiver.decrypt(wire), plain);
});

test("a long loss takes a key change for each missed flag packet, not all at once", () => {
  for (const lost of [3000, 5000, 70_000, 140_000]) {
    const { sender, receiver } = begin(128, 7);
    for (let i = 0; i < lost; i++) sender.encrypt(Uint8Array.of(1));
    receiver.skipped(lost);
    let tries = 0;
    for (; tries < 5; tries++) {
      sender.reset();
      const plain = some();
      const answer = receiver.decrypt(sender.encrypt(plain));
      if (typeof answer === "object") {
        assert.equal(answer, plain);
        break;
      }
      assert.is(answer, MPPE_NEEDS_RESET);
    }
    assert.ok(tries <= lost / 65_536, `${lost} lost: ${tries} more dropped`);
  }
});

test.run();
