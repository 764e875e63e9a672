// When the store came back empty or older: what it lacked, who handed it back, what nobody could;
// and until when nothing new is given. Kept beside the mesh's keys for `meshd store report`.
import { join } from "node:path";
import type { ControlLog } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import type { Mesh } from "../founding/index.js";

/** What the store had of a record: nothing, an older value, or one that no key of ours signed. */
export type Fault = "missing" | "older" | "spoiled";

export interface RestoredRecord {
  key: string;
  was: Fault;
  /** "controller" (it remembered), or the nodeId of the member that handed it back. */
  by: string;
  /** RFC 3339. */
  at: string;
}

/** One time that the store came back with less than it had. */
export interface StoreIncident {
  /** empty: it had nothing at all. older: it lacked records, or had earlier ones. */
  kind: "empty" | "older";
  /** RFC 3339. */
  found: string;
  /** Number of records that were put back, by kind and by who had them. */
  counts: { kind: string; was: Fault; by: string; records: number }[];
  /** The first of them, one by one. */
  restored: RestoredRecord[];
  /** Records that are known to be lost or older and could not be put back yet. */
  failed: { key: string; reason: string }[];
}

const restored_max = 1_000;
const gather_ms = 500;
/** Who hands records back may have more: this long after the last, at least, nothing is given. */
const more_ms = 10_000;
/** After that long without a word, what is found is another incident. */
const over_ms = 600_000;

export const storeReportFile = (mesh: Pick<Mesh, "dir">) => join(mesh.dir, "store-report.json");

export class Losses {
  readonly #mesh: Mesh;
  readonly #holdOff_ms: number;
  readonly #log: ControlLog;
  #incident: StoreIncident | null = null;
  /** By the clock that does not jump. */
  #holdOffAt = 0;
  #lastAt = Number.NEGATIVE_INFINITY;
  #isHandedBack = false;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> = Promise.resolve();

  constructor(mesh: Mesh, holdOff_ms: number, log: ControlLog) {
    this.#mesh = mesh;
    this.#holdOff_ms = holdOff_ms;
    this.#log = log;
  }

  async load(): Promise<void> {
    const text = await readTextFile(storeReportFile(this.#mesh)).catch(() => null);
    this.#incident = readIncident(text);
  }

  /** The last incident; null: the store was always what it had been. */
  get incident(): StoreIncident | null {
    return this.#incident;
  }

  /** Milliseconds in which nothing new is given. */
  get holdOff_ms(): number {
    return Math.max(this.#holdOffAt - performance.now(), 0);
  }

  /**
   * The store came back with less than it had. `waits`: what this controller remembers may not be
   * all, so nothing new is given for a while.
   */
  found(kind: StoreIncident["kind"], waits: boolean): void {
    if (!this.#isOpen()) {
      this.#isHandedBack = false;
      const found = new Date().toISOString();
      this.#incident = { kind, found, counts: [], restored: [], failed: [] };
      this.#log(kind === "empty" ? "store-lost" : "store-older", { holdOff: waits });
    } else if (this.#incident && kind === "empty") this.#incident.kind = kind;
    this.#touch();
    if (waits) this.#wait(this.#holdOff_ms);
  }

  /** Nothing new is given until the function returned is called: what was found may be nothing. */
  suspect(): () => void {
    const before = this.#holdOffAt;
    this.#wait(this.#holdOff_ms);
    const own = this.#holdOffAt;
    return () => {
      if (this.#holdOffAt === own) this.#holdOffAt = before;
    };
  }

  /** A record is in the store again. */
  restored(key: string, was: Fault, by: string): void {
    const incident = this.#incident;
    if (incident === null || !this.#isOpen()) return;
    const kind = key.split(".", 1)[0] ?? "";
    const same = incident.counts.find((c) => c.kind === kind && c.was === was && c.by === by);
    if (same) same.records++;
    else incident.counts.push({ kind, was, by, records: 1 });
    if (incident.restored.length < restored_max) {
      incident.restored.push({ key, was, by, at: new Date().toISOString() });
    }
    incident.failed = incident.failed.filter((one) => one.key !== key);
    this.#touch();
  }

  /** A member had a newer record than the store and this controller: others may have more. */
  handedBack(key: string, was: Fault, by: string): void {
    const isFirst = !this.#isOpen() || !this.#isHandedBack;
    this.found("older", isFirst);
    this.#isHandedBack = true;
    this.#wait(Math.min(more_ms, this.#holdOff_ms));
    this.restored(key, was, by);
  }

  failed(key: string, reason: string): void {
    const failed = this.#incident?.failed ?? [];
    if (failed.length < restored_max) failed.push({ key, reason });
    this.#touch();
  }

  /** An administrator says that nothing more will come. */
  accept(): void {
    this.#holdOffAt = 0;
    this.#log("hold-off-ended", { by: "administrator" });
  }

  async close(): Promise<void> {
    if (this.#timer) {
      clearTimeout(this.#timer);
      this.#write();
    }
    await this.#writing;
  }

  #isOpen(): boolean {
    return this.#incident !== null && performance.now() - this.#lastAt < over_ms;
  }

  #wait(wait_ms: number): void {
    this.#holdOffAt = Math.max(this.#holdOffAt, performance.now() + wait_ms);
  }

  #touch(): void {
    this.#lastAt = performance.now();
    this.#timer ??= setTimeout(() => this.#write(), gather_ms);
  }

  #write(): void {
    this.#timer = null;
    const text = `${JSON.stringify(this.#incident, null, 2)}\n`;
    this.#writing = this.#writing.then(() =>
      writeSecretFile(storeReportFile(this.#mesh), text).catch((error: unknown) =>
        this.#log("store-report-not-kept", { reason: String(error) }),
      ),
    );
    for (const { kind, was, by, records } of this.#incident?.counts ?? []) {
      this.#log("store-restored", { kind, was, by, records });
    }
  }
}

/** The kept report of an earlier run; null when there is none that can be read. */
export function readIncident(text: string | null): StoreIncident | null {
  try {
    const kept = JSON.parse(text ?? "null") as StoreIncident | null;
    const lists = [kept?.counts, kept?.restored, kept?.failed];
    return typeof kept?.found === "string" && lists.every(Array.isArray) ? kept : null;
  } catch {
    return null;
  }
}
