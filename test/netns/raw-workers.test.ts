// Raw sockets of one protocol shared by four workers, between two hosts: SO_REUSEPORT does not
// spread them, so each worker's socket carries a filter.
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createNamespace, joinByVeth, runIn, spawnIn, uniqueDevice } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const CREW = fileURLToPath(new URL("../support/raw-crew.js", import.meta.url));
const FLOWS = 256;
const WORKERS = 4;
const PACKETS = 20_000;
const ADDRESS = "10.98.0.2";

function makeHosts(): { left: string; right: string } {
  const left = createNamespace("raw");
  const right = createNamespace("raw");
  joinByVeth(
    { namespace: left, device: uniqueDevice("rw"), addresses: ["10.98.0.1/24"] },
    { namespace: right, device: uniqueDevice("rw"), addresses: [`${ADDRESS}/24`] },
  );
  return { left, right };
}

/** The numbers that each of the workers got, in order. */
async function carry(protocol: number): Promise<number[][]> {
  const { left, right } = makeHosts();
  const argv = [process.execPath, CREW, "read", `${protocol}`, `${WORKERS}`];
  const readers = spawnIn(right, argv);
  if (readers.stdout === null) throw new Error("the readers have no output");
  const lines = createInterface({ input: readers.stdout })[Symbol.asyncIterator]();
  assert.is((await lines.next()).value, "ready");
  const ended = once(readers, "close");
  const send = [process.execPath, CREW, "send", `${protocol}`, ADDRESS, `${PACKETS}`];
  const sent = await runIn(left, send);
  assert.is(sent.code, 0, sent.stderr);
  readers.kill("SIGTERM");
  const shares = JSON.parse(String((await lines.next()).value)) as number[][];
  await ended;
  return shares;
}

for (const [name, protocol] of [
  ["IP in IP", 4],
  ["GRE", 47],
] as const) {
  rootTest(test, `${name}: of four workers exactly one gets each packet, in order`, async () => {
    const shares = await carry(protocol);
    const all = shares.flat().sort((a, b) => a - b);
    assert.is(all.length, PACKETS, "none missing, none twice");
    assert.ok(all.every((number, index) => number === index));
    const flows = shares.map((numbers) => new Set(numbers.map((number) => number % FLOWS)));
    const owners = flows.reduce((sum, set) => sum + set.size, 0);
    assert.is(owners, FLOWS, "a flow stays with one worker");
    assert.ok(
      flows.every((set) => set.size > FLOWS / WORKERS / 4),
      `flows of each: ${flows.map((set) => set.size)}`,
    );
    for (const numbers of shares) {
      assert.ok(
        numbers.every((number, index) => index === 0 || (numbers[index - 1] ?? 0) < number),
      );
    }
  });
}

test.run();
