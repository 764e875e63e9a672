// The line that is a process's own streams: bytes both ways, and an end that breaks neither.
import { PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { standardLine } from "../../src/nas/line.js";

async function readAll(source: NodeJS.ReadableStream, length: number): Promise<string> {
  let text = "";
  source.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  for (let i = 0; i < 1000 && text.length < length; i++) await turn();
  return text;
}

test("what comes in is read, what is written goes out", async () => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const line = standardLine(input, output);
  const long = "x".repeat(200_000);
  input.write(long);
  line.write("answer");
  assert.is((await readAll(line, long.length)).length, long.length);
  assert.is(await readAll(output, 6), "answer");
});

test("a line that is given up leaves the streams whole, and fails nothing", async () => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const failures: Error[] = [];
  for (const stream of [input, output]) stream.on("error", (error) => failures.push(error));
  const line = standardLine(input, output);
  line.pause();
  line.destroy();
  await new Promise((resolve) => {
    line.once("close", resolve);
  });
  input.end("late");
  await turn();
  assert.equal(failures, []);
  assert.not(output.destroyed);
  output.write("still there");
  assert.is(await readAll(output, 11), "still there");
});

test("the end of the input is the end of the line", async () => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const line = standardLine(input, output);
  const ended = new Promise((resolve) => {
    line.once("end", resolve);
  });
  line.resume();
  input.end("last");
  await ended;
});

test.run();
