// Set-up of a fresh checkout, in plain Node with no module of anybody's: Debian packages, npm
// modules, build. Each step is skipped when its result is there, so a second run costs little.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "./build.mjs";
import { fetchPeers } from "./peers.mjs";
import { fail, run, step, tryStep } from "./steps.mjs";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** What must be on the machine: a file to look for, and the Debian package that brings it. */
const NEEDS = {
  build: [
    { command: "cc", package: "gcc" },
    { file: "/usr/include/stdio.h", package: "libc6-dev" },
  ],
  demo: [
    { command: "ip", package: "iproute2" },
    { command: "nft", package: "nftables" },
    { command: "nsenter", package: "util-linux" },
    { command: "ping", package: "iputils-ping" },
    { command: "nats-server", package: "nats-server" },
    { command: "iperf3", package: "iperf3" },
  ],
  bench: [{ command: "ethtool", package: "ethtool" }],
  chaos: [{ command: "faketime", package: "faketime" }],
  plot: [{ command: "rsvg-convert", package: "librsvg2-bin" }],
  peers: [
    { command: "nebula", package: "nebula" },
    { command: "nebula-cert", package: "nebula" },
    { command: "tincd", package: "tinc" },
    { command: "openvpn", package: "openvpn" },
    { command: "openssl", package: "openssl" },
    { command: "fastd", package: "fastd" },
  ],
  interop: [{ command: "qemu-system-x86_64", package: "qemu-system-x86" }],
  test: [
    { command: "tcpdump", package: "tcpdump" },
    { command: "tshark", package: "tshark" },
    { command: "openssl", package: "openssl" },
    { command: "git", package: "git" },
    { command: "sysctl", package: "procps" },
  ],
};
const PURPOSES = {
  build: ["build"],
  demo: ["build", "demo"],
  bench: ["build", "demo", "bench", "plot"],
  "bench-peers": ["build", "demo", "bench", "plot", "peers"],
  test: ["build", "demo", "bench", "chaos", "test", "interop"],
  chaos: ["build", "demo", "chaos"],
  interop: ["build", "demo", "test", "interop"],
};
/** Where these cannot be had, tests that need them say so and are skipped. */
const OPTIONAL = new Set(["interop"]);

function purpose() {
  const at = process.argv.indexOf("--for");
  const name = at < 0 ? "test" : process.argv[at + 1];
  if (!Object.hasOwn(PURPOSES, name ?? "")) {
    fail(`--for ${name}: unknown purpose; allowed: ${Object.keys(PURPOSES).join(", ")}`);
  }
  return name;
}

function isThere(need) {
  if (need.file !== undefined) return existsSync(need.file);
  const path = `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;
  return path.split(":").some((folder) => folder !== "" && existsSync(join(folder, need.command)));
}

function checkMachine() {
  if (process.platform !== "linux") fail(`meshd runs on Linux only; this is ${process.platform}`);
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 20) fail(`Node.js 20 or newer is needed; this is ${process.versions.node}`);
}

/** Tests run unprivileged too (root suites are then reported as skipped); the demo cannot. */
function checkPrivilege(name) {
  if (name === "demo" && process.getuid() !== 0) {
    fail("the demo makes network namespaces and TUN devices: run it as root (sudo npm run demo)");
  }
  if (name === "demo" && !existsSync("/dev/net/tun")) {
    fail("/dev/net/tun is missing: load the kernel module (modprobe tun) or pass the device in");
  }
}

async function aptInstall(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const lock = ["-o", "DPkg::Lock::Timeout=300"];
  await run("apt-get", ["update", "-q", ...lock], { env });
  const install = ["install", "-y", "-q", "--no-install-recommends", ...lock, ...packages];
  await run("apt-get", install, { env, isWhole: true });
}

async function installPackages(name) {
  const parts = PURPOSES[name].filter((part) => !OPTIONAL.has(part));
  const needs = parts.flatMap((part) => NEEDS[part]);
  const missing = [...new Set(needs.filter((n) => !isThere(n)).map((n) => n.package))];
  if (missing.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.join(" ")}`;
  const hasApt = isThere({ command: "apt-get" });
  if (!hasApt) fail(`these Debian packages (or their like) are needed: ${missing.join(" ")}`);
  if (process.getuid() !== 0) fail(`not root, so install by hand: sudo ${command}`);
  await step(`Debian packages: ${missing.join(" ")}`, () => aptInstall(missing));
  const still = needs.filter((n) => !isThere(n)).map((n) => n.package);
  if (still.length > 0) fail(`after '${command}' these are still missing: ${still.join(" ")}`);
}

/** A virtual machine and a Debian kernel for the interop matrix; without them it is skipped. */
async function prepareKernelPeer() {
  if (process.getuid() !== 0 || process.arch !== "x64" || !isThere({ command: "apt-get" })) return;
  const missing = NEEDS.interop.filter((need) => !isThere(need)).map((need) => need.package);
  const what = missing.length === 0 ? "kernel peer" : `kernel peer: ${missing.join(" ")}`;
  const error = await tryStep(what, async () => {
    if (missing.length > 0) await aptInstall(missing);
    await run(process.execPath, [join(ROOT, "dist/test/peers/make-image.js")], { cwd: ROOT });
  });
  if (error === undefined) return;
  const why = error.message.trim().split("\n").at(-1);
  process.stderr.write(`     interop tests are skipped: ${why}\n`);
}

/** A BGP daemon beside the mesh; without it its test is skipped. */
async function prepareBird() {
  if (process.getuid() !== 0 || !isThere({ command: "apt-get" })) return;
  const error = await tryStep("BGP daemon (bird2, unpacked only)", () =>
    run(process.execPath, [join(ROOT, "dist/test/peers/make-bird.js")], { cwd: ROOT }),
  );
  if (error === undefined) return;
  const why = error.message.trim().split("\n").at(-1);
  process.stderr.write(`     the BGP test is skipped: ${why}\n`);
}

/**
 * Installs what the lock file names when it changed since the last time; the build runs scripts,
 * npm none. Not `npm ci`: that fails where a registry lacks packages of other platforms.
 */
async function installModules() {
  const folder = join(ROOT, "node_modules");
  const stamp = join(folder, ".meshd-lock");
  const begun = join(folder, ".meshd-begun");
  const lock = createHash("sha256").update(readFileSync(join(ROOT, "package-lock.json")));
  const wanted = lock.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  // npm takes what an interrupted install left for whole.
  if (existsSync(begun)) rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(begun, "");
  await step("npm modules", () =>
    run(
      "npm",
      ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
      {
        cwd: ROOT,
      },
    ),
  );
  writeFileSync(stamp, wanted);
  rmSync(begun, { force: true });
}

checkMachine();
const name = purpose();
checkPrivilege(name);
await installPackages(name);
if (PURPOSES[name].includes("peers")) {
  await fetchPeers(join(ROOT, "node_modules", ".cache", "meshd-bench"));
}
await installModules();
await build();
if (PURPOSES[name].includes("interop")) await prepareKernelPeer();
if (name === "test") await prepareBird();
if (spawnSync(process.execPath, [join(ROOT, "bin", "meshd"), "--version"]).status !== 0) {
  fail("the build is there but bin/meshd does not start; try: rm -rf dist && npm run build");
}
