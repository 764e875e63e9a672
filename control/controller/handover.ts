// All records of a mesh as signed text, taken from one store and put into another: how a server
// that worked alone becomes one of a cluster, whose store begins empty.
import { ControlError } from "../errors.js";
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

const atOnce = 32;

export function takeHandover(ledgers: Ledgers): Handover {
  return { version: 1, mesh: ledgers.mesh.serialize(), secrets: ledgers.secrets.serialize() };
}

/**
 * Puts every record where the store has none under its key: what is there was written since, and
 * counts. Each is checked as on every read. MESHD_BAD_RECORD when the text is damaged.
 */
export async function putHandover(
  handover: Handover,
  ledgers: Ledgers,
  buckets: { mesh: Bucket; secrets: Bucket },
): Promise<number> {
  let count = 0;
  for (const place of ["secrets", "mesh"] as const) {
    if (!ledgers[place].load(handover[place])) {
      throw new ControlError("MESHD_BAD_RECORD", "the records to be restored are damaged");
    }
    const { entries } = JSON.parse(handover[place]) as { entries: [string, number, string][] };
    // The list of servers last of all: by it the others know that all is there.
    const [first, last] = [entries.filter(isNoList), entries.filter((one) => !isNoList(one))];
    await inLanes(first, ([key, , value]) => buckets[place].put(key, value, 0));
    await inLanes(last, ([key, , value]) => buckets[place].put(key, value, 0));
    count += entries.length;
  }
  return count;
}

const isNoList = ([key]: [string, number, string]) => key !== "servers" && key !== "heartbeat";

async function inLanes<T>(items: T[], work: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length) await work(items[next++] as T);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}
