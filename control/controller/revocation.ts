// Ends credentials: the mesh account's JWT lists revoked user keys; the servers cut their
// connections at once and keep the list in their resolver directory over a restart. The list is
// derived from the records, so that no controller forgets one.
import { type BackoffLimits, backoff_ms } from "../backoff.js";
import { ControlError, type ControlLog } from "../errors.js";
import type { Mesh, MeshSecrets } from "../founding/index.js";
import {
  accountJwt,
  hasBucketLimits,
  Link,
  type LinkOptions,
  readAccountJwt,
  signingKey,
} from "../nats/index.js";
import { inboxOf } from "../subjects.js";
import type { Ended } from "./core.js";
import type { Owed } from "./issue.js";

/** Between two looks when all goes well, and at most when it does not. */
const retry: BackoffLimits = { least_ms: 1_000, most_ms: 60_000 };

export class Revocation {
  readonly #mesh: Mesh;
  readonly #secrets: MeshSecrets;
  readonly #way: Pick<LinkOptions, "servers" | "ca">;
  readonly #log: ControlLog;
  /** User key -> unix seconds. */
  readonly #revoked = new Map<string, number>();
  readonly #waiting = new Map<string, number>();
  /** User key -> revoked at or after `since_s`; where the servers say otherwise, at `at_s`. */
  readonly #owed = new Map<string, { since_s: number; at_s: number }>();
  #working: Promise<void> | null = null;
  #retry: NodeJS.Timeout | null = null;
  #link: Link | null = null;
  #failures = 0;
  #ended = false;
  /** The servers' account JWT was seen to have this version's limits and the wanted signers. */
  #isOfToday = false;
  /** Keys whose users the servers are to take; null: those that they take. */
  #signers: string[] | null = null;
  #whenTaken: () => void = () => undefined;

  constructor(
    mesh: Mesh,
    secrets: MeshSecrets,
    way: Pick<LinkOptions, "servers" | "ca">,
    log: ControlLog,
  ) {
    this.#mesh = mesh;
    this.#secrets = secrets;
    this.#way = way;
    this.#log = log;
  }

