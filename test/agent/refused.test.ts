// What the workers refuse of strangers and forgers comes into the log, and does not fill it.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { RefusedPackets } from "../../src/agent/refused.js";
import type { DropRow } from "../../src/agent/types.js";

const row = (reason: string, packets: number): DropRow => ({
  ...{ reason, packets, direction: "ingress", bytes: 0 },
});

test("what strangers and forgers send is said at once, and then once a minute", () => {
  let now_ms = 0;
  const said: unknown[] = [];
  const refused = new RefusedPackets(
    (_, fields) => said.push([fields?.reason, fields?.packets]),
    () => now_ms,
  );
  refused.look([row("UNKNOWN_PEER", 3), row("MULTICAST", 9), row("SPOOFED_SOURCE", 0)]);
  assert.equal(said.splice(0), [["UNKNOWN_PEER", 3]]);
  now_ms = 10_000;
  refused.look([row("UNKNOWN_PEER", 500), row("SPOOFED_SOURCE", 2)]);
  assert.equal(said.splice(0), [["SPOOFED_SOURCE", 2]]);
  now_ms = 61_000;
  refused.look([row("UNKNOWN_PEER", 503), row("SPOOFED_SOURCE", 2)]);
  assert.equal(said.splice(0), [["UNKNOWN_PEER", 500]]);
  now_ms = 200_000;
  refused.look([row("UNKNOWN_PEER", 1)]);
  refused.look([row("UNKNOWN_PEER", 4)]);
  assert.equal(said, [["UNKNOWN_PEER", 3]], "counters of a new worker");
});

test.run();
