// The accounts of PPTP clients as a serving node holds them: asked for when the mesh says that
// they changed, kept on disk (0600) so that clients are let in while NATS is away, and forgotten
// when the node may no longer serve.
import { EventEmitter } from "node:events";
import { rm } from "node:fs/promises";
import { type BackoffLimits, backoff_ms } from "../backoff.js";
import type { Fields } from "../check.js";
import { canonicalJson, type Trust } from "../envelope.js";
import { ControlError, type ControlLog } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import { Ledger, latestSerial } from "../ledger.js";
import type { UserRecord } from "../records.js";
import { openUserSecret } from "../user-secret.js";

/** An account as the side that asks for proof needs it. */
export interface PptpUser {
  /** Lower case; compare without case. */
  user: string;
  ntHash: Uint8Array;
  /** Kept for CHAP-MD5 alone. */
  clear?: string;
  address: string | null;
  /** RFC 3339; null = never. */
  expires: string | null;
  disabled: boolean;
}

/** What the mesh's view says of this node and the accounts. */
export interface Announced {
  isAllowed: boolean;
  /** Highest serial of an account's record. */
  latest: number;
}

export interface AccountsOptions {
  trust: Trust;
  /** Where they are kept; null: in memory alone. */
  file: string | null;
  /** One request to a controller: the answer's fields and its secret. */
  ask: (request: object) => Promise<{ fields: Fields; secret: string }>;
  /** Hands records to controllers whose store lost them. */
  present: (records: { key: string; value: string }[]) => Promise<void>;
  log: ControlLog;
}

const retry: BackoffLimits = { least_ms: 500, most_ms: 30_000 };
const pages_max = 100;

/** Event: "changed" when what users() gives is another. */
export class Accounts extends EventEmitter {
  readonly #options: AccountsOptions;
  #ledger: Ledger;
  #key: Uint8Array | null = null;
  #users: readonly PptpUser[] = [];
  #text = "[]";
  #announced: Announced | null = null;
  #isConnected = false;
  #isDue = false;
  #fetching: Promise<void> | null = null;
  #writing: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | null = null;
  #failures = 0;
  #isClosed = false;

  constructor(options: AccountsOptions) {
    super();
    this.#options = options;
    this.#ledger = new Ledger(options.trust);
  }

  /** In force now; [] while this node may not serve. */
  users(): readonly PptpUser[] {
    return this.#users;
  }

