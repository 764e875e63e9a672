// Where NATS is: the record `servers` tells members and controllers, tokens and credentials name
// what it says, and the buckets get as many replicas as the cluster can hold.
import type { ControlLog } from "../errors.js";
import { keyOf } from "../keys.js";
import type { Bucket } from "../nats/index.js";
import type { ServersRecord } from "../records.js";
import type { Store } from "./store.js";

const replicas_max = 3;
const look_ms = 15_000;

export interface ServersOptions {
  store: Store;
  buckets: Bucket[];
  /** What this host was told; null: nothing, the record alone counts. */
  announce: ServersRecord | null;
  /** Whenever another list comes into force, and at the start. */
  changed(record: ServersRecord): void;
  log: ControlLog;
}

export class Servers {
  readonly #options: ServersOptions;
  #timer: NodeJS.Timeout | null = null;
  #generation = -1;

  constructor(options: ServersOptions) {
    this.#options = options;
  }

  get record(): ServersRecord | null {
    return this.#options.store.ledgers.mesh.get<"servers">(keyOf.servers())?.record ?? null;
  }

  /** Writes this host's list when it is the newer one, and looks after the replicas from now on. */
  async begin(): Promise<void> {
    const { announce, store } = this.#options;
    if (announce) {
      await store.change<"servers">(keyOf.servers(), (now) =>
        now !== null && now.generation >= announce.generation ? undefined : announce,
      );
    }
    this.follow();
    await this.raise();
    this.#timer = setInterval(() => void this.raise(), look_ms);
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  /** The record may have changed. */
  follow(): void {
    const { record } = this;
    if (!record || record.generation <= this.#generation) return;
    this.#generation = record.generation;
    this.#options.changed(record);
  }

  /**
   * Gives the buckets a replica on each server, three at most. A cluster that lacks a server now
   * refuses: it is tried again.
   */
  async raise(): Promise<void> {
    const wanted = Math.min(replicas_max, this.record?.servers.length ?? 1);
    for (const bucket of this.#options.buckets) {
      try {
        const { wanted: now } = await bucket.copies();
        if (now >= wanted) continue;
        await bucket.setReplicas(wanted);
        this.#options.log("replicas-raised", { bucket: bucket.name, from: now, to: wanted });
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        this.#options.log("replicas-not-raised", { bucket: bucket.name, wanted, reason });
      }
    }
  }
}
