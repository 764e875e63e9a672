// Small tools of the set-up scripts: run a command quietly, show progress, fail with one line.
import { spawn } from "node:child_process";

/** Ends the process with one line on standard error. */
export function fail(why) {
  process.stderr.write(`meshd set-up: ${why}\n`);
  process.exit(1);
}

/** Runs argv without a shell; keeps its output back and shows it only when it fails. */
export function run(command, argv, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, argv, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    const output = [];
    child.stdout.on("data", (bytes) => output.push(bytes));
    child.stderr.on("data", (bytes) => output.push(bytes));
    child.on("error", reject);
    child.on("close", (code) => {
      const text = Buffer.concat(output).toString();
      if (code === 0) return resolve(text);
      reject(new Error(`'${command} ${argv.join(" ")}' ended with ${code}:\n${text.trim()}`));
    });
  });
}

/** One line of progress on standard error: what, and how long it took. */
export async function step(what, action) {
  const began = Date.now();
  const terminal = process.stderr.isTTY;
  if (terminal) process.stderr.write(`  .. ${what}`);
  try {
    const result = await action();
    const seconds = ((Date.now() - began) / 1000).toFixed(1);
    process.stderr.write(`${terminal ? "\r" : ""}  ok ${what} (${seconds} s)\n`);
    return result;
  } catch (error) {
    process.stderr.write(`${terminal ? "\r" : ""}  -- ${what}: failed\n`);
    return fail(error.message);
  }
}
