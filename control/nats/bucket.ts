// A KV bucket (ADR-8) by the calls that a user with few rights may make: compare-and-set writes,
// reads from the stream's leader, and one watch under a fixed consumer name. The package's own
// watch() takes random consumer names, which no permission can name.
import { createHmac, randomBytes } from "node:crypto";
import { AckPolicy, DeliverPolicy, DiscardPolicy, NatsError, StorageType } from "nats";
import { ControlError, type ControlErrorCode } from "../errors.js";
import type { Link } from "./link.js";
import { expectRevision } from "./message.js";

/** JetStream error codes. */
const wrongRevision = new Set([10071, 10164]);
const noMessage = 10037;
const noStream = 10059;
const streamExists = 10058;
/** How often a question is asked, and how long each waits for an answer. */
const asks_max = 3;
const request_max_ms = 5_000;
const removal_max_ms = 500;

export interface Entry {
  key: string;
  /** Stream sequence. */
  revision: number;
  value: string;
  /** A delete marker (KV-Operation). */
  deleted: boolean;
  /** When it was stored, by the server's clock; where that is told. */
  time_ms?: number;
  /** What `get` finds that was kept beside the value: see `put`. Not signed. */
  asks?: readonly string[];
}

export function apiCode(error: unknown): number {
  return error instanceof NatsError ? (error.api_error?.err_code ?? 0) : 0;
}

const codes: Readonly<Record<string, ControlErrorCode>> = {
  PERMISSIONS_VIOLATION: "MESHD_PERMISSION",
  TIMEOUT: "MESHD_TIMEOUT",
};

function wrap(what: string, cause: unknown): ControlError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const code = (cause instanceof NatsError && codes[cause.code]) || "MESHD_NO_NATS";
  return new ControlError(code, `${what}: ${why}`, { cause });
}

/** Header of a value: ids of the requests that wrote the key last, the newest last. */
const ASKS = "Meshd-Asks";

/** Buckets without a secret of their own: their writers are in this process alone. */
const processSecret = randomBytes(32);

export class Bucket {
  readonly stream: string;
  readonly #secret: Uint8Array;
  /** `secret` is what all who write the same keys by compare-and-set have, and nobody else has. */
  constructor(
    readonly link: Link,
    readonly name: string,
    secret: Uint8Array = processSecret,
  ) {
    this.stream = `KV_${name}`;
    this.#secret = secret;
  }

  /**
   * The server's compare-and-set alone does not hold in a stream of several replicas: of writes
   * that are under way at the same moment under one expected revision, 2.9.10 takes all (its leader
   * compares when they come, not when they are applied). It does keep the identities of messages
   * under way, so of those that say the same one it takes one: ADR 0043. Identities hold for the
   * whole stream, whatever the key: who could foretell one would use it up with a record of its
   * own, and nobody could write (a member's removal, say) for two minutes, again and again.
   */
  #writeId(key: string, expected: number): string {
    return createHmac("sha256", this.#secret).update(`${key}@${expected}`).digest("base64url");
  }

  subject(key: string): string {
    return `$KV.${this.name}.${key}`;
  }

  /** Asks again when no answer comes: a server with a slow disk may owe one for seconds. */
  async exists(asks = asks_max): Promise<boolean> {
    const manager = await this.link.connection.jetstreamManager({ checkAPI: false });
    try {
      await manager.streams.info(this.stream);
      return true;
    } catch (error) {
      if (apiCode(error) === noStream) return false;
      if (asks > 1 && error instanceof NatsError && error.code === "TIMEOUT") {
        return this.exists(asks - 1);
      }
      throw wrap(`bucket ${this.name}`, error);
    }
  }

  /** Makes the stream. Not twice at the same moment: see controller/creation.ts. */
  async make(options: { replicas: number; value_max: number }): Promise<void> {
    const manager = await this.link.connection.jetstreamManager({ checkAPI: false });
    try {
      await manager.streams.add({
        name: this.stream,
        subjects: [this.subject(">")],
        max_msgs_per_subject: 1,
        max_msg_size: options.value_max,
        discard: DiscardPolicy.New,
        storage: StorageType.File,
        num_replicas: options.replicas,
        deny_delete: true,
        // The server acknowledges to any subject a writer names: "$JS.API.STREAM.PURGE..." too.
        deny_purge: true,
        // A rollup header on a member's own key would empty the whole bucket ("Nats-Rollup: all").
        allow_rollup_hdrs: false,
        allow_direct: true,
      });
    } catch (error) {
      if (apiCode(error) !== streamExists) throw wrap(`bucket ${this.name}`, error);
    }
  }

  /** Gives a stream that an earlier version made what this one's have. True when it lacked it. */
  async harden(): Promise<boolean> {
    const manager = await this.link.connection.jetstreamManager({ checkAPI: false });
    try {
      const { config } = await manager.streams.info(this.stream);
      if (config.deny_purge) return false;
      await manager.streams.update(this.stream, { ...config, deny_purge: true });
      return true;
    } catch (error) {
      throw wrap(`bucket ${this.name}`, error);
    }
  }

