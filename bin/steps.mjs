// Small tools of the set-up scripts: run a command quietly, show progress, fail with one line.
import { spawn } from "node:child_process";

/** Ends the process with one line on standard error. */
export function fail(why) {
  process.stderr.write(`meshd set-up: ${why}\n`);
  process.exit(1);
}

/** What runs now: child process -> whether it must not be broken off. */
const children = new Map();
let exitCode;
const KILL_AFTER_MS = 2000;

/** A signal ends what runs, with all that it started; a package manager first does its work. */
function stopBy(signal, code) {
  process.on(signal, () => {
    if (exitCode !== undefined) return;
    exitCode = code;
    process.stderr.write("\nmeshd set-up: stopping; run it again to go on\n");
    endChildren("SIGTERM");
    // What goes on writing after us would spoil the next run.
    setTimeout(() => endChildren("SIGKILL"), KILL_AFTER_MS);
    exitWhenIdle();
  });
}

function endChildren(signal) {
  for (const [{ pid }, isWhole] of children) {
    try {
      if (!isWhole) process.kill(-pid, signal);
    } catch {
      // It has just ended.
    }
  }
}

function exitWhenIdle() {
  if (exitCode !== undefined && children.size === 0) process.exit(exitCode);
}

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
]) {
  stopBy(signal, code);
}

/**
 * Runs argv without a shell, in a process group of its own; keeps its output back and shows it only
 * when it fails. `isWhole`: not to be broken off by a signal.
 */
export function run(command, argv, { isWhole = false, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const stdio = ["ignore", "pipe", "pipe"];
    const child = spawn(command, argv, { ...options, stdio, detached: true });
    children.set(child, isWhole);
    const output = [];
    child.stdout.on("data", (bytes) => output.push(bytes));
    child.stderr.on("data", (bytes) => output.push(bytes));
    child.on("error", (error) => {
      children.delete(child);
      reject(error);
    });
    child.on("close", (code) => {
      children.delete(child);
      exitWhenIdle();
      const text = Buffer.concat(output).toString();
      if (code === 0) return resolve(text);
      reject(new Error(`'${command} ${argv.join(" ")}' ended with ${code}:\n${text.trim()}`));
    });
  });
}

/** As step, but gives the error instead of ending the process; undefined when all went well. */
export async function tryStep(what, action) {
  try {
    await timed(what, action);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Progress on standard error: what begins, at once, then how long it took. */
export async function step(what, action) {
  try {
    return await timed(what, action);
  } catch (error) {
    return fail(error.message);
  }
}

async function timed(what, action) {
  const began = Date.now();
  const terminal = process.stderr.isTTY;
  process.stderr.write(`  .. ${what}${terminal ? "" : "\n"}`);
  try {
    const result = await action();
    const seconds = ((Date.now() - began) / 1000).toFixed(1);
    process.stderr.write(`${terminal ? "\r" : ""}  ok ${what} (${seconds} s)\n`);
    return result;
  } catch (error) {
    process.stderr.write(`${terminal ? "\r" : ""}  -- ${what}: failed\n`);
    throw error;
  }
}
