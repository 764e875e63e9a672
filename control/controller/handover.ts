// All records of a mesh as signed text, taken from one store and put into another: how a server
// that worked alone becomes one of a cluster, whose store begins empty.
import { setTimeout as sleep } from "node:timers/promises";
import { valueLength_max } from "../envelope.js";
import { ControlError, type ControlLog } from "../errors.js";
import { parseKey } from "../keys.js";
import type { Ledger } from "../ledger.js";
import type { Bucket } from "../nats/index.js";

/** Texts of Ledger.serialize: signed records of both buckets, removals included. */
export interface Handover {
  version: 1;
  mesh: string;
  secrets: string;
}

interface Ledgers {
  mesh: Ledger;
  secrets: Ledger;
}

/** How a controller comes to its store; see ControllerOptions. */
interface Beginning {
  waits?: AbortSignal;
  restore?: Handover;
  replicas?: number;
  log?: ControlLog;
}

const atOnce = 32;

export function takeHandover(ledgers: Ledgers): Handover {
  return { version: 1, mesh: ledgers.mesh.serialize(), secrets: ledgers.secrets.serialize() };
}

/**
 * Puts every record where the store has none, or an older one, under its key. Each is checked as
 * on every read. MESHD_BAD_RECORD when the text is damaged.
 */
async function putHandover(
  handover: Handover,
  ledgers: Ledgers,
  buckets: { mesh: Bucket; secrets: Bucket },
): Promise<number> {
  let count = 0;
  for (const place of ["secrets", "mesh"] as const) {
    if (!ledgers[place].load(handover[place])) {
      throw new ControlError("MESHD_BAD_RECORD", "the records to be restored are damaged");
    }
    const saved = JSON.parse(handover[place]) as { entries: [string, number, string][] };
    // Nodes write their own again: nobody else may.
    const entries = saved.entries.filter(([key]) => parseKey(key)?.writer === null);
    // The list of servers last of all: by it the others know that all is there.
    const [first, last] = [entries.filter(isNoList), entries.filter((one) => !isNoList(one))];
    for (const some of [first, last]) {
      await inLanes(some, ([key, , value]) => putNewer(buckets[place], key, value));
    }
    count += entries.length;
  }
  return count;
}

/** A step that was given up half-way may have left an older value. */
async function putNewer(bucket: Bucket, key: string, value: string): Promise<void> {
  if ((await bucket.put(key, value, 0)) !== null) return;
  const there = await bucket.get(key);
  if (!there || serialOf(there.value) >= serialOf(value)) return;
  await bucket.put(key, value, there.revision);
}

function serialOf(value: string): number {
  try {
    return Number((JSON.parse(value) as { serial?: unknown }).serial) || 0;
  } catch {
    return 0;
  }
}

const isNoList = ([key]: [string, number, string]) => key !== "servers" && key !== "heartbeat";

async function inLanes<T>(items: T[], work: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length) await work(items[next++] as T);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

const look_ms = 500;

/** Resolves when somebody has begun the store, or ended it: MESHD_TIMEOUT when `signal` aborts. */
async function untilBegun(bucket: Bucket, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const entry = await bucket.get("servers").catch(() => null);
    if (entry) return;
    await sleep(look_ms, undefined, { signal }).catch(() => undefined);
  }
  throw new ControlError("MESHD_TIMEOUT", "the wait for the cluster was ended");
}

/**
 * Before anything is read: a store that is not ours to begin is waited for; one that is to have
 * records of another gets them.
 */
export async function prepareStore(
  options: Beginning,
  ledgers: Ledgers,
  buckets: { mesh: Bucket; secrets: Bucket },
): Promise<void> {
  const { waits, restore, replicas = 1 } = options;
  if (waits) await untilBegun(buckets.mesh, waits);
  if (!restore) return;
  for (const bucket of Object.values(buckets)) {
    if (!(await bucket.exists())) await bucket.make({ replicas, value_max: valueLength_max });
  }
  const count = await putHandover(restore, ledgers, buckets);
  options.log?.("records-restored", { count });
}