  /**
   * Writes; with `expected` only if the key's revision is that (0: there is none). null: another
   * was faster. `asks` is kept beside the value.
   */
  async put(
    key: string,
    value: string,
    expected?: number,
    asks: readonly string[] = [],
  ): Promise<number | null> {
    const stream = this.link.connection.jetstream();
    const only = (revision: number) => {
      const headers = expectRevision(revision);
      if (asks.length > 0) headers.set(ASKS, asks.join(" "));
      return { headers, msgID: this.#writeId(key, revision) };
    };
    const options = expected === undefined ? {} : only(expected);
    try {
      const ack = await stream.publish(this.subject(key), value, { timeout: 5_000, ...options });
      return ack.duplicate ? null : ack.seq;
    } catch (error) {
      if (wrongRevision.has(apiCode(error))) return null;
      throw wrap(`writing ${key}`, error);
    }
  }

  /**
   * Last value from the stream's leader, never from a replica that lags; null when there is none.
   * MESHD_TIMEOUT, MESHD_PERMISSION, MESHD_NO_NATS.
   */
  async get(key: string, timeout_ms = request_max_ms): Promise<Entry | null> {
    const manager = await this.#manager(timeout_ms);
    try {
      const found = await manager.streams.getMessage(this.stream, {
        last_by_subj: this.subject(key),
      });
      const deleted = found.header.has("KV-Operation");
      const asks = found.header.get(ASKS).split(" ").filter(Boolean);
      return { key, revision: found.seq, value: found.string(), deleted, asks };
    } catch (error) {
      if (apiCode(error) === noMessage) return null;
      throw wrap(`reading ${key}`, error);
    }
  }

  /** Revision of the newest value, from the stream's leader; 0 when there is none. */
  async newest(timeout_ms = request_max_ms): Promise<number> {
    const manager = await this.#manager(timeout_ms);
    try {
      return (await manager.streams.info(this.stream)).state.last_seq;
    } catch (error) {
      throw wrap(`bucket ${this.name}`, error);
    }
  }

  #manager(timeout_ms: number) {
    return this.link.connection.jetstreamManager({ checkAPI: false, timeout: timeout_ms });
  }

  /**
   * Makes a push consumer under a fixed name, delivering the last value of each key, or those alone
   * that were written after the revision `since`, then changes.
   */
  async addConsumer(
    name: string,
    deliver: string,
    { timeout_ms = request_max_ms, since = 0 }: { timeout_ms?: number; since?: number } = {},
  ): Promise<{ pending: number }> {
    const manager = await this.#manager(timeout_ms);
    try {
      // An earlier one of this name may be left from before a reconnect or a restart. If the server
      // of a cluster that had it is gone, it is removed all the same, and nobody answers.
      const removal = await this.#manager(Math.min(timeout_ms, removal_max_ms));
      await removal.consumers.delete(this.stream, name).catch(() => false);
      const info = await manager.consumers.add(this.stream, {
        name,
        filter_subject: this.subject(">"),
        deliver_subject: deliver,
        ...(since === 0
          ? { deliver_policy: DeliverPolicy.LastPerSubject }
          : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: since + 1 }),
        ack_policy: AckPolicy.None,
        max_deliver: 1,
        idle_heartbeat: 3e9,
        flow_control: true,
        inactive_threshold: 30e9,
        mem_storage: true,
        num_replicas: 1,
      });
      return { pending: info.num_pending + info.delivered.consumer_seq };
    } catch (error) {
      throw wrap(`watching ${this.name}`, error);
    }
  }

  /** How many servers are to keep a copy, how many have all of it now, and who leads. */
  async copies(
    timeout_ms = request_max_ms,
  ): Promise<{ wanted: number; current: number; leader: string }> {
    const manager = await this.#manager(timeout_ms);
    try {
      const { config, cluster } = await manager.streams.info(this.stream);
      const others = (cluster?.replicas ?? []).filter((one) => one.current && !one.offline);
      const leader = cluster?.leader ?? "";
      return { wanted: config.num_replicas, current: others.length + 1, leader };
    } catch (error) {
      throw wrap(`bucket ${this.name}`, error);
    }
  }

  /** MESHD_NO_NATS when the cluster has not as many servers now. */
  async setReplicas(count: number): Promise<void> {
    const manager = await this.link.connection.jetstreamManager({ checkAPI: false });
    try {
      const { config } = await manager.streams.info(this.stream);
      await manager.streams.update(this.stream, { ...config, num_replicas: count });
    } catch (error) {
      throw wrap(`${count} replicas of bucket ${this.name}`, error);
    }
  }

  async removeConsumer(name: string): Promise<void> {
    const manager = await this.link.connection.jetstreamManager({ checkAPI: false });
    await manager.consumers.delete(this.stream, name).catch(() => false);
  }
}
