// Secrets of the pairs that this node belongs to: asked for once, kept on disk (0600) so that calls
// between members are made while NATS is away.
import { rm } from "node:fs/promises";
import type { Fields } from "./check.js";
import type { ControlLog } from "./errors.js";
import { readTextFile, writeSecretFile } from "./files.js";

export interface PairsOptions {
  meshId: string;
  /** Where they are kept; null: in memory alone. */
  file: string | null;
  ask: (request: object) => Promise<{ fields: Fields; secret: string }>;
  log: ControlLog;
}

export class Pairs {
  readonly #options: PairsOptions;
  readonly #secrets = new Map<string, string>();
  #isClosed = false;
  readonly #asked = new Map<string, Promise<string>>();
  #writing: Promise<void> = Promise.resolve();

  constructor(options: PairsOptions) {
    this.#options = options;
  }

  /** Takes in what an earlier run kept, of this mesh. */
  async load(): Promise<void> {
    const { file, meshId, log } = this.#options;
    const text = file === null ? null : await readTextFile(file);
    if (text === null) return;
    try {
      const kept = JSON.parse(text) as { meshId?: unknown; secrets?: unknown };
      if (kept.meshId !== meshId || !Array.isArray(kept.secrets)) throw new Error("form");
      for (const one of kept.secrets) {
        const [nodeId, secret] = Array.isArray(one) ? one : [];
        if (typeof nodeId === "string" && typeof secret === "string") {
          this.#secrets.set(nodeId, secret);
        }
      }
    } catch {
      log("pairs-file-refused", {});
    }
  }

  /** The secret shared with a member: at once when it is kept, else asked for, once at a time. */
  secret(nodeId: string): Promise<string> {
    const kept = this.#secrets.get(nodeId);
    if (kept !== undefined) return Promise.resolve(kept);
    const asked = this.#asked.get(nodeId) ?? this.#ask(nodeId);
    this.#asked.set(nodeId, asked);
    return asked;
  }

  async #ask(nodeId: string): Promise<string> {
    try {
      const { secret } = await this.#options.ask({ with: nodeId });
      this.#secrets.set(nodeId, secret);
      this.#keep();
      return secret;
    } finally {
      this.#asked.delete(nodeId);
    }
  }

  /** This node is no member any more. */
  forget(): Promise<void> {
    const { file } = this.#options;
    this.#secrets.clear();
    if (file !== null) this.#writing = this.#writing.then(() => rm(file, { force: true }));
    return this.#writing;
  }

  /** Resolves when everything is on disk. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#writing;
  }

  #keep(): void {
    const { file, meshId, log } = this.#options;
    if (file === null || this.#isClosed) return;
    this.#writing = this.#writing.then(async () => {
      const text = JSON.stringify({ version: 1, meshId, secrets: [...this.#secrets] });
      await writeSecretFile(file, `${text}\n`).catch((error: unknown) =>
        log("pairs-not-kept", { reason: String(error) }),
      );
    });
  }
}
