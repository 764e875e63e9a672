// Data-path probes byte by byte.
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { PROBE_HEARD_AT, PROBE_ICMP_ID, PROBE_PORT } from "../../assembly/shared/layout.js";
import { readProbe } from "../../src/agent/neighbour-probes.js";
import { decodeReply, encodeEcho, encodeProbe } from "../../src/agent/probe-packets.js";
import { answer } from "./probe-world.js";

/** Slow ones' complement sum over any bytes: 0xffff when the checksum inside is right. */
function slowSum(bytes: number[]): number {
  let total = 0;
  bytes.forEach((byte, at) => {
    total += at % 2 === 0 ? byte * 256 : byte;
  });
  return total % 0xffff || 0xffff;
}

test("a probe is a well-formed UDP packet in both families, at every size", () => {
  const pairs = [
    ["10.244.1.0", "10.244.2.0"],
    ["fd00:244:0:1::", "fd00:244:0:2::"],
  ] as const;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2000 }), fc.nat(0xffffffff), (size, sequence) => {
      const said = sequence & 0xff;
      for (const [source, destination] of pairs) {
        const packet = encodeProbe(source, destination, sequence, { size, said }) as Uint8Array;
        const four = source.includes(".");
        const start = four ? 20 : 40;
        const udp = packet.slice(start);
        const pseudo = [...packet.slice(four ? 12 : 8, start)];
        assert.is(slowSum([...pseudo, 0, 17, udp.length >> 8, udp.length & 255, ...udp]), 0xffff);
        if (four) assert.is(slowSum([...packet.slice(0, 20)]), 0xffff);
        const view = new DataView(udp.buffer);
        assert.is(view.getUint16(0), PROBE_PORT);
        assert.is(view.getUint16(2), PROBE_PORT);
        assert.is(view.getUint16(4), udp.length);
        assert.is(view.getUint8(8 + PROBE_HEARD_AT), said);
        assert.is(decodeReply(packet), null, "a question is no answer");
        assert.is(decodeReply(answer(packet))?.sequence, sequence);
      }
    }),
  );
});

test("an echo request is well formed in both families and its reply is known again", () => {
  const four = encodeEcho("10.244.1.0", "10.250.0.1", 0x12345) as Uint8Array;
  assert.is(slowSum([...four.slice(20)]), 0xffff);
  assert.is(new DataView(four.buffer).getUint16(24), PROBE_ICMP_ID);
  assert.is(decodeReply(answer(four))?.sequence, 0x2345);
  const six = encodeEcho("fd00::1", "fd00::2", 7) as Uint8Array;
  const length = six.length - 40;
  assert.is(slowSum([...six.slice(8, 40), 0, 58, 0, length, ...six.slice(40)]), 0xffff);
  assert.is(decodeReply(answer(six))?.sequence, 7);
  assert.is(encodeEcho("10.0.0.1", "fd00::2", 7), null);
});

test("no bytes make the reader throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
      const reply = decodeReply(bytes);
      assert.ok(reply === null || reply.sequence >= 0);
      const probe = readProbe(Buffer.from(bytes));
      assert.ok(probe === null || (probe.sequence >= 0 && probe.said <= 255));
    }),
  );
});

test.run();
