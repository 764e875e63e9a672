// The records as they stand in the store, read with the stock client and the administrator's
// credentials: not what a controller or an agent says of them.
import { readFile } from "node:fs/promises";
import { connect, credsAuthenticator, type KV, type KvEntry } from "nats";
import type { ChaosLab } from "./lab.js";

const CONNECT_LIMIT_MS = 5000;

export interface StoredLease {
  cidr: string;
  nodeId: string | null;
  epoch: number;
  state: string;
}

export interface StoredMember {
  nodeId: string;
  name: string;
  state: string;
  podCIDRs: string[];
  epoch: number;
}

export interface StoredRecords {
  leases: StoredLease[];
  members: StoredMember[];
}

/** Opens the mesh's bucket for some work. */
async function withBucket<T>(lab: ChaosLab, work: (bucket: KV) => Promise<T>): Promise<T> {
  const env = JSON.parse(await lab.lab("env", "--json")) as Record<string, string>;
  const tls = env.NATS_CA === undefined ? {} : { tls: { caFile: env.NATS_CA } };
  const connection = await connect({
    ...tls,
    servers: env.NATS_URL ?? "",
    authenticator: credsAuthenticator(await readFile(env.NATS_CREDS ?? "")),
    timeout: CONNECT_LIMIT_MS,
    reconnect: false,
  });
  try {
    const { views } = connection.jetstream();
    return await work(await views.kv(env.MESHD_MESH ?? "", { bindOnly: true }));
  } finally {
    await connection.close();
  }
}

function recordOf(entry: KvEntry): unknown {
  const { record } = entry.json<{ record: unknown }>();
  return typeof record === "string" ? JSON.parse(record) : record;
}

/** All leases and members of the mesh's bucket. */
export function readStore(lab: ChaosLab): Promise<StoredRecords> {
  return withBucket(lab, async (bucket) => {
    const records: StoredRecords = { leases: [], members: [] };
    const keys: string[] = [];
    for await (const key of await bucket.keys()) keys.push(key);
    for (const key of keys) {
      const [kind] = key.split(".");
      if (kind !== "leases" && kind !== "members") continue;
      const entry = await bucket.get(key);
      if (entry === null || entry.operation !== "PUT") continue;
      if (kind === "leases") records.leases.push(recordOf(entry) as StoredLease);
      else records.members.push(recordOf(entry) as StoredMember);
    }
    return records;
  });
}

/**
 * Reads every heartbeat that controllers write until one has such a time, by its own clock; of
 * several controllers one may write right after another, so that looking now and then misses it.
 */
export function heardBeat(
  lab: ChaosLab,
  isWanted: (time: number) => boolean,
  limit_ms: number,
): Promise<boolean> {
  return withBucket(lab, async (bucket) => {
    const beats = await bucket.watch({ key: "heartbeat" });
    const limit = setTimeout(() => beats.stop(), limit_ms);
    try {
      for await (const entry of beats) {
        if (entry.operation !== "PUT") continue;
        if (isWanted(Date.parse((recordOf(entry) as { time: string }).time))) return true;
      }
      return false;
    } finally {
      clearTimeout(limit);
    }
  });
}
