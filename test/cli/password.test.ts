// Passwords on a terminal: a real one (script of util-linux), so that an echo would be seen.
import { spawn } from "node:child_process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { makeWorld } from "./world.js";

/** Runs `meshd user add ada` on a terminal and answers each question; all that was shown. */
function onTerminal(answers: readonly [question: string, answer: string][]): Promise<string> {
  const world = makeWorld();
  const line = `${process.execPath} bin/meshd user add ada --state-dir ${world.stateDir}`;
  const child = spawn("script", ["-qec", line, "/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let shown = "";
  let index = 0;
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.stdout.on("data", (data: Buffer) => {
      shown += data.toString("utf8");
      const [question, answer] = answers[index] ?? [];
      if (question === undefined || !shown.endsWith(question)) return;
      index++;
      child.stdin.write(`${answer}\r`);
    });
    child.once("close", () => {
      world.remove();
      resolve(shown);
    });
  });
}

test("a password is asked for twice, and nothing of it is shown", async () => {
  const shown = await onTerminal([
    ["password: ", "s3cret"],
    ["again: ", "s3cret"],
  ]);
  assert.match(shown, /no mesh was made here/, "it went on with the password");
  assert.not.match(shown, /s3cret/);
});

test("two passwords that differ are refused", async () => {
  const shown = await onTerminal([
    ["password: ", "s3cret"],
    ["again: ", "s3cres"],
  ]);
  assert.match(shown, /the two passwords differ/);
});

test.run();
