// The two keys of a mesh that nothing which runs reads: the operator's and the account's own. With
// the operator's, signing keys are given up and made anew; so they belong somewhere else.
import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ControlError } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import { signingKey } from "../nats/index.js";
import type { Mesh } from "./place.js";

const offline = ["operator.nk", "account.nk"];

/** Paths of those that are still in the mesh's folder. */
export async function offlineKeysHere(mesh: Mesh): Promise<string[]> {
  const paths = offline.map((file) => join(mesh.dir, file));
  const texts = await Promise.all(paths.map(readTextFile));
  return paths.filter((_, index) => texts[index] !== null);
}

/**
 * Moves them to another folder, on another disk too: each is written there (0600) and read back
 * before it goes here. Safe to do again after a crash. Gives the new paths. MESHD_NOT_FOUND when
 * none is here, MESHD_CONFLICT when the folder has another mesh's.
 */
export async function moveOfflineKeys(mesh: Mesh, folder: string): Promise<string[]> {
  const here = await offlineKeysHere(mesh);
  if (here.length === 0) {
    const what = `${mesh.dir} has neither operator.nk nor account.nk: they were moved before`;
    throw new ControlError("MESHD_NOT_FOUND", what);
  }
  const to = resolve(folder);
  if (to === resolve(mesh.dir)) {
    throw new ControlError("MESHD_CONFLICT", `${to} is the mesh's folder; name another`);
  }
  await mkdir(to, { recursive: true, mode: 0o700 });
  const moved: string[] = [];
  for (const path of here) moved.push(await move(path, to));
  return moved;
}

async function move(path: string, folder: string): Promise<string> {
  const text = (await readTextFile(path)) ?? "";
  const { publicKey } = signingKey(text.trim());
  const target = join(folder, path.split("/").at(-1) ?? "");
  const there = await readTextFile(target);
  if (there !== null && there !== text) {
    const what = `${target} is another mesh's key; name another folder`;
    throw new ControlError("MESHD_CONFLICT", what);
  }
  if (there === null) await writeSecretFile(target, text);
  const written = await readTextFile(target);
  if (written === null || signingKey(written.trim()).publicKey !== publicKey) {
    throw new ControlError("MESHD_CONFLICT", `${target} did not keep what was written; it stays`);
  }
  await rm(path);
  return target;
}
