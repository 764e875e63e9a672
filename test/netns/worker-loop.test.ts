// What V8 has compiled of a worker's loop at the start stays in use, by its own trace: neither the
// first packets nor full batches are anything the rehearsal has not seen.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CallMesh } from "../support/call-nodes.js";
import { DatapathNode } from "../support/datapath-node.js";
import { iperf } from "../support/iperf.js";
import { runSync } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { configOf, makeHostPair } from "../support/two-hosts.js";

/** The trace goes to a file for each thread. */
const FLAGS = ["--trace-opt", "--trace-deopt", "--redirect-code-traces"];
const LOOP = ["#spell", "#turn", "round", "#work"];
const TRANSFERS = [
  ["-n", "300M"],
  ["-n", "300M", "-R"],
];

/** Names of the functions in lines of the trace that begin so, in all its files. */
function traced(folder: string, line: RegExp): string[] {
  const texts = readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1"));
  return texts.flatMap((text) => [...text.matchAll(line)].map((match) => match[1] ?? ""));
}

/** Of V8's trace: the loop was compiled, and nothing of it was thrown away. */
function assertKept(folder: string): void {
  const compiled = traced(folder, /^\[completed optimizing .*<JSFunction (\S+)/gm);
  assert.ok(compiled.includes("#turn"), `compiled: ${compiled.join(" ")}`);
  const thrownAway = traced(folder, /^\[bailout .*<JSFunction (\S+)/gm);
  assert.equal(
    thrownAway.filter((name) => LOOP.includes(name)),
    [],
  );
}

rootTest(
  test,
  "no packet makes V8 throw away what it has compiled of a worker's loop",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "meshd-trace-"));
    const { a, b } = makeHostPair();
    const engine = { flags: FLAGS, folder };
    const nodes = [
      await DatapathNode.start(a.namespace, configOf(a, b, {}), engine),
      await DatapathNode.start(b.namespace, configOf(b, a, {}), engine),
    ];
    try {
      const address = b.overlay[4];
      runSync(a.namespace, ["ping", "-n", "-q", "-i", "0.01", "-c", "50", address]);
      for (const argv of TRANSFERS) {
        await iperf({ server: b.namespace, client: a.namespace, address, argv });
      }
      await Promise.all(nodes.map((node) => node.settledCounters()));
      assertKept(folder);
    } finally {
      await Promise.all(nodes.map((node) => node.stop()));
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

rootTest(test, "nor do acknowledgments of a PPTP call, which come by the clock", async () => {
  const folder = mkdtempSync(join(tmpdir(), "meshd-trace-"));
  const engine = { flags: FLAGS, folder };
  const mesh = await CallMesh.start({ mppe: { bits: 128, stateful: false } }, engine);
  const { a, b } = mesh.pair;
  try {
    const address = b.overlay[4];
    runSync(a.namespace, ["ping", "-n", "-q", "-i", "0.02", "-c", "50", address]);
    for (const argv of [
      ["-n", "100M"],
      ["-u", "-b", "20M", "-n", "2M"],
    ]) {
      await iperf({ server: b.namespace, client: a.namespace, address, argv });
    }
    await Promise.all(mesh.sides.map(({ node }) => node.settledCounters()));
    assertKept(folder);
  } finally {
    await mesh.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
