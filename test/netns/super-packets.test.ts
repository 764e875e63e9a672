// The kernel as judge of our super-packets: what the coalescer made is written to a TUN device, and
// the kernel, forced to cut it in software, must bring back exactly the packets that went in.
//
// coalescer -> TUN with offloads (from0) -> kernel's routing and segmentation -> TUN without (to0)
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fault } from "../support/judge.js";
import type { CutterInput, CutterResult } from "../support/kernel-cutter.js";
import { createNamespace, deleteNamespace, runSync } from "../support/netns.js";
import type { PacketOptions } from "../support/packets.js";
import { ACK, address4, buildPacket, CWR, FIN, PSH, TCP, UDP } from "../support/packets.js";
import { rootTest } from "../support/root.js";
import { counts, deliver, random, TIMESTAMPS, train } from "../support/trains.js";

const ROUTES = ["10.0.1.0/24", "2001:db8:0:1::/64"];
const TTL = 64;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function cutByKernel(input: CutterInput): CutterResult {
  const namespace = createNamespace("cut");
  try {
    const argv = [process.execPath, "dist/test/support/kernel-cutter.js"];
    return JSON.parse(runSync(namespace, argv, { input: JSON.stringify(input) })) as CutterResult;
  } finally {
    deleteNamespace(namespace);
  }
}

/** The train as the sender made it, and the same one hop further. */
function trainAndExpected(
  o: Partial<PacketOptions>,
  sizes: number[],
  flags: (i: number) => number,
) {
  const payloads = sizes.map((size) => random.bytes(size));
  const build = (ttl: number) =>
    train(
      { ...o, ttl },
      sizes,
      (i) => ({ payload: payloads[i] ?? payloads[0], flags: flags(i) }) as Partial<PacketOptions>,
    );
  return { packets: build(TTL), expected: build(TTL - 1) };
}

/** Coalesces each train, lets the kernel cut the result, and compares packet by packet. */
function expectBack(trains: { packets: Uint8Array[]; expected: Uint8Array[] }[]): CutterResult {
  const outputs = trains.flatMap(({ packets }) => {
    const made = deliver(packets);
    assert.equal(counts(made), [packets.length], "one super-packet a train");
    return made;
  });
  const expected = trains.flatMap((t) => t.expected).map(hex);
  const writes = outputs.map((o) => hex(o.vnet) + hex(o.packet));
  const result = cutByKernel({ writes, routes: ROUTES, expected: expected.length });
  assert.equal(
    result.statuses,
    writes.map(() => 0),
    "the kernel took every write",
  );
  assert.equal(result.packets, expected);
  for (const packet of result.packets) assert.is(fault(Buffer.from(packet, "hex")), undefined);
  return result;
}

const sizesOf = (count: number, size: number, last: number) => [
  ...new Array<number>(count - 1).fill(size),
  last,
];

rootTest(
  test,
  "TCP super-packets of both families come back as the packets they were made of",
  () => {
    const trains = ([4, 6] as const).flatMap((version) => [
      trainAndExpected({ version, tcpOptions: TIMESTAMPS }, sizesOf(40, 1400, 77), () => ACK),
      trainAndExpected({ version, dontFragment: false, tos: 2 }, sizesOf(3, 500, 500), () => ACK),
      trainAndExpected({ version }, sizesOf(5, 900, 3), (i) => (i === 4 ? ACK | FIN | PSH : ACK)),
      trainAndExpected({ version, tos: 3 }, sizesOf(4, 1000, 1000), (i) =>
        i === 0 ? ACK | CWR : ACK,
      ),
    ]);
    expectBack(trains);
  },
);

rootTest(test, "UDP super-packets come back as their datagrams, where the kernel knows USO", () => {
  const trains = ([4, 6] as const).flatMap((version) => [
    trainAndExpected({ version, protocol: UDP }, sizesOf(64, 64, 64), () => 0),
    trainAndExpected({ version, protocol: UDP, tos: 0xb8 }, sizesOf(20, 1200, 1), () => 0),
  ]);
  const probe = cutByKernel({ writes: [], routes: ROUTES, expected: 0 });
  if (probe.offloads.uso4 && probe.offloads.uso6) expectBack(trains);
  else assert.not.ok(probe.offloads.uso4 && probe.offloads.uso6, "then the pump grants no USO");
});

rootTest(
  test,
  "a lone packet is the kernel's to judge: taken when right, unchanged when its checksum is not",
  () => {
    const destination = address4(10, 0, 1, 2);
    const options = { version: 4, protocol: TCP, payload: random.bytes(99), destination } as const;
    const good = buildPacket({ ...options, ttl: TTL });
    const bad = buildPacket({ ...options, ttl: TTL, checksum: 0x1234 });
    const [first, second] = deliver([good, bad]);
    assert.ok(first && second);
    const writes = [first, second].map((o) => hex(o.vnet) + hex(o.packet));
    const { packets } = cutByKernel({ writes, routes: ROUTES, expected: 2 });
    const hop = { ...options, ttl: TTL - 1 };
    assert.equal(packets, [hex(buildPacket(hop)), hex(buildPacket({ ...hop, checksum: 0x1234 }))]);
  },
);

test.run();
