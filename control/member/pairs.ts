// Secrets of the pairs that this node belongs to: asked for once, kept on disk (0600) so that calls
// between members are made while NATS is away.
import { rm } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Fields } from "../check.js";
import { ControlError, type ControlLog } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";

export interface PairsOptions {
  meshId: string;
  /** Where they are kept; null: in memory alone. */
  file: string | null;
  ask: (request: object) => Promise<{ fields: Fields; secret: string }>;
  log: ControlLog;
  /** Monotonic, in milliseconds; tests have their own. */
  now?: () => number;
}

/** After a refusal the same answer is given for so long, twice as long after each further one. */
const pause_min_ms = 1_000;
const pause_max_ms = 30_000;
const UNASKED = new Set(["MESHD_NO_NATS", "MESHD_NO_CONTROLLER", "MESHD_TIMEOUT"]);

/** Pairs of one request. */
export const PAIRS_MAX = 500;

function notAPair(nodeId: string): ControlError {
  const what = `${nodeId.slice(0, 60)} is no other member of this mesh: there is no secret with it`;
  return new ControlError("MESHD_NOT_A_MEMBER", what);
}

export class Pairs {
  readonly #options: PairsOptions;
  readonly #now: () => number;
  readonly #secrets = new Map<string, string>();
  #isClosed = false;
  readonly #wanted = new Set<string>();
  #next: Promise<(nodeId: string) => Promise<string>> | null = null;
  readonly #asked = new Map<string, Promise<string>>();
  readonly #refused = new Map<string, { error: unknown; pause_ms: number; until: number }>();
  #writing: Promise<void> = Promise.resolve();

  constructor(options: PairsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
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

  /**
   * The secret shared with a member: at once when it is kept, else asked for, together with what is
   * asked for at the same moment. Callers ask again and again: who was refused is not asked for
   * each time. MESHD_NOT_A_MEMBER.
   */
  secret(nodeId: string): Promise<string> {
    const kept = this.#secrets.get(nodeId);
    if (kept !== undefined) return Promise.resolve(kept);
    const asked = this.#asked.get(nodeId);
    if (asked) return asked;
    const refused = this.#refused.get(nodeId);
    if (refused && this.#now() < refused.until) return Promise.reject(refused.error);
    this.#next ??= this.#askTogether();
    this.#wanted.add(nodeId);
    const asking = this.#next
      .then((answer) => answer(nodeId))
      .catch((error: unknown) => {
        this.#refuse(nodeId, error);
        throw error;
      })
      .finally(() => this.#asked.delete(nodeId));
    this.#asked.set(nodeId, asking);
    return asking;
  }

  /** Only what a controller said counts: whoever could not be asked is asked as soon as it can. */
  #refuse(nodeId: string, error: unknown): void {
    if (!(error instanceof ControlError) || UNASKED.has(error.code)) return;
    const before_ms = this.#refused.get(nodeId)?.pause_ms ?? pause_min_ms / 2;
    const pause_ms = Math.min(2 * before_ms, pause_max_ms);
    this.#refused.set(nodeId, { error, pause_ms, until: this.#now() + pause_ms });
  }

  /** Waits a turn for others to ask; what is given back tells each its own. */
  async #askTogether(): Promise<(nodeId: string) => Promise<string>> {
    await nextTurn();
    const wanted = [...this.#wanted];
    this.#wanted.clear();
    this.#next = null;
    const work: Promise<void>[] = [];
    const failures = new Map<string, unknown>();
    for (let at = 0; at < wanted.length; at += PAIRS_MAX) {
      const batch = wanted.slice(at, at + PAIRS_MAX);
      const failed = (error: unknown) => batch.forEach((one) => void failures.set(one, error));
      work.push(this.#ask(batch).catch(failed));
    }
    await Promise.all(work);
    return async (nodeId) => {
      const secret = this.#secrets.get(nodeId);
      if (secret !== undefined) return secret;
      throw failures.get(nodeId) ?? notAPair(nodeId);
    };
  }

  async #ask(batch: string[]): Promise<void> {
    const { secret } = await this.#options.ask({ with: batch });
    const found = JSON.parse(secret) as Record<string, unknown>;
    for (const nodeId of batch) {
      const one = Object.hasOwn(found, nodeId) ? found[nodeId] : undefined;
      if (typeof one === "string" && one !== "") this.#secrets.set(nodeId, one);
    }
    this.#keep();
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
