// Administrators: made, renewed and removed on the word of one with role admin. The server holds
// them to their subjects; here it is checked again, by name, key and role.
import { readFile, rm } from "node:fs/promises";
import { ControlError } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import { ADMIN_LASTS_S, endIn, FIRST_ADMIN, isHalfOver, writeUser } from "../founding/index.js";
import { isLabel, keyOf } from "../keys.js";
import {
  credentialsText,
  haveSameRights,
  parseCredentials,
  readUserJwt,
  signingKey,
  userJwt,
} from "../nats/index.js";
import { adminPermissions } from "../permissions.js";
import type { AdminRecord } from "../records.js";
import { type AdminRole, leastRoleOf, mayAsk } from "../roles.js";
import { inboxOf, isOwnReply, STOCK_INBOX } from "../subjects.js";
import { formerKeys_max } from "../validate.js";
import type { Core } from "./core.js";
import { holderOf, issuedTo, type Owed, owedBy, revocationOf, revokedBefore } from "./issue.js";
import { refuseKeyOfOther } from "./key-owners.js";
import { Sparing } from "./sparing.js";

/** How often the credentials of the mesh's folder are looked at: far below half of a day. */
const keep_ms = 3_600_000;

/** Who asks: an administrator by name, or nobody by name, who may only read. */
export interface Asker {
  name: string | null;
  role: AdminRole;
}

/** An administrator as others see him. */
export interface AdminView {
  name: string;
  key: string;
  role: AdminRole;
  created: string;
  createdBy: string;
  expires: string | null;
  state: "active" | "expired";
}

/** Credentials but for the seed, which only the one who asked has. */
export interface MadeAdmin {
  jwt: string;
  view: AdminView;
}

export interface AdminWish {
  name: string;
  role: AdminRole;
  /** Public user key. */
  key: string;
  lasts_s: number | null;
}

function viewOf(admin: AdminRecord): AdminView {
  const { name, key, role, created, createdBy, expires } = admin;
  const isOver = expires !== null && Date.parse(expires) <= Date.now();
  return { name, key, role, created, createdBy, expires, state: isOver ? "expired" : "active" };
}

const never = (what: string): never => {
  throw new ControlError("MESHD_NOT_ALLOWED", what);
};

export class Admins {
  readonly #core: Core;
  #keeping: NodeJS.Timeout | null = null;
  readonly #looks = new Sparing(1_000, 100);
  constructor(core: Core) {
    this.#core = core;
  }

