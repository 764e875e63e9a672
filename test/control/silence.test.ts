// Silence of something that speaks while it lives: told once, and not of one that was read late.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Silence } from "../../control/nats/index.js";
import { cutOff, listen } from "../support/ports.js";
import { until } from "../support/wait.js";

const most_ms = 50;
/** Far longer than what comes between two turns. */
const held_ms = 300;

/** Holds up this process, as a long computation does. */
function hold(length_ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, length_ms);
}

test("silence is told once, and not before it is watched for", async () => {
  let told = 0;
  const silence = new Silence(most_ms, () => told++);
  await sleep(2 * most_ms);
  assert.is(told, 0);
  silence.watch();
  await until("it is told", () => told === 1);
  silence.watch();
  await sleep(2 * most_ms);
  assert.is(told, 1);
});

test("what came while the process was held up counts, though it is read late", async () => {
  const server = createServer();
  const port = await listen(server);
  const writer = connect({ host: "127.0.0.1", port });
  const [[reader]] = await Promise.all([once(server, "connection"), once(writer, "connect")]);
  let told = 0;
  const silence = new Silence(held_ms, () => told++);
  const heard = new Promise<void>((resolve) =>
    reader.once("data", () => {
      silence.hear();
      resolve();
    }),
  );
  silence.watch();
  writer.write("alive");
  hold(2 * held_ms);
  await heard;
  for (let turn = 0; turn < 3; turn++) await setImmediate();
  silence.end();
  await cutOff(server, [writer, reader]);
  assert.is(told, 0);
});

test("one that has ended tells nothing", async () => {
  let told = 0;
  const silence = new Silence(most_ms, () => told++);
  silence.watch();
  silence.end();
  await sleep(2 * most_ms);
  assert.is(told, 0);
});

test.run();
