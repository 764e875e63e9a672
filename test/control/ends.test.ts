// What a suite that is ended by a signal leaves behind: no nats-server and no directory.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { test } from "uvu";
import * as assert from "uvu/assert";

const fixture = new URL("./fixture.js", import.meta.url).href;
/** A suite in the middle of its work. */
const suite = `
  const { TestMesh } = await import(${JSON.stringify(fixture)});
  const mesh = await TestMesh.start();
  console.log(JSON.stringify({ dir: mesh.dir, pid: mesh.server.pid }));
  setInterval(() => undefined, 1000);
`;

for (const [signal, code] of [
  ["SIGTERM", 143],
  ["SIGINT", 130],
  ["SIGHUP", 129],
] as const) {
  test(`a suite that ${signal} ends leaves no nats-server and no directory`, async () => {
    const argv = ["--input-type=module", "-e", suite];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(child, "exit");
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    const { dir, pid } = JSON.parse(line) as { dir: string; pid: number };
    const runs = () => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(dir);
      } catch {
        return false;
      }
    };
    assert.ok(runs() && existsSync(dir), "it runs");
    child.kill(signal);
    assert.equal(await ended, [code, null]);
    assert.not(existsSync(dir), "the directory");
    assert.not(runs(), "nats-server");
  });
}

test.run();