  /** Looks after the credentials of the mesh's folder from now on. */
  async start(): Promise<void> {
    await this.keepFirst();
    this.#keeping = setInterval(() => {
      this.keepFirst().catch((error: unknown) => {
        this.#core.log("admin-not-renewed", { reason: String(error) });
      });
    }, keep_ms);
  }

  close(): void {
    if (this.#keeping) clearInterval(this.#keeping);
  }

  #all(): AdminRecord[] {
    return [...this.#core.store.ledgers.secrets.records("admins")];
  }

  list(): AdminView[] {
    const living = this.#all().filter((one) => !one.removed);
    return living.map(viewOf).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Who asked for a path on the subject of a name. MESHD_NOT_ALLOWED: there is no such
   * administrator any more, his role does not reach, or the answer would go to another's inbox.
   */
  async authorize(name: string, path: string, reply: string | undefined): Promise<Asker> {
    let held = this.#named(name);
    // Somebody may have made the folder's own credentials anew a moment ago.
    if (!held && this.#looks.isDue(name)) {
      await this.keepFirst();
      held = this.#named(name);
    }
    if (!held) {
      return never(`this mesh has no administrator ${name}; "meshd admin list" shows them`);
    }
    const inboxes = [inboxOf.admin(held.key), STOCK_INBOX];
    if (!inboxes.some((inbox) => isOwnReply(reply, inbox))) {
      return never(`the answer is to go where ${name} does not listen; use his own inbox`);
    }
    if (!mayAsk(held.role, path)) {
      const least = leastRoleOf(path);
      return never(`${name} is ${held.role}, and ${path} needs ${least}; ask one who is`);
    }
    return { name, role: held.role };
  }

  #named(name: string): AdminRecord | null {
    const held = this.#core.store.ledgers.secrets.get<"admins">(keyOf.admin(name))?.record;
    return held && !held.removed ? held : null;
  }

  /**
   * A new administrator, or other rights or a new end for one with the same key. MESHD_BAD_REQUEST,
   * MESHD_NAME_TAKEN.
   */
  async add(wish: AdminWish, by: string): Promise<MadeAdmin> {
    const { name, role, key, lasts_s } = wish;
    if (!isLabel(name)) {
      const what = `name ${JSON.stringify(name)} is not one DNS label (a-z, 0-9, -; at most 63)`;
      throw new ControlError("MESHD_BAD_REQUEST", what);
    }
    refuseKeyOfOther(this.#core, key, { admin: name });
    let isChanged = false;
    const record = await this.#core.store.change<"admins">(keyOf.admin(name), (before) => {
      if (before && !before.removed && before.key !== key) {
        const what = `there is an administrator ${name} with another key; choose another name, or`;
        throw new ControlError("MESHD_NAME_TAKEN", `${what} remove him first`);
      }
      isChanged = before !== null && !before.removed && before.role !== role;
      if (isChanged && role !== "admin") this.#refuseLast(name);
      const formerKeys = formerOf(before).filter((one) => one !== key);
      const expires = endOf(lasts_s);
      const isNew = before === null || before.removed;
      const created = isNew ? new Date().toISOString() : before.created;
      const createdBy = isNew ? by : before.createdBy;
      // What was given before for another role ends now.
      const revoked =
        isChanged && before ? this.#ended(before) : revokedBefore(this.#core, key, before);
      const start = { name, key, created, createdBy, removed: false };
      return { ...start, role, lasts_s, expires, formerKeys, ...revoked };
    });
    if (isChanged && record?.revoked_s) this.#core.revoke([{ key, at_s: record.revoked_s }]);
    if (!record) throw new ControlError("MESHD_CONFLICT", `${name} changed meanwhile; try again`);
    return this.#made(record);
  }

  #ended(admin: AdminRecord): { revoked_s: number } {
    return { revoked_s: revocationOf(this.#core, holderOf(admin)) };
  }

  #refuseLast(name: string): void {
    const others = this.list().filter((one) => one.role === "admin" && one.name !== name);
    if (others.some((one) => one.state === "active")) return;
    const what = `${name} is the last administrator with role admin; make another first`;
    throw new ControlError("MESHD_CONFLICT", what);
  }

  async #made(record: AdminRecord): Promise<MadeAdmin> {
    const { mesh, secrets } = this.#core;
    const { name, key, lasts_s } = record;
    const permissions = adminPermissions(mesh.name, record);
    const user = { name, key, account: mesh.accountKey, signer: secrets.signer, permissions };
    const issued = issuedTo(this.#core, holderOf(record));
    return { jwt: await userJwt({ ...user, ...endIn(lasts_s), issued }), view: viewOf(record) };
  }

  /** The same rights for as long again. */
  async renew(name: string): Promise<MadeAdmin> {
    const record = await this.#core.store.change<"admins">(keyOf.admin(name), (before) =>
      before && !before.removed ? { ...before, expires: endOf(before.lasts_s) } : undefined,
    );
    if (!record || record.removed) return never(`there is no administrator ${name} any more`);
    return this.#made(record);
  }

  /** At once, for good, also over a restart of every server. MESHD_NOT_FOUND, MESHD_CONFLICT. */
  async remove(name: string): Promise<{ removed: string }> {
    const isThere = this.list().some((one) => one.name === name);
    if (!isThere) {
      const what = `there is no administrator ${name.slice(0, 63)}; "meshd admin list" shows them`;
      throw new ControlError("MESHD_NOT_FOUND", what);
    }
    this.#refuseLast(name);
    const record = await this.#core.store.change<"admins">(keyOf.admin(name), (before) =>
      before && !before.removed ? { ...before, removed: true, ...this.#ended(before) } : undefined,
    );
    if (record) this.#core.revoke([{ key: record.key, at_s: record.revoked_s ?? 0 }]);
    await this.keepFirst();
    return { removed: name };
  }

  /** Keys that must be revoked; a controller may have ended between a removal and that. */
  owed(): Owed[] {
    return this.#all().flatMap((admin) => {
      const holder = holderOf(admin);
      const at_s = admin.revoked_s ?? revocationOf(this.#core, holder);
      const former = admin.formerKeys.map((key) => ({ key, since_s: 0, at_s }));
      return [...owedBy(this.#core, holder), ...former];
    });
  }

  /**
   * Keeps the credentials of the mesh's folder: the first administrator is listed, has today's
   * rights, and is renewed at half of his time; the file of a removed one goes. Whoever has this
   * folder has the mesh's keys: credentials that he put there make him one (recoverAdmin), and so
   * does a list without any of role admin (a lost store).
   */
  async keepFirst(): Promise<void> {
    const path = this.#core.mesh.adminCredentials;
    const text = await readTextFile(path);
    const own = text === null ? null : parseCredentials(text);
    const key = own === null ? null : signingKey(own.seed).publicKey;
    const isGone = (one: AdminRecord) =>
      (one.removed && one.key === key) || (key !== null && one.formerKeys.includes(key));
    if (this.#all().some(isGone)) {
      await rm(path, { force: true });
      this.#core.log("admin-file-removed", { path });
      return this.keepFirst();
    }
    const held = this.#all().find((one) => one.key === key && !one.removed);
    if (held && own) return this.#refresh(held, own);
    const name = own === null ? FIRST_ADMIN : (readUserJwt(own.jwt)?.name ?? FIRST_ADMIN);
    const isOthers = this.#named(name) !== null;
    if (isOthers || (own === null && this.list().some((one) => one.role === "admin"))) return;
    await this.#begin(name, own !== null);
  }

  async #refresh(held: AdminRecord, own: { jwt: string; seed: string }): Promise<void> {
    const { mesh, log } = this.#core;
    const claims = readUserJwt(own.jwt);
    const ends = claims?.expires ?? null;
    const { jwt } = await this.#made(held);
    const made = readUserJwt(jwt);
    const isAsOld = claims?.since === made?.since && claims?.issuer === made?.issuer;
    const isAsLong = ends !== null || held.lasts_s === null;
    const isAsToday = haveSameRights(own.jwt, jwt) && isAsLong && isAsOld;
    if (isAsToday && !isHalfOver(own.jwt)) return;
    const renewed = await this.renew(held.name);
    await writeSecretFile(mesh.adminCredentials, credentialsText(renewed.jwt, own.seed));
    log("admin-renewed", { name: held.name, expires: renewed.view.expires });
  }

  async #begin(name: string, isThere: boolean): Promise<void> {
    const { mesh, secrets, log } = this.#core;
    const path = mesh.adminCredentials;
    if (!isThere) {
      const about = { name, account: mesh.accountKey, signer: secrets.signer };
      // Its rights come with the refresh below.
      const permissions = () => ({ publish: [], subscribe: [] });
      await writeUser(path, { ...about, permissions, lasts_s: ADMIN_LASTS_S });
    }
    const own = parseCredentials(await readFile(path, "utf8"));
    const publicKey = signingKey(own.seed).publicKey;
    const start = { name, key: publicKey, role: "admin" as const };
    // Its credentials may have been given by a clock that is ahead.
    const given_s = readUserJwt(own.jwt)?.since ?? 0;
    const created = new Date(Math.max(Date.now(), given_s * 1000)).toISOString();
    const rest = { created, createdBy: "", removed: false };
    const record = await this.#core.store.change<"admins">(keyOf.admin(name), (before) => {
      if (before && !before.removed) return undefined;
      const formerKeys = formerOf(before).filter((one) => one !== publicKey);
      const ends = { lasts_s: ADMIN_LASTS_S, expires: endOf(ADMIN_LASTS_S) };
      const revoked = revokedBefore(this.#core, publicKey, before);
      return { ...start, ...rest, ...ends, formerKeys, ...revoked };
    });
    if (record?.key !== publicKey) return;
    log("admin-added", { name, role: "admin", by: "" });
    await this.#refresh(record, own);
  }
}

function endOf(lasts_s: number | null): string | null {
  return lasts_s === null ? null : new Date(Date.now() + lasts_s * 1000).toISOString();
}

/** Keys that a name had and must not have again. */
function formerOf(before: AdminRecord | null): string[] {
  if (before === null) return [];
  const former = before.removed ? [...before.formerKeys, before.key] : before.formerKeys;
  return former.slice(-formerKeys_max);
}
