// RFC 6040: the decapsulation table of section 4.2 in full, and TOS changes that keep the IPv4
// header checksum right.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fault } from "../support/judge.js";
import { openKernels } from "../support/kernels.js";
import { buildPacket, UDP } from "../support/packets.js";
import { Random } from "../support/random.js";

const { kernels, bytes } = openKernels();
const random = new Random(6040);
const AT = 70_000;
const [NOT_ECT, ECT1, ECT0, CE, DROP] = [0, 1, 2, 3, -1] as const;

/** Rows: inner; columns: outer Not-ECT, ECT(0), ECT(1), CE. */
const TABLE: [number, number[]][] = [
  [NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, DROP]],
  [ECT0, [ECT0, ECT0, ECT1, CE]],
  [ECT1, [ECT1, ECT1, ECT1, CE]],
  [CE, [CE, CE, CE, CE]],
];

test("every cell of RFC 6040's table is as printed, whatever the DSCP", () => {
  for (const [inner, row] of TABLE) {
    [NOT_ECT, ECT0, ECT1, CE].forEach((outer, column) => {
      for (const dscp of [0, 0xb8, 0xfc]) {
        assert.is(kernels.decap(dscp | inner, outer), row[column]);
        assert.is(kernels.decap(inner, dscp | outer), row[column]);
      }
    });
  }
});

for (const version of [4, 6] as const) {
  test(`IPv${version}: setting any TOS changes nothing else and keeps the checksum`, () => {
    for (let i = 0; i < 3000; i++) {
      const o = {
        ...{ version, protocol: UDP, payload: random.bytes(random.between(0, 20)) },
        ...{ identification: random.bits() & 0xffff, flowLabel: random.between(0, 0xfffff) },
        source: random.bytes(version === 4 ? 4 : 16),
      };
      const [before, after] = [random.between(0, 255), random.between(0, 255)];
      const packet = buildPacket({ ...o, tos: before });
      bytes.fill(0xa5, AT - 16, AT + packet.length + 16);
      bytes.set(packet, AT);
      assert.is(kernels.tos(AT), before);
      kernels.setTos(AT, after);
      const changed = bytes.slice(AT, AT + packet.length);
      assert.equal(changed, buildPacket({ ...o, tos: after }));
      assert.is(fault(changed), undefined);
      assert.is(bytes[AT - 1], 0xa5);
      assert.is(bytes[AT + packet.length], 0xa5);
    }
  });
}

test.run();
