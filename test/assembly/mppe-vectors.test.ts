// Known answers of RC4 and MPPE (RFC 6229, RFC 3079, key schedules computed apart): in the compiled
// hot path, both directions, and in the slow twin that judges the other tests. Sources:
// test/vectors/README.md.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { C_KEY_SCRATCH, CONTROL, KEY_SCRATCH_SIZE } from "../../assembly/shared/layout.js";
import {
  type Bits,
  fromHex,
  KeyChain,
  openMppe,
  Rc4,
  StatelessTwin,
  toHex,
} from "../support/mppe.js";

interface Vectors {
  rc4: { name: string; key: string; stream: Record<string, string> }[];
  sessionKeys: {
    name: string;
    start: string;
    bits: Bits;
    session: string;
    testMessage?: string;
  }[];
  schedule: {
    start: string;
    plain: string;
    stateless: { bits: Bits; keys: Record<string, string>; wires: Record<string, string> }[];
    stateful128: string[];
  };
}

const path = new URL("../../../test/vectors/mppe.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vectors;
const { schedule } = vectors;
const plain = fromHex(schedule.plain);
const start = fromHex(schedule.start);
const { kernels, bytes, state } = openMppe();
const KEY = 70_000;
const DATA = 80_000;

/** What the hot path's RC4 makes of `data`, in pieces of these sizes. */
function crypt(key: Uint8Array, data: Uint8Array, pieces: number[] = [data.length]): Uint8Array {
  bytes.set(key, KEY);
  bytes.set(data, DATA);
  kernels.rc4Schedule(KEY, key.length);
  let at = DATA;
  for (const piece of pieces) {
    kernels.rc4Crypt(at, piece);
    at += piece;
  }
  return bytes.slice(DATA, at);
}

for (const { name, key, stream } of vectors.rc4) {
  const zeros = new Uint8Array(4096 + 16);
  const holds = (made: Uint8Array) => {
    for (const [offset, expected] of Object.entries(stream)) {
      assert.is(toHex(made.slice(+offset, +offset + 16)), expected, `from ${offset} on`);
    }
  };

  test(`RC4's key stream of RFC 6229, ${name}, comes out of the twin`, () => {
    holds(new Rc4(fromHex(key)).crypt(zeros));
  });

  // MPPE's keys have 8 or 16 bytes; the hot path knows no others.
  if (key.length === 10) continue;
  test(`RC4 of RFC 6229, ${name}, comes out of the hot path, whole and in pieces`, () => {
    holds(crypt(fromHex(key), zeros));
    holds(crypt(fromHex(key), zeros, [1, 2, 3, 250, 256, 7, 8, 9, 4096 + 16 - 536]));
  });
}

for (const { name, start: key, bits, session, testMessage } of vectors.sessionKeys) {
  test(`the first session key of ${name} is that of RFC 3079`, () => {
    const mine = state(0);
    const staged = mine.install(fromHex(key), bits);
    assert.is(toHex(mine.sessionKey), session);
    assert.ok(
      staged.every((byte) => byte === 0),
      "the start key stays nowhere but in the state",
    );
    assert.is(toHex(new KeyChain(fromHex(key), bits).key), session);
    if (testMessage === undefined) return;
    const message = new TextEncoder().encode("test message");
    assert.is(toHex(crypt(fromHex(session), message)), testMessage);
  });
}

for (const { bits, keys, wires } of schedule.stateless) {
  test(`stateless, ${bits} bits: keys and wire bytes of the key schedule`, () => {
    const [sender, receiver] = [state(0), state(1)];
    sender.install(start, bits);
    receiver.install(start, bits);
    const twin = new StatelessTwin(start, bits);
    const last = Math.max(...Object.keys(keys).map(Number));
    for (let count = 0; count <= last; count++) {
      const wire = sender.encrypt(plain);
      const expected = keys[count];
      if (expected !== undefined) assert.is(toHex(sender.sessionKey), expected, `key ${count}`);
      if (wires[count] !== undefined) assert.equal(wire, fromHex(wires[count] ?? ""));
      assert.equal(wire, twin.encrypt(plain), `count ${count}, as the twin`);
      assert.equal(receiver.decrypt(wire), plain, `count ${count} is decrypted`);
      if (expected !== undefined) assert.is(toHex(receiver.sessionKey), expected);
    }
  });
}

test("stateful, 128 bits: wire bytes, but for the first FLUSHED, which Linux leaves out", () => {
  const [sender, receiver] = [state(0), state(1)];
  sender.install(start, 128, true);
  receiver.install(start, 128, true);
  for (const [index, expected] of schedule.stateful128.entries()) {
    const wire = sender.encrypt(plain);
    assert.is(toHex(wire.slice(2)), toHex(fromHex(expected).slice(2)));
    assert.is(toHex(wire.slice(0, 2)), `100${index}`);
    assert.equal(receiver.decrypt(fromHex(expected)), plain, "as the RFC has it");
  }
});

test("stateful, 128 bits: a first packet as Linux sends it is taken, too", () => {
  const [sender, receiver] = [state(0), state(1)];
  sender.install(start, 128, true);
  receiver.install(start, 128, true);
  for (let i = 0; i < 600; i++) assert.equal(receiver.decrypt(sender.encrypt(plain)), plain);
});

test("no key stays in the state or in the scratch of a direction that has ended", () => {
  const mine = state(0);
  mine.install(start, 128, true);
  mine.encrypt(plain);
  mine.erase();
  assert.ok(mine.bytes.every((byte) => byte === 0));
  const scratch = bytes.slice(CONTROL + C_KEY_SCRATCH, CONTROL + C_KEY_SCRATCH + KEY_SCRATCH_SIZE);
  assert.ok(scratch.every((byte) => byte === 0));
});

test.run();