  /** Takes in what an earlier run kept. */
  async load(): Promise<void> {
    const text = this.#options.file === null ? null : await readTextFile(this.#options.file);
    if (text === null) return;
    try {
      const { key, records } = JSON.parse(text) as { key?: unknown; records?: unknown };
      if (typeof key !== "string" || typeof records !== "string") throw new Error("form");
      this.#key = Buffer.from(key, "base64url");
      if (!this.#ledger.load(records)) throw new Error("another mesh");
      this.#refresh();
    } catch {
      this.#options.log("accounts-file-refused", {});
    }
  }

  /** The view changed, or the connection came or went. */
  follow(announced: Announced | null, isConnected: boolean): void {
    this.#isConnected = isConnected;
    if (announced === null) return;
    const wasAllowed = this.#announced?.isAllowed;
    this.#announced = announced;
    if (!announced.isAllowed) {
      if (wasAllowed !== false) void this.forget();
    } else if (this.#isBehind() || (this.#isDue && isConnected)) {
      this.refresh();
    }
  }

  /** Asks again, whatever was announced. */
  refresh(): void {
    if (this.#isClosed || !this.#announced?.isAllowed) return;
    this.#isDue = true;
    if (!this.#isConnected || this.#retry) return;
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = null;
      if (this.#isDue) this.#again();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#retry) clearTimeout(this.#retry);
    await this.#writing;
  }

  #isBehind(): boolean {
    return this.#key === null || this.#latest() < (this.#announced?.latest ?? 0);
  }

  #latest(): number {
    return latestSerial(this.#ledger, "users");
  }

  /** After a failure, and while the controller that answered has not heard of a change itself. */
  #again(): void {
    if (this.#isClosed) return;
    const wait_ms = backoff_ms(retry, this.#failures++);
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.refresh();
    }, wait_ms);
  }

  async #fetch(): Promise<void> {
    this.#isDue = false;
    try {
      await this.#fetchAll();
      if (this.#isBehind()) this.#isDue = true;
      else this.#failures = 0;
    } catch (error) {
      const refused = error instanceof ControlError && error.code === "MESHD_NOT_ALLOWED";
      // The view will say it, too; another word of it starts anew.
      this.#isDue = !refused;
      this.#options.log("accounts-not-fetched", { reason: String(error) });
    }
  }

  async #fetchAll(): Promise<void> {
    const ledger = this.#ledger;
    const seen = new Set<string>();
    let key: Uint8Array | null = null;
    let after: unknown = "";
    for (let page = 0; page < pages_max && typeof after === "string"; page++) {
      const { fields, secret } = await this.#options.ask({ after });
      key = Buffer.from(secret, "base64url");
      for (const one of Array.isArray(fields.records) ? fields.records : []) {
        const { key: name, value } = one as { key?: unknown; value?: unknown };
        if (typeof name !== "string" || typeof value !== "string") continue;
        seen.add(name);
        ledger.apply({ key: name, revision: 0, value, deleted: false });
      }
      after = fields.more;
    }
    // Meanwhile it may have been forbidden, or the session ended.
    if (ledger !== this.#ledger || key === null || this.#isClosed) return;
    const isNew = this.#key === null || Buffer.compare(this.#key, key) !== 0;
    this.#key = key;
    if (this.#refresh() || isNew) await this.#keep();
    await this.#giveBack(seen);
  }

  /** Nothing goes without a signed removal: what the store has no trace of, it lost. */
  async #giveBack(seen: ReadonlySet<string>): Promise<void> {
    const lost = [...this.#ledger.ofKind("users")].filter((held) => !seen.has(held.key));
    const records = lost.map(({ key, raw }) => ({ key, value: raw }));
    if (records.length > 0) await this.#options.present(records);
  }

  /** Unseals what is held; true when it is not what it was. */
  #refresh(): boolean {
    const records = [...this.#ledger.records("users")];
    const users = records.map((record) => this.#unsealed(record)).filter((user) => user !== null);
    users.sort((a, b) => (a.user < b.user ? -1 : 1));
    const text = canonicalJson(
      users.map((user) => ({ ...user, ntHash: Buffer.from(user.ntHash).toString("hex") })),
    );
    if (text === this.#text) return false;
    this.#text = text;
    this.#users = users;
    this.emit("changed");
    return true;
  }

  #unsealed(record: UserRecord): PptpUser | null {
    const { meshId } = this.#options.trust;
    const { name, sealed, address, expires, disabled } = record;
    const secret = this.#key && openUserSecret(this.#key, meshId, name, sealed);
    if (!secret) {
      this.#options.log("account-not-opened", { user: name });
      return null;
    }
    const ntHash = Buffer.from(secret.ntHash, "hex");
    const clear = secret.clear === undefined ? {} : { clear: secret.clear };
    return { user: name, ntHash, ...clear, address, expires, disabled };
  }

  #keep(): Promise<void> {
    const { file } = this.#options;
    const key = this.#key === null ? "" : Buffer.from(this.#key).toString("base64url");
    const text = JSON.stringify({ version: 1, key, records: this.#ledger.serialize() });
    return this.#onDisk(() => (file === null ? null : writeSecretFile(file, `${text}\n`)));
  }

  /** This node may not serve, or is no member any more: nothing of it stays. */
  forget(): Promise<void> {
    const { file, trust } = this.#options;
    this.#ledger = new Ledger(trust);
    this.#key = null;
    this.#isDue = false;
    this.#refresh();
    return this.#onDisk(() => (file === null ? null : rm(file, { force: true })));
  }

  /** One after the other: what was asked for last stands. */
  #onDisk(work: () => Promise<void> | null): Promise<void> {
    this.#writing = this.#writing.then(work).then(
      () => undefined,
      (error: unknown) => this.#options.log("accounts-not-kept", { reason: String(error) }),
    );
    return this.#writing;
  }
}
