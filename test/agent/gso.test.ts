// A super-packet of the overlay device fills one send of the underlay and never needs a second.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { gsoMaxSize } from "../../src/agent/gso.js";

/** As tcp_output.c does: segments of a super-packet from a device's limit. */
const MAX_TCP_HEADER = 320;
const segmentsOf = (mtu: number, headers: number) =>
  Math.floor((gsoMaxSize(mtu) - MAX_TCP_HEADER - 1) / (mtu - headers));
/** UDP payload of one send, with VXLAN's and Ethernet's headers before each segment. */
const bytesOf = (mtu: number, segments: number) => segments * (mtu + 22);
const SEND_MAX = 65_487;

test("at no MTU more whole segments than a send takes, whatever TCP's options", () => {
  for (let mtu = 1280; mtu <= 32_000; mtu++) {
    for (const headers of [40, 52, 60, 72]) {
      const segments = segmentsOf(mtu, headers);
      assert.ok(bytesOf(mtu, segments) <= SEND_MAX, `MTU ${mtu}: ${segments} are too many`);
    }
  }
});

test("with IPv4 and time stamps not one fewer than a send takes", () => {
  for (let mtu = 1280; mtu <= 10_000; mtu++) {
    const segments = segmentsOf(mtu, 52);
    assert.ok(bytesOf(mtu, segments + 1) > SEND_MAX, `MTU ${mtu}: ${segments} are too few`);
  }
});

test("the usual MTUs: 44 segments of 1,450 and 7 of 8,950", () => {
  assert.is(segmentsOf(1450, 52), 44);
  assert.is(segmentsOf(8950, 52), 7);
});

test("never more than the kernel's own limit, never less than one segment", () => {
  assert.is(gsoMaxSize(65_535), 65_536);
  assert.is(segmentsOf(60_000, 52), 1);
});

test.run();
