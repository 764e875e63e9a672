// GRE of one call by the bytes, and what comes late, twice or not at all.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { callIdOf, GreCall } from "../../src/nas/gre-call.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const FRAME = Buffer.from("ff03c02101010004", "hex");

/** A data packet to call 7 with this number. */
function data(number: number, frame: Uint8Array = FRAME): Buffer {
  const head = Buffer.alloc(12);
  Buffer.from("3001880b00000007", "hex").copy(head);
  head.writeUInt16BE(frame.length, 4);
  head.writeUInt32BE(number >>> 0, 8);
  return Buffer.concat([head, frame]);
}

test("packets have the bytes of RFC 2637, numbered from 0, acknowledged on the way", () => {
  const call = new GreCall(0x1234);
  assert.is(hex(call.wrap(FRAME)), `3001880b0008123400000000${hex(FRAME)}`);
  assert.equal(call.unwrap(data(9)), FRAME);
  assert.ok(call.owesAck);
  assert.is(hex(call.wrap(FRAME)), `3081880b000812340000000100000009${hex(FRAME)}`);
  assert.not(call.owesAck);
  assert.is(hex(call.acknowledge()), "2081880b0000123400000009");
});

test("late and repeated packets are dropped and counted; any number may be the first", () => {
  const call = new GreCall(1);
  const taken = [0xfffffffe, 0xffffffff, 0, 0, 0xffffffff, 2, 1, 3].map(
    (number) => call.unwrap(data(number)) !== null,
  );
  assert.equal(taken, [true, true, true, false, false, true, false, true]);
  assert.equal(call.counts, { sent: 0, received: 5, late: 3 });
});

test("what is no data packet of GRE version 1 with PPP is passed over", () => {
  assert.is(callIdOf(data(0)), 7);
  for (const [at, value] of [
    [0, 0x10],
    [0, 0xb0],
    [0, 0x70],
    [1, 0x00],
    [1, 0x09],
    [2, 0x08],
    [3, 0x00],
  ] as const) {
    const other = data(0);
    other[at] = value;
    assert.is(callIdOf(other), undefined, `${at}`);
  }
  const call = new GreCall(1);
  assert.is(callIdOf(Buffer.from("3001880b", "hex")), undefined);
  assert.is(call.unwrap(Buffer.from("2081880b0000000700000001", "hex")), null, "only an ack");
  const cut = data(1).subarray(0, 14);
  assert.is(call.unwrap(cut), null, "shorter than it says");
  assert.is(call.counts.received, 0);
});

test.run();
