// The impaired wire as a process: two TAPs, real frames, counts that a seed foretells.
//
//   namespace A, UDP sender -- network TAP ==( wire )== node TAP -- namespace B, UDP receiver
import { test } from "uvu";
import * as assert from "uvu/assert";
import { seedsOf, UNIMPAIRED } from "../../src/lab/wire/impairment.js";
import { Lane } from "../../src/lab/wire/lane.js";
import { createNamespace, pings, runIn, runSync, spawnIn, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import type { Sequence } from "../support/udp-sequence.js";
import { bothWays, TestWire } from "../support/wire.js";

const PACKETS = 4000;
const PORT = "7001";
const FAULTS = { loss_ppm: 10_000, duplicate_ppm: 10_000, reorder_ppm: 50_000 };
const SEED = 7;
const PROGRAM = "dist/test/support/udp-sequence.js";

/** Nothing passes but what the test sends: neighbours are known, and there is no IPv6. */
function settle(namespace: string, device: string, own: string, other: string): void {
  const number = own.at(-1);
  const address = (last: string | undefined) => `02:00:00:00:00:0${last}`;
  runSync(namespace, ["sysctl", "-qw", `net.ipv6.conf.${device}.disable_ipv6=1`]);
  runSync(namespace, ["ip", "link", "set", device, "address", address(number), "up"]);
  runSync(namespace, ["ip", "address", "add", `${own}/24`, "dev", device]);
  const neighbour = ["lladdr", address(other.at(-1)), "dev", device, "nud", "permanent"];
  runSync(namespace, ["ip", "neighbour", "replace", other, ...neighbour]);
}

interface Ends {
  a: string;
  b: string;
  wire: TestWire;
}

async function openEnds(): Promise<Ends> {
  const [place, a, b] = ["wire", "left", "right"].map(createNamespace);
  assert.ok(place && a && b);
  const wire = await TestWire.start(place, bothWays({}));
  runSync(place, ["ip", "link", "set", wire.network, "netns", a]);
  runSync(place, ["ip", "link", "set", wire.node, "netns", b]);
  settle(a, wire.network, "192.0.2.1", "192.0.2.2");
  settle(b, wire.node, "192.0.2.2", "192.0.2.1");
  return { a, b, wire };
}

/** What a lane of this seed does to so many frames. */
function foretold(count: number) {
  const { toNode } = seedsOf({ ...bothWays({}), seed: SEED });
  const numbers: number[] = [];
  const lane = new Lane({ ...UNIMPAIRED, ...FAULTS }, toNode, (frame) => {
    numbers.push(Buffer.from(frame).readUInt32BE(14));
  });
  const frame = Buffer.alloc(64);
  for (let number = 0; number < count; number += 1) {
    frame.writeUInt32BE(number, 14);
    lane.take(frame, number);
  }
  lane.drain(Number.MAX_SAFE_INTEGER);
  return { counts: lane.counts, numbers };
}

async function sendThrough({ a, b }: Ends): Promise<Sequence> {
  const receiver = spawnIn(b, [process.execPath, PROGRAM, "receive", "192.0.2.2", PORT]);
  let said = "";
  receiver.stdout?.on("data", (piece: Buffer) => {
    said += piece;
  });
  await until("the receiver listens", () => said.startsWith("ready"));
  const send = [process.execPath, PROGRAM, "send", "192.0.2.2", PORT, `${PACKETS}`];
  assert.is((await runIn(a, send)).code, 0);
  const last = () => said.trim().split("\n").at(-1) ?? "";
  const { numbers } = foretold(PACKETS);
  await until("all that was not lost is there", () => {
    return last().startsWith("{") && (JSON.parse(last()) as Sequence).packets >= numbers.length;
  });
  receiver.kill();
  return JSON.parse(last()) as Sequence;
}

rootTest(
  test,
  "loss, duplicates and reordering are exactly those that the seed foretells",
  async () => {
    const ends = await openEnds();
    const { wire } = ends;
    assert.ok(pings(ends.a, "192.0.2.2", 1400), "a wire without faults");
    const faults = bothWays(FAULTS, SEED);
    await wire.ask({ ...faults, fromNode: UNIMPAIRED });
    const got = await sendThrough(ends);
    const { counts, numbers } = foretold(PACKETS);
    const { toNode, fromNode } = await wire.ask();
    assert.equal(toNode, counts);
    assert.is(fromNode.lost + fromNode.duplicated + fromNode.reordered, 0);
    assert.is(got.packets, numbers.length);
    assert.is(got.twice, counts.duplicated);
    // A sender that pauses lets a held frame go by time: then nothing has overtaken it.
    assert.ok(got.late > 0 && got.late <= counts.reordered, `${got.late} came late`);
    await wire.stop();
  },
);

rootTest(test, "one direction alone can be cut; the TAPs go with the wire", async () => {
  const ends = await openEnds();
  const { wire, a, b } = ends;
  const cut = { ...UNIMPAIRED, cut: true };
  await wire.ask({ ...bothWays({}), fromNode: cut });
  assert.not.ok(pings(a, "192.0.2.2", 56, 1));
  const { toNode, fromNode } = await wire.ask();
  assert.is(toNode.sent, 1, "the request came through");
  assert.is(fromNode.cut, 1, "the answer did not");
  await wire.ask(bothWays({}));
  assert.ok(pings(b, "192.0.2.1"));
  await wire.stop();
  await until("the TAPs are gone", () => !runSync(a, ["ip", "link"]).includes(wire.network));
});

test.run();
