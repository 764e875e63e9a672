// What a controller saw of the store, kept beside the mesh's keys: after a restart it knows by it
// that a store came back empty or older, and puts the difference back. Signed records of
// controllers, both buckets, without the heartbeat.
import { join } from "node:path";
import type { ControlLog } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import type { Mesh } from "../founding/index.js";
import { parseKey } from "../keys.js";
import type { Held, Ledger } from "../ledger.js";

/** Changes within this time are written together. */
const gather_ms = 2_000;
/** And writing takes at most this part of the time. */
const share = 20;

export const rememberedFile = (mesh: Pick<Mesh, "dir">) => join(mesh.dir, "remembered.json");

export class Memory {
  readonly #mesh: Mesh;
  readonly #ledgers: { mesh: Ledger; secrets: Ledger };
  readonly #log: ControlLog;
  #written = "";
  #wait_ms = gather_ms;
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> = Promise.resolve();

  constructor(mesh: Mesh, ledgers: { mesh: Ledger; secrets: Ledger }, log: ControlLog) {
    this.#mesh = mesh;
    this.#ledgers = ledgers;
    this.#log = log;
  }

  /** Takes in what an earlier run kept. A damaged file, or one of another mesh, is no memory. */
  async load(): Promise<void> {
    const text = await readTextFile(rememberedFile(this.#mesh));
    if (text === null) return;
    try {
      const kept = JSON.parse(text) as Record<string, unknown>;
      for (const [place, ledger] of Object.entries(this.#ledgers)) {
        if (!ledger.load(JSON.stringify(kept[place] ?? null))) throw new Error("of another mesh");
      }
      this.#written = text;
    } catch (error) {
      this.#log("memory-refused", { file: rememberedFile(this.#mesh), reason: String(error) });
    }
  }

  /** A key was seen with another value. */
  notice(key: string): void {
    if (!isKept(key)) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      void this.#write();
    }, this.#wait_ms);
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    if (this.#timer) {
      clearTimeout(this.#timer);
      await this.#write();
    }
    await this.#writing;
  }

  #write(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const begun = performance.now();
      const text = this.#text();
      if (text === this.#written) return;
      try {
        await writeSecretFile(rememberedFile(this.#mesh), text);
        this.#written = text;
      } catch (error) {
        this.#log("memory-not-kept", { reason: String(error) });
      }
      this.#wait_ms = Math.max(gather_ms, share * (performance.now() - begun));
    });
    return this.#writing;
  }

  #text(): string {
    const { mesh, secrets } = this.#ledgers;
    const kept = { version: 1, mesh: this.#kept(mesh), secrets: this.#kept(secrets) };
    return `${JSON.stringify(kept)}\n`;
  }

  /** As Ledger.load takes it. Revisions are the store's, and not those of the next one. */
  #kept(ledger: Ledger): object {
    const held = [...ledger.all()].filter(({ key }) => isKept(key));
    const entries = held.map(({ key, raw }: Held) => [key, 0, raw]);
    return { version: 1, meshId: this.#mesh.meshId, entries };
  }
}

/** What controllers write, and alone can put back. */
export function isKept(key: string): boolean {
  const place = parseKey(key);
  return place !== null && place.writer === null && place.kind !== "heartbeat";
}