  /** Unix seconds of a key's revocation, or null. */
  at(userKey: string): number | null {
    const times = [this.#waiting.get(userKey), this.#revoked.get(userKey)];
    const known = [...times, this.#owed.get(userKey)?.at_s].filter((time) => time !== undefined);
    return known.length === 0 ? null : Math.max(...known);
  }

  /** Ends what was issued to these keys up to then; tried again until a server took it. */
  add(ended: Ended[]): void {
    for (const { key, at_s } of ended) {
      this.#waiting.set(key, Math.max(at_s, this.#waiting.get(key) ?? 0));
    }
    // Not at once: the answer to the one who leaves goes out first.
    setTimeout(() => this.#work(), 50);
  }

  /**
   * Keys that must be revoked since a time (unix seconds): those that no controller got to before
   * it ended; where they are not, up to `at_s`. Called at start with what the records say. What is
   * issued later stays good, however late a server takes the revocation.
   */
  ensure(keys: Owed[]): void {
    for (const { key, since_s, at_s } of keys) this.#owed.set(key, { since_s, at_s });
    this.#work();
  }

  close(): void {
    this.#ended = true;
    void this.#link?.close();
    if (this.#retry) clearTimeout(this.#retry);
  }

  #work(): void {
    if (this.#ended || !this.#isDue()) return;
    this.#working ??= this.#send()
      .then(
        () => {
          this.#failures = 0;
        },
        (error: unknown) => {
          this.#failures++;
          this.#log("revocation-delayed", { reason: String(error) });
        },
      )
      .finally(() => {
        this.#working = null;
        this.#workLater();
      });
  }

  /** Has the servers take the users of these keys and of no others; `taken`: they do. */
  expect(signers: string[], taken: () => void): void {
    this.#whenTaken = taken;
    const isTaken = this.#isOfToday && isSameSet(this.#signers ?? [], signers);
    if (isTaken || !this.#canSign) {
      taken();
      return;
    }
    this.#signers = signers;
    this.#isOfToday = false;
    this.#work();
  }

  get #canSign(): boolean {
    return this.#secrets.operator !== null && this.#secrets.system !== null;
  }

  /** Who cannot sign has nothing to look at, as long as nothing is to be revoked. */
  #isDue(): boolean {
    return this.#waiting.size + this.#owed.size > 0 || (this.#canSign && !this.#isOfToday);
  }

  /** A failure in a row doubles the wait: a key that is missing must not fill the log. */
  #workLater(): void {
    if (this.#retry) clearTimeout(this.#retry);
    if (this.#ended) return;
    this.#retry = setTimeout(() => this.#work(), backoff_ms(retry, this.#failures));
  }

  async #send(): Promise<void> {
    const { operator, system } = this.#secrets;
    if (!operator || !system) {
      throw new ControlError(
        "MESHD_NO_MESH",
        `${this.#mesh.dir} has no operator signing key or system credentials: credentials ` +
          "cannot be revoked from here; put operator-signing.nk and system.creds back from the " +
          "backup, or run a controller where they are",
      );
    }
    const key = signingKey(system.seed).publicKey;
    const link = await Link.open({
      ...this.#way,
      user: () => system,
      inbox: inboxOf.controller(key),
      name: "meshd revocation",
    });
    this.#link = link;
    try {
      if (!this.#ended) await this.#update(link);
    } finally {
      this.#link = null;
      await link.close();
    }
  }

  async #update(link: Link): Promise<void> {
    const mesh = this.#mesh;
    const secrets = this.#secrets;
    const subject = `$SYS.REQ.ACCOUNT.${mesh.accountKey}.CLAIMS.LOOKUP`;
    const { text } = await link.request(subject, "", 5_000);
    const current = readAccountJwt(text);
    const known = current.signers.length > 0 ? current.signers : [secrets.signer.publicKey];
    const signers = this.#signers ?? known;
    this.#isOfToday = hasBucketLimits(text) && isSameSet(current.signers, signers);
    const owed = [...this.#owed]
      .filter(([key, { since_s }]) => (current.revoked[key] ?? -1) < since_s)
      .map(([key, { at_s }]) => [key, at_s] as const);
    const batch = new Map<string, number>();
    for (const [key, at] of Object.entries(current.revoked)) this.#revoked.set(key, at);
    for (const [key, at] of [...owed, ...this.#waiting]) {
      // Never back: what was revoked stays so.
      batch.set(key, Math.max(at, batch.get(key) ?? 0, this.#revoked.get(key) ?? 0));
    }
    if (batch.size === 0 && this.#isOfToday) {
      this.#owed.clear();
      this.#whenTaken();
      return;
    }
    const revoked = Object.fromEntries([...this.#revoked, ...batch]);
    if (!secrets.operator) return;
    const jwt = await accountJwt({
      name: mesh.name,
      key: mesh.accountKey,
      signers,
      jetStream: true,
      revoked,
      // Servers keep the younger of two JWTs, by whole seconds, and clocks differ.
      after: current.issued,
      signer: secrets.operator,
    });
    const answer = JSON.parse((await link.request("$SYS.REQ.CLAIMS.UPDATE", jwt, 5_000)).text);
    if (answer?.error) throw new Error(String(answer.error.description ?? answer.error));
    for (const [key, at] of batch) {
      this.#revoked.set(key, at);
      if ((this.#waiting.get(key) ?? Number.POSITIVE_INFINITY) <= at) this.#waiting.delete(key);
      // Another controller may have replaced ours with one that it derived from the same older one:
      // look again.
      this.#owed.set(key, { since_s: at, at_s: at });
    }
    // Other keys may have been asked for meanwhile: those come with the next look.
    this.#isOfToday = isSameSet(signers, this.#signers ?? signers);
    if (this.#isOfToday) this.#whenTaken();
    if (batch.size > 0) this.#log("credentials-revoked", { keys: [...batch.keys()] });
  }
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one));
}
