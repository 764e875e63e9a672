// Runs a kernel's C twin (native/kernels.c, tunnel.c, mppe.c) on given bytes.
import { spawnSync } from "node:child_process";
import { nativeProgram } from "../support/native.js";

export interface TwinResult {
  output: Uint8Array;
  /** Median ns per unit. */
  ns: number;
}

/** @throws when the twin fails */
export function runTwin(
  program: "kernels" | "tunnel" | "mppe",
  argv: string[],
  input: Uint8Array,
): TwinResult {
  const done = spawnSync(nativeProgram(program), argv, { input, maxBuffer: 64 << 20 });
  const said = String(done.stderr);
  if (done.status !== 0) throw new Error(`${program} ${argv.join(" ")}: ${said}`);
  return { output: done.stdout, ns: Number(said) };
}

/** Module and twin must agree before anybody compares their times. @throws when they differ */
export function assertEqualOutput(name: string, own: Uint8Array, twin: Uint8Array): void {
  if (Buffer.compare(own, twin) === 0) return;
  throw new Error(`${name}: the module and its C twin give different bytes`);
}
