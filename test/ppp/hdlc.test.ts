// PPP on an asynchronous line: known answers, every split of a stream, lines that lose and add
// bytes, and a million hostile pieces.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ACCM_ALL, encodeHdlc, fcs16, HdlcDecoder } from "../../src/ppp/hdlc.js";
import { bytes, hex } from "../support/ppp-pair.js";
import type { Random } from "../support/random.js";
import { seededRandom } from "../support/random.js";

const LIMIT = 1_600;

/** A decoder and what it gave. */
function listen(limit = LIMIT): { decoder: HdlcDecoder; got: string[] } {
  const got: string[] = [];
  return { decoder: new HdlcDecoder(limit, (frame) => got.push(hex(frame))), got };
}

const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

test("the FCS of 123456789 is 906e", () => {
  assert.is(fcs16(Buffer.from("123456789")), 0x906e);
  const framed = encodeHdlc(Buffer.from("123456789"), 0);
  assert.is(hex(framed), `7e${Buffer.from("123456789").toString("hex")}6e907e`, "low byte first");
});

test("flags and escapes are escaped always, control characters by the map", () => {
  assert.is(hex(encodeHdlc(bytes("0021 7e7d"), 0)).slice(0, 14), "7e00217d5e7d5d");
  assert.is(hex(encodeHdlc(bytes("0021 1103"), 1 << 0x11)).slice(0, 12), "7e00217d3103");
  assert.is(hex(encodeHdlc(bytes("0021 ff1f"), 0x80000000)).slice(0, 12), "7e0021ff7d3f");
});

test("LCP's own negotiation has every control character escaped, whatever was agreed on", () => {
  const request = "7eff7d23c0217d217d217d207d24";
  assert.ok(hex(encodeHdlc(bytes("ff03 c021 0101 0004"), 0)).startsWith(request));
  assert.ok(hex(encodeHdlc(bytes("c021 0101 0004"), 0)).startsWith("7ec0217d217d217d207d24"));
  // An Echo-Request is no part of it, and CHAP neither.
  assert.is(hex(encodeHdlc(bytes("ff03 c021 0901 0004"), 0)).slice(0, 18), "7eff03c02109010004");
  assert.is(hex(encodeHdlc(bytes("ff03 c223 0101 0004"), 0)).slice(0, 18), "7eff03c22301010004");
});

test("a stream is read the same however it is split", () => {
  const frames = ["ff03c0210101000405", "0021457e7d7e0011", "ff"].map(bytes);
  const stream = join(...frames.map((frame) => encodeHdlc(frame, ACCM_ALL)));
  for (let first = 0; first <= stream.length; first++) {
    const { decoder, got } = listen();
    decoder.push(stream.subarray(0, first));
    decoder.push(stream.subarray(first));
    assert.equal(got, frames.map(hex), `split at ${first}`);
  }
  const { decoder, got } = listen();
  for (const byte of stream) decoder.push(Uint8Array.of(byte));
  assert.equal(got, frames.map(hex), "byte by byte");
  assert.equal(decoder.counters, {
    ...{ frames: 3, crcErrors: 0, framingErrors: 0, bufferOverruns: 0 },
  });
});

test("one flag between two frames is enough, many are none too many", () => {
  const first = encodeHdlc(bytes("0021 01"), ACCM_ALL);
  const second = encodeHdlc(bytes("0021 02"), ACCM_ALL);
  const { decoder, got } = listen();
  decoder.push(join(first, second.subarray(1), bytes("7e7e7e7e"), first));
  assert.equal(got, ["002101", "002102", "002101"]);
  assert.is(decoder.counters.framingErrors, 0);
});

test("what is damaged is counted by its kind and costs no other frame", () => {
  const good = encodeHdlc(bytes("0021 4500"), ACCM_ALL);
  const wrong = good.slice();
  wrong[3] = (wrong[3] ?? 0) ^ 1;
  const { decoder, got } = listen(16);
  decoder.push(bytes("0102030405"));
  decoder.push(join(good, wrong, good, bytes("7e 0021 7d 7e"), good, bytes("7e 00 7e"), good));
  decoder.push(join(encodeHdlc(new Uint8Array(17), 0), good));
  assert.is(got.length, 5);
  assert.equal(decoder.counters, {
    ...{ frames: 5, crcErrors: 1, framingErrors: 2, bufferOverruns: 1 },
  });
  decoder.push(encodeHdlc(new Uint8Array(16), 0));
  assert.is(got.at(-1), "00".repeat(16), "the longest that fits");
  decoder.push(bytes("7e 00 00 7e"));
  assert.is(decoder.counters.framingErrors, 3, "an FCS alone is no frame");
});

