// A node's own records: what it wants to be in the store under its keys, written when the store has
// something else.
import { type BackoffLimits, backoff_ms } from "../backoff.js";
import { canonicalJson, nextSerial, seal } from "../envelope.js";
import { keyOf } from "../keys.js";
import type { Ledger } from "../ledger.js";
import type { Bucket, SigningKey } from "../nats/index.js";
import type { EndpointRecord, NodeRecord } from "../records.js";

const retry: BackoffLimits = { least_ms: 500, most_ms: 30_000 };

export class OwnRecords {
  readonly #meshId: string;
  readonly #signer: SigningKey;
  readonly #ledger: Ledger;
  readonly #onTrouble: (reason: string) => void;
  readonly #desired = new Map<string, object | null>();
  /** Written but not yet seen in the view: key -> what was written. */
  readonly #written = new Map<string, string>();
  /** Overwritten by somebody else with what was refused. */
  readonly #spoiled = new Set<string>();
  #bucket: Bucket | null = null;
  #flushing: Promise<void> | null = null;
  #again = false;
  #retry: NodeJS.Timeout | null = null;
  #failures = 0;
  #knowsEndpoints = false;

  constructor(
    meshId: string,
    signer: SigningKey,
    ledger: Ledger,
    onTrouble: (reason: string) => void,
  ) {
    this.#meshId = meshId;
    this.#signer = signer;
    this.#ledger = ledger;
    this.#onTrouble = onTrouble;
  }

  get nodeId(): string {
    return this.#signer.publicKey;
  }

  /** The view was listed over this bucket: what it shows is what the store has. */
  verify(bucket: Bucket): Promise<void> {
    this.#bucket = bucket;
    this.#failures = 0;
    this.#written.clear();
    return this.flush();
  }

  /** No connection: wishes are kept. */
  detach(): void {
    this.#bucket = null;
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
  }

  setNode(record: NodeRecord): Promise<void> {
    this.#desired.set(keyOf.node(this.nodeId), record);
    return this.flush();
  }

  setEndpoints(records: EndpointRecord[]): Promise<void> {
    this.#knowsEndpoints = true;
    const start = keyOf.endpoint(this.nodeId, "");
    for (const key of this.#desired.keys()) {
      if (key.startsWith(start)) this.#desired.set(key, null);
    }
    for (const record of records) {
      this.#desired.set(keyOf.endpoint(this.nodeId, record.pod), record);
    }
    return this.flush();
  }

  /** A value under a key was refused: when the key is ours, it is written again. */
  restore(key: string): Promise<void> {
    if (!this.#desired.has(key)) return Promise.resolve();
    this.#spoiled.add(key);
    return this.flush();
  }

  /** Writes all differences; at once done when there is no connection. */
  flush(): Promise<void> {
    this.#again = true;
    this.#flushing ??= this.#run();
    return this.#flushing;
  }

  async #run(): Promise<void> {
    // First of all a turn, so that #flushing is set before it is reset below.
    await null;
    try {
      while (this.#again && this.#bucket) {
        this.#again = false;
        await this.#writeDifferences(this.#bucket);
        this.#failures = 0;
      }
    } catch (error) {
      this.#onTrouble(error instanceof Error ? error.message : String(error));
      this.#retry ??= setTimeout(
        () => {
          this.#retry = null;
          void this.flush();
        },
        backoff_ms(retry, this.#failures++),
      );
    } finally {
      // Not in a later turn: who asks from now on must find nothing running.
      this.#flushing = null;
    }
  }

  async #writeDifferences(bucket: Bucket): Promise<void> {
    if (this.#knowsEndpoints) this.#dropUnknownEndpoints();
    for (const [key, record] of [...this.#desired]) {
      const wanted = canonicalJson(record);
      const held = this.#ledger.get(key);
      const inStore = this.#written.get(key) ?? (held ? canonicalJson(held.record) : "null");
      if (inStore === wanted && !this.#spoiled.delete(key)) continue;
      const serial = nextSerial(held?.serial ?? 0);
      const value = seal(this.#meshId, key, record, serial, this.#signer);
      const revision = await this.#put(bucket, key, value);
      this.#written.set(key, wanted);
      if (revision !== null) this.#ledger.apply({ key, revision, value, deleted: false });
    }
  }

  /** What the store did not take is still missing there: a later round writes it all the same. */
  async #put(bucket: Bucket, key: string, value: string): Promise<number | null> {
    try {
      return await bucket.put(key, value);
    } catch (error) {
      this.#spoiled.add(key);
      throw error;
    }
  }

  /** Endpoints of an earlier run that nobody wants any more. */
  #dropUnknownEndpoints(): void {
    const start = keyOf.endpoint(this.nodeId, "");
    for (const held of this.#ledger.ofKind("endpoints")) {
      const ours = held.key.startsWith(start) && held.record !== null;
      if (ours && !this.#desired.has(held.key)) this.#desired.set(held.key, null);
    }
  }
}
