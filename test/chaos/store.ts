// The records as they stand in the store, read with the stock client and the administrator's
// credentials: not what a controller or an agent says of them.
import { readFile } from "node:fs/promises";
import { connect, credsAuthenticator } from "nats";
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
  /** When a controller last wrote its heartbeat, by its own clock. */
  beat: number;
}

/** All leases and members of the mesh's bucket. */
export async function readStore(lab: ChaosLab): Promise<StoredRecords> {
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
    const bucket = await connection.jetstream().views.kv(env.MESHD_MESH ?? "", { bindOnly: true });
    const records: StoredRecords = { leases: [], members: [], beat: 0 };
    const keys: string[] = [];
    for await (const key of await bucket.keys()) keys.push(key);
    for (const key of keys) {
      const [kind] = key.split(".");
      if (kind !== "leases" && kind !== "members" && kind !== "heartbeat") continue;
      const entry = await bucket.get(key);
      if (entry === null || entry.operation !== "PUT") continue;
      const { record } = entry.json<{ record: unknown }>();
      const value = typeof record === "string" ? JSON.parse(record) : record;
      if (kind === "leases") records.leases.push(value as StoredLease);
      else if (kind === "members") records.members.push(value as StoredMember);
      else records.beat = Date.parse((value as { time: string }).time);
    }
    return records;
  } finally {
    await connection.close();
  }
}
