// The pods of this node on disk: read with every field checked, replaced in one piece.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isPlainObject, parseAddress, writePrivateFile } from "../host/index.js";
import { PodError } from "./errors.js";
import type { Pod } from "./types.js";

const FILE = "pods.json";
const VERSION = 1;

export interface PodsState {
  pods: Pod[];
  /** PodCIDR -> the address given out last. */
  last: Record<string, string>;
}

/**
 * The file's content; empty when there is no file. Throws MESHD_POD_STATE when it makes no sense.
 */
export async function readState(stateDir: string): Promise<PodsState> {
  const path = join(stateDir, FILE);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw unreadable(path, error);
  });
  if (text === undefined) return { pods: [], last: {} };
  try {
    return parseState(JSON.parse(text));
  } catch (error) {
    throw unreadable(path, error);
  }
}

export async function writeState(stateDir: string, state: PodsState): Promise<void> {
  const content = { version: VERSION, ...state };
  await writePrivateFile(join(stateDir, FILE), `${JSON.stringify(content, null, 2)}\n`);
}

/** Checks what a file held. Throws an Error that says what is wrong. Pure. */
export function parseState(value: unknown): PodsState {
  if (!isPlainObject(value) || value.version !== VERSION || !Array.isArray(value.pods)) {
    throw new Error(`not a version ${VERSION} list of pods`);
  }
  const pods = value.pods.map(readPod);
  const addresses = pods.flatMap((pod) => pod.addresses);
  const names = pods.map((pod) => pod.name);
  const devices = pods.map((pod) => pod.hostDevice);
  for (const list of [addresses, names, devices]) {
    const twice = list.find((item, index) => list.indexOf(item) !== index);
    if (twice !== undefined) throw new Error(`${shown(twice)} is there twice`);
  }
  return { pods, last: readTexts(value.last, "last") };
}

function readPod(value: unknown): Pod {
  if (!isPlainObject(value)) throw new Error("a pod is no object");
  const addresses: unknown[] = Array.isArray(value.addresses) ? value.addresses : [];
  return {
    name: readText(value.name, "name"),
    netns: readText(value.netns, "netns"),
    ownsNetns: value.ownsNetns === true,
    labels: readTexts(value.labels, "labels"),
    addresses: addresses.map((item) => {
      const text = readText(item, "addresses");
      if (parseAddress(text) === undefined) throw new Error(`${shown(text)} is no address`);
      return text;
    }),
    hostDevice: readText(value.hostDevice, "hostDevice"),
    createdAt: readText(value.createdAt, "createdAt"),
  };
}

/** What a damaged file says may be of any length. */
function shown(text: string): string {
  return text.slice(0, 80);
}

function readText(value: unknown, field: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw new Error(`field ${field} is no text`);
}

function readTexts(value: unknown, field: string): Record<string, string> {
  if (!isPlainObject(value)) throw new Error(`field ${field} is no object`);
  const entries = Object.entries(value).map(([key, text]) => {
    if (typeof text !== "string") throw new Error(`field ${field}.${shown(key)} is no text`);
    return [key, text] as const;
  });
  return Object.fromEntries(entries);
}

function unreadable(path: string, error: unknown): PodError {
  const why = error instanceof Error ? error.message : String(error);
  const fix = "mend it, or move it away and remove the pods' namespaces by hand";
  return new PodError("MESHD_POD_STATE", `cannot read ${path}: ${why}; ${fix}`, error);
}
