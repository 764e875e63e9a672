// What controllers tell this member alone, for its session: the accounts of PPTP clients when it
// may serve them, and the secrets of its pairs.
import { join } from "node:path";
import { type Asker, askConfidentially } from "../confide.js";
import { ControlError, type ControlLog } from "../errors.js";
import { keyOf } from "../keys.js";
import type { Ledger } from "../ledger.js";
import type { Link } from "../nats/index.js";
import { Accounts, type PptpUser } from "./accounts.js";
import { Pairs } from "./pairs.js";

export interface ConfidencesOptions {
  /** Who asks; `link` null: not connected. */
  asker: () => Omit<Asker, "link"> & { link: Link | null };
  /** Directory of the files; null: in memory alone. */
  dir: string | null;
  /** The member's view of the mesh. */
  ledger: Ledger;
  /** New credentials, and a connection that uses them. */
  renew: () => Promise<unknown>;
  present: (records: { key: string; value: string }[]) => Promise<void>;
  changed: (users: readonly PptpUser[]) => void;
  log: ControlLog;
}

export class Confidences {
  readonly #options: ConfidencesOptions;
  readonly #accounts: Accounts;
  readonly #pairs: Pairs;

  constructor(options: ConfidencesOptions) {
    this.#options = options;
    const { dir, log, present } = options;
    const { meshId, grantKey } = options.asker().membership;
    const file = (name: string) => (dir === null ? null : join(dir, name));
    this.#accounts = new Accounts({
      trust: { meshId, grantKey },
      file: file("pptp-accounts.json"),
      ask: (request) => this.#askAsServer(request),
      present,
      log,
    });
    this.#accounts.on("changed", () => options.changed(this.users()));
    this.#pairs = new Pairs({
      meshId,
      file: file("pptp-pairs.json"),
      ask: (request) => this.#ask("pair", request),
      log,
    });
  }

  users(): readonly PptpUser[] {
    return this.#accounts.users();
  }

  pairSecret(nodeId: string): Promise<string> {
    return this.#pairs.secret(nodeId);
  }

  /** Takes in what earlier runs kept. */
  async load(): Promise<void> {
    await Promise.all([this.#accounts.load(), this.#pairs.load()]);
  }

  /** The view or the connection changed. */
  follow(): void {
    const { asker, ledger } = this.#options;
    const { link, membership } = asker();
    const member = ledger.get<"members">(keyOf.member(membership.nodeId))?.record;
    const latest = ledger.get<"accounts">(keyOf.accounts())?.record?.latest ?? 0;
    const isAllowed = member?.state !== "removed" && member?.pptpServer === true;
    const isConnected = link?.connected ?? false;
    this.#accounts.follow(member ? { isAllowed, latest } : null, isConnected);
  }

  /** The store's word of accounts was refused or is gone: it may have lost them. */
  refresh(): void {
    this.#accounts.refresh();
  }

  /** This node is no member any more. */
  async forget(): Promise<void> {
    await Promise.all([this.#accounts.forget(), this.#pairs.forget()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#accounts.close(), this.#pairs.close()]);
  }

  #ask(verb: string, request: object) {
    const { link, ...who } = this.#options.asker();
    if (!link?.connected) {
      const what = `no NATS server is connected, so no controller can be asked for "${verb}"`;
      throw new ControlError("MESHD_NO_NATS", what);
    }
    return askConfidentially({ link, ...who }, verb, request);
  }

  /** Credentials from before this node was allowed to serve may not even ask. */
  async #askAsServer(request: object) {
    try {
      return await this.#ask("users", request);
    } catch (error) {
      const isOld = error instanceof ControlError && error.code === "MESHD_PERMISSION";
      if (isOld) await this.#options.renew();
      throw error;
    }
  }
}
