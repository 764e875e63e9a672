// The command line in this process, with what it starts as processes of its own.
import { resolve } from "node:path";
import * as assert from "uvu/assert";
import type { Outcome, World } from "./world.js";

export const program: [string, string] = [process.execPath, resolve("bin/meshd")];

/** Runs a command in this process; what it starts runs bin/meshd. */
export function meshd(world: World, ...words: string[]): Promise<Outcome> {
  return world.run(words, { program });
}

/** As `meshd` with --json; a failure of the command fails the test. */
export async function ask<T>(world: World, ...words: string[]): Promise<T> {
  const { code, out, err } = await meshd(world, ...words, "--json");
  assert.is(code, 0, `${words.join(" ")}: ${err}`);
  return JSON.parse(out) as T;
}

/** JSON of `up`. */
export interface UpView {
  mesh: string;
  meshId: string;
  servers: string[];
  adminCredentials: string;
  controllerPid: number;
  natsPid: number;
  natsClient: { ca: string | null };
  ca: { file: string; fingerprint: string } | null;
  ends: Record<"credentials" | "serverCertificate" | "ca", string | null>;
}
