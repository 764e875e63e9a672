// The example, run as its first line says: two ends in two namespaces, and a ping through them.
//   this namespace  10.97.0.1 (far0) ---- veth ---- 10.97.0.2 (far1)  the second namespace
//   inside          10.96.0.1 (demo0) === tunnel === 10.96.0.2 (demo0)
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { enterNamespace, inNamespace } from "./support.mjs";

const rootTest = inNamespace(test, enterNamespace(import.meta.url));
const example = fileURLToPath(new URL("../examples/tunnel.mjs", import.meta.url));
const children = [];
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

async function start(argv) {
  const child = spawn(argv[0], argv.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  const [line] = await once(child.stdout, "data");
  return { child, line: String(line) };
}

rootTest("the example's two ends carry a ping, small and large", async () => {
  // The second namespace is the one of a process that waits; it goes when that one ends.
  const { child: holder } = await start(["unshare", "-n", "sh", "-c", "echo up; exec cat"]);
  const far = (...argv) => ["nsenter", `--net=/proc/${holder.pid}/ns/net`, "--", ...argv];
  const run = (argv) => execFileSync(argv[0], argv.slice(1), { encoding: "utf8" });
  const set = (side, words) => run(side("ip", ...words.split(" ")));
  const near = (...argv) => argv;
  set(near, `link add far0 type veth peer name far1 netns ${holder.pid}`);
  for (const [side, link, last] of [
    [near, "far0", 1],
    [far, "far1", 2],
  ]) {
    set(side, `address add 10.97.0.${last}/24 dev ${link}`);
    set(side, `link set ${link} up`);
    const ends = ["demo0", `10.97.0.${last}`, `10.97.0.${3 - last}`, "5555"];
    const { line } = await start(side(process.execPath, example, ...ends));
    assert.match(line, /^demo0 is open/);
    set(side, `address add 10.96.0.${last}/24 dev demo0`);
    set(side, "link set demo0 mtu 1400 up");
  }
  assert.match(run(["ping", "-c", "3", "-i", "0.05", "-W", "5", "10.96.0.2"]), / 0% packet loss/);
  const large = ["ping", "-c", "2", "-i", "0.05", "-W", "5", "-M", "do", "-s", "1372", "10.96.0.2"];
  assert.match(run(large), / 0% packet loss/);
  for (const child of children) child.kill("SIGKILL");
});

test.run();
