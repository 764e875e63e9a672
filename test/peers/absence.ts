// Why no kernel peer can start here, and tests that are then said to be skipped.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Callback, Test } from "uvu";
import { findImage } from "./image.js";
import { QEMU } from "./qemu.js";

const REMEDY = "node bin/setup.mjs --for interop";

function isInstalled(program: string): boolean {
  const folders = `${process.env.PATH ?? ""}:/usr/sbin:/usr/bin`.split(":");
  return folders.some((folder) => existsSync(join(folder, program)));
}

/** One line, or undefined when a kernel peer can start. */
export function whyAbsent(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  if (process.arch !== "x64") return `the kernel peer is for x86-64; this is ${process.arch}`;
  if (!existsSync("/dev/net/tun")) return "/dev/net/tun is missing";
  if (!isInstalled(QEMU)) return `no ${QEMU} here: ${REMEDY}`;
  if (findImage() === undefined) return `no image of a kernel peer here: ${REMEDY}`;
  return undefined;
}

/** Registers a test; where there is a reason against it, it is counted as skipped and said. */
export function unlessAbsent<T>(
  reason: string | undefined,
  suite: Test<T>,
  name: string,
  body: Callback<T>,
): void {
  if (reason === undefined) {
    suite(name, body);
    return;
  }
  const { skip: countAsSkipped } = suite;
  countAsSkipped(name, body);
  process.stdout.write(`  SKIPPED (${reason}): ${name}\n`);
}

/** Registers a test that needs a kernel peer. */
export function peerTest<T>(suite: Test<T>, name: string, body: Callback<T>): void {
  unlessAbsent(whyAbsent(), suite, name, body);
}
