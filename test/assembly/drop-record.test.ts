// What is kept of the last datagram that ended for each reason, and what is read out of it.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import {
  DROP_RECORD_SIZE,
  R_VERSION,
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_IPIP4,
  SOCKET_MIXED,
  SOCKET_UDP,
  SOCKET_VXLAN,
  W_DROP_RECORDS,
} from "../../assembly/shared/layout.js";
import { type DropRecord, readDropRecords } from "../../src/datapath/drop-records.js";
import { loadModule, loadWorkers, type TestModule } from "../support/module.js";
import {
  contentsOf,
  frameOf,
  geneveDatagram,
  geneveOption,
  grePacket,
  macOf,
  outerIpv4,
  peerOf,
  podPacket,
  underlayOf,
  vxlanDatagram,
} from "../support/nodes.js";
import { assertExact } from "../support/scene.js";

const recordsOf = (module: TestModule): DropRecord[] =>
  readDropRecords(module.views, [module.base]);

const FROM_2 = { from: underlayOf(2) };

test("nothing dropped, nothing kept; then the last one of each reason", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [2]));
  assert.equal(recordsOf(module), []);
  module.now_us = 5_000_000;
  const spoofed = vxlanDatagram(podPacket(4, 9, 1), { to: macOf(1), from: macOf(2) });
  module.feedWire(spoofed, FROM_2);
  module.feedWire(spoofed, { from: "192.0.2.99" });
  module.feedWire(vxlanDatagram(podPacket(6, 9, 1), { to: macOf(1), from: macOf(2) }), FROM_2);
  module.run();
  const records = recordsOf(module);
  assert.equal(
    records.map(({ reason, from, length, source, destination }) => {
      return { reason, from, length, source, destination };
    }),
    [
      {
        ...{ reason: "UNKNOWN_PEER", from: "192.0.2.99", length: spoofed.length },
        ...{ source: "10.244.9.7", destination: "10.244.1.9" },
      },
      {
        ...{ reason: "SPOOFED_SOURCE", from: underlayOf(2), length: spoofed.length + 20 },
        ...{ source: "fd00:9::7", destination: "fd00:1::9" },
      },
    ],
  );
  assert.ok(records.every(({ time_us }) => time_us === 5_000_000));
  assert.ok(records.every(({ vni, protocol }) => vni === 42 && protocol === "vxlan"));
  assertExact(module);
});

const strange = podPacket(4, 9, 1);

for (const [name, protocol, socket, datagram, vni] of [
  ["VXLAN", "vxlan", SOCKET_VXLAN, vxlanDatagram(strange, { to: macOf(1) }), 42],
  ["Geneve with options", "geneve", SOCKET_GENEVE, withOption(), 42],
  ["udp", "udp", SOCKET_UDP, strange, null],
  ["ipip", "ipip", SOCKET_IPIP4, strange, null],
  ["VXLAN on a shared port", "vxlan", SOCKET_MIXED, vxlanDatagram(strange, { to: macOf(1) }), 42],
  ["Geneve on a shared port", "geneve", SOCKET_MIXED, geneveDatagram(frameOf(strange)), 42],
  ["udp on a shared port", "udp", SOCKET_MIXED, strange, null],
  ["GRE with a key", "gre", SOCKET_GRE, grePacket(strange, { key: 7 }), null],
] as const) {
  test(`${name}: network number and addresses inside are found`, async () => {
    const module = await loadModule();
    module.publish(contentsOf(1, []));
    const isRaw = socket === SOCKET_IPIP4 || socket === SOCKET_GRE;
    const before = isRaw ? { before: outerIpv4(4) } : {};
    module.feedWire(datagram, { ...FROM_2, socket, ...before });
    module.run();
    const [record] = recordsOf(module);
    assert.is(record?.reason, "UNKNOWN_PEER");
    assert.equal([record?.protocol, record?.vni], [protocol, vni]);
    assert.equal([record?.source, record?.destination], ["10.244.9.7", "10.244.1.9"]);
    assert.is(record?.length, datagram.length);
  });
}

function withOption(): Uint8Array {
  return geneveDatagram(frameOf(strange), { options: geneveOption(1, new Uint8Array(8)) });
}

test("datagrams too short for what they should be have no addresses", async () => {
  const module = await loadModule();
  module.publish(contentsOf(1, [peerOf(2, { address: "2001:db8::2" })]));
  for (const length of [0, 1, 7, 8, 21, 22, 41]) {
    const whole = vxlanDatagram(podPacket(4, 2, 1), { to: macOf(1), from: macOf(2) });
    module.feedWire(whole.slice(0, length), { from: "2001:db8::2" });
    module.run();
    const record = recordsOf(module).find(({ reason }) => reason === "TOO_SHORT");
    assert.equal([record?.length, record?.source], [length, null]);
    assert.is(record?.from, "2001:db8::2");
    assert.is(record?.vni ?? null, length < 8 ? null : 42);
  }
});

test("of several workers the newest counts, and one that is being written does not", async () => {
  const [first, second] = await loadWorkers({ workers: 2 });
  assert.ok(first !== undefined && second !== undefined);
  first.publish(contentsOf(1, []));
  for (const [module, from, now_us] of [
    [first, "192.0.2.50", 200],
    [second, "192.0.2.51", 100],
  ] as const) {
    module.now_us = now_us;
    module.feedWire(new Uint8Array(30), { from });
    module.run();
  }
  const read = () => readDropRecords(first.views, [first.base, second.base]);
  assert.equal(
    read().map(({ from }) => from),
    ["192.0.2.50"],
  );
  first.setWord(W_DROP_RECORDS + Drop.UNKNOWN_PEER * DROP_RECORD_SIZE + R_VERSION, 3);
  assert.equal(
    read().map(({ from }) => from),
    ["192.0.2.51"],
  );
});

test.run();
