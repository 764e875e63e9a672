// The tests' own helpers: whatever they make is gone when the process ends, however it ends.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createNamespace, namespacePath, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const SUPPORT = fileURLToPath(new URL("../support/netns.js", import.meta.url));
const MAKE = `const { createNamespace, spawnIn } = await import(${JSON.stringify(SUPPORT)});
  const name = createNamespace("end");
  const child = spawnIn(name, ["sleep", "600"]);
  console.log(name + " " + child.pid);`;

interface Made {
  namespace: string;
  pid: number;
}

function read(output: string): Made {
  const [namespace = "", pid] = output.trim().split(" ");
  assert.match(namespace, /^mt\d+-end1$/);
  return { namespace, pid: Number(pid) };
}

/** Ended, if perhaps nobody has taken its exit status yet (state Z). */
function hasEnded(pid: number): boolean {
  try {
    return /^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
}

async function assertGone(made: Made): Promise<void> {
  assert.not.ok(existsSync(namespacePath(made.namespace)));
  await until("the process has ended", () => hasEnded(made.pid));
}

rootTest(test, "a failing test process leaves no namespace and no process", async () => {
  const code = `${MAKE} throw new Error("on purpose");`;
  const argv = ["--input-type=module", "-e", code];
  const done = spawnSync(process.execPath, argv, { encoding: "utf8" });
  assert.is.not(done.status, 0);
  await assertGone(read(done.stdout));
});

async function startMaker(): Promise<{ made: Made; end(signal: NodeJS.Signals): Promise<void> }> {
  const code = `${MAKE} setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code]);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const line = await new Promise<string>((resolve) => {
    child.stdout.once("data", (text: Buffer) => resolve(`${text}`));
  });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  return { made: read(line), end };
}

rootTest(test, "a test process ended by a signal leaves no namespace and no process", async () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    const { made, end } = await startMaker();
    assert.ok(existsSync(namespacePath(made.namespace)));
    await end(signal);
    await assertGone(made);
  }
});

rootTest(test, "what a killed test process left is swept by the next one", async () => {
  const { made, end } = await startMaker();
  await end("SIGKILL");
  assert.ok(existsSync(namespacePath(made.namespace)));
  process.kill(made.pid, "SIGKILL");
  const done = spawnSync(process.execPath, [
    "--input-type=module",
    "-e",
    `${MAKE} process.exit(0)`,
  ]);
  assert.is(done.status, 0);
  await assertGone(made);
});

rootTest(test, "a namespace of this process lives on while others sweep", () => {
  const name = createNamespace("mine");
  spawnSync(process.execPath, ["--input-type=module", "-e", `${MAKE} process.exit(0)`]);
  assert.ok(existsSync(namespacePath(name)));
});

test.run();
