// --low-latency: taken at the first packet, given back after a pause, refused in one line. The
// device is a FIFO here, whose other end sees what is held; the host's own one is tried as root.
import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LowLatency } from "../../src/agent/low-latency.js";
import { rootTest } from "../support/root.js";

const DEVICE = "/dev/cpu_dma_latency";
const folder = mkdtempSync(join(tmpdir(), "meshd-latency-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

function fifo(name: string): string {
  const path = join(folder, name);
  execFileSync("mkfifo", ["-m", "0600", path]);
  return path;
}

function keeper(path: string, wanted = true) {
  const clock = { now: 0 };
  const pods = { packets: 0 };
  const said: string[] = [];
  let listened = 0;
  const made = new LowLatency({
    ...{ wanted, path, traffic: () => pods.packets, now: () => clock.now },
    listen: () => {
      listened += 1;
    },
    log: (event) => said.push(event),
  });
  /** One beat; true = a packet came in it. */
  const second = (isBusy: boolean) => {
    clock.now += 1000;
    pods.packets += Number(isBusy);
    made.look();
    return made.status().held;
  };
  return { made, second, said, listened: () => listened };
}

test("held from the first packet until 2 s after the last, by 32 bits of 0", () => {
  const path = fifo("device");
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  /** Bytes that stand in the FIFO; null = somebody holds it and wrote no more; 0 = nobody does. */
  const read = (bytes: Uint8Array) => {
    try {
      return readSync(reader, bytes);
    } catch (error) {
      assert.is((error as NodeJS.ErrnoException).code, "EAGAIN");
      return null;
    }
  };
  const bytes = new Uint8Array(8).fill(255);
  const { made, second, listened } = keeper(path);
  assert.is(read(bytes), 4, "the trial at the start");
  assert.is(read(bytes), 0, "given back at once");
  assert.equal([second(false), second(false)], [false, false]);
  assert.is(listened(), 2, "asks to be told of the next packet");
  bytes.fill(255);
  assert.is(second(true), true);
  assert.is(read(bytes), 4);
  assert.equal([...bytes.subarray(0, 4)], [0, 0, 0, 0]);
  assert.equal([second(true), second(false)], [true, true]);
  assert.is(read(bytes), null, "taken once and held");
  assert.is(listened(), 2, "while it is held nobody has to tell");
  assert.is(second(false), false);
  assert.is(read(bytes), 0, "given back");
  assert.is(second(true), true);
  made.release();
  assert.equal(made.status(), { wanted: true, held: false, reason: "" });
  closeSync(reader);
});

test("without a device the reason is said, no file is made, nothing is tried again", () => {
  const path = join(folder, "missing");
  const { made, second, said, listened } = keeper(path);
  assert.equal([second(true), second(true)], [false, false]);
  assert.is(made.status().reason, `no ${path}: the kernel or the container has none`);
  assert.equal(said, ["agent.low-latency.failed"]);
  assert.is(listened(), 0);
  assert.not(existsSync(path));
});

test("nobody asked for it: the device is not touched", () => {
  const { made, second, said } = keeper(join(folder, "missing"), false);
  assert.is(second(true), false);
  assert.equal(made.status(), { wanted: false, held: false, reason: "" });
  assert.equal(said, []);
});

/** Files of this process that are the device. */
function openDevices(): number {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
  return links.filter((target) => target === DEVICE).length;
}

function latencyOfHost(): number {
  const file = openSync(DEVICE, constants.O_RDONLY);
  try {
    const value = new Int32Array(1);
    readSync(file, value);
    return value[0] ?? Number.NaN;
  } finally {
    closeSync(file);
  }
}

rootTest(test, "the host's own device says 0 while it is held", () => {
  if (!existsSync(DEVICE)) {
    assert.match(keeper(DEVICE).made.status().reason, /^no \/dev\/cpu_dma_latency/);
    return;
  }
  const { made, second } = keeper(DEVICE);
  assert.is(openDevices(), 0);
  assert.is(second(true), true);
  assert.is(openDevices(), 1);
  assert.is(latencyOfHost(), 0);
  made.release();
  assert.is(openDevices(), 0);
});

test.run();