test("whatever stands behind an escape is the byte with its sixth bit flipped", () => {
  const { decoder, got } = listen();
  const fcs = fcs16(bytes("5d41"));
  decoder.push(Uint8Array.of(0x7e, 0x7d, 0x7d, 0x7d, 0x61, fcs & 0xff, fcs >> 8, 0x7e));
  assert.equal(got, ["5d41"]);
});

test("control characters that a line adds are taken out where the map says so", () => {
  const framed = [...encodeHdlc(bytes("0021 0a11 7d13"), ACCM_ALL)];
  const noisy = Uint8Array.from(framed.flatMap((byte) => [0x11, byte, 0x13]));
  const { decoder, got } = listen();
  decoder.push(noisy);
  assert.equal(got, [], "without a map they are data");
  decoder.accm = (1 << 0x11) | (1 << 0x13);
  decoder.push(noisy);
  assert.equal(got, ["00210a117d13"]);
});

/** A frame of any bytes, the special ones often. */
function anyFrame(random: Random): Uint8Array {
  const frame = random.bytes(random.between(1, 40)).slice();
  for (let i = random.between(0, 4); i > 0; i--) {
    frame[random.between(0, frame.length - 1)] = random.pick([0x7e, 0x7d, 0x11, 0x00, 0xff, 0x5e]);
  }
  return frame;
}

test("what is sent with any map is what comes out, in any pieces", () => {
  const random = seededRandom("HDLC frames");
  const { decoder, got } = listen();
  for (let i = 0; i < 30_000; i++) {
    const frame = anyFrame(random);
    const framed = encodeHdlc(frame, random.bits());
    const middle = random.between(0, framed.length);
    decoder.push(framed.subarray(0, middle));
    decoder.push(framed.subarray(middle));
    assert.is(got.pop(), hex(frame));
  }
  assert.is(got.length, 0);
  assert.is(decoder.counters.frames, 30_000);
});

/** The same by another way: cut at flags, unescape, divide bit by bit. Whole streams only. */
function slowTwin(stream: Uint8Array, limit: number): string[] {
  const pieces = Buffer.from(stream).toString("latin1").split("~").slice(1, -1);
  return pieces.flatMap((piece) => {
    if (/(?:^|[^}])(?:}})*}$/.test(piece)) return [];
    const plain = piece.replaceAll(/}([\s\S])/g, (_, c: string) =>
      String.fromCharCode(c.charCodeAt(0) ^ 0x20),
    );
    const data = Buffer.from(plain, "latin1");
    if (data.length < 3 || data.length > limit + 2) return [];
    let rest = 0xffff;
    for (const byte of data) {
      rest ^= byte;
      for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >> 1) ^ 0x8408 : rest >> 1;
    }
    return rest === 0xf0b8 ? [hex(data.subarray(0, -2))] : [];
  });
}

const SHORT = 120;
const PER_ROUND = 1_000;

function hostilePiece(good: Uint8Array, random: Random): Uint8Array {
  const kind = random.between(0, 9);
  if (kind < 5) return random.bytes(random.between(0, 47));
  if (kind < 8) return good.subarray(random.between(0, 5));
  if (kind < 9) return new Uint8Array(random.between(0, 60)).fill(random.bits());
  const piece = good.slice();
  piece[random.between(0, piece.length - 1)] = random.bits();
  return piece;
}

test("a million hostile pieces give the frames that a slow twin finds, and nothing else", () => {
  const random = seededRandom("HDLC pieces");
  const { decoder, got } = listen(SHORT);
  const good = encodeHdlc(bytes("ff03 0021 4500001c"), ACCM_ALL);
  decoder.push(Uint8Array.of(0x7e));
  for (let round = 0; round < 1_000_000 / PER_ROUND; round++) {
    const pieces = Array.from({ length: PER_ROUND }, () => hostilePiece(good, random));
    pieces.push(Uint8Array.of(0x7e));
    for (const piece of pieces) decoder.push(piece);
    const wanted = slowTwin(Buffer.concat([Uint8Array.of(0x7e), ...pieces]), SHORT);
    assert.equal(got.splice(0), wanted);
  }
  const { frames, crcErrors, framingErrors, bufferOverruns } = decoder.counters;
  for (const count of [frames, crcErrors, framingErrors, bufferOverruns]) {
    assert.ok(count > 1_000, `${frames} ${crcErrors} ${framingErrors} ${bufferOverruns}`);
  }
});

test.run();
