// Follows the record of trust while keys of the mesh change: the CAs that this controller believes
// and names to others, the account's signing keys that servers take, and the one that it signs
// with.
import { readFile } from "node:fs/promises";
import { type Mesh, readSigners, renewControllerRights } from "../founding/index.js";
import { keyOf } from "../keys.js";
import { parseCredentials, type User } from "../nats/index.js";
import type { TrustRecord } from "../records.js";
import { fingerprintOf, readTrusted, writeTrusted } from "../tls/index.js";
import type { Admins } from "./admins.js";
import type { Core } from "./core.js";
import type { Revocation } from "./revocation.js";
import type { Roster } from "./views.js";

export interface TrustOptions {
  core: Core;
  /** As this controller was started with: connections read its CAs. */
  mesh: Mesh;
  /** What this controller connects with: new credentials are put in here. */
  user: User;
  revocation: Revocation;
  admins: Admins;
}

export class TrustKeeper {
  readonly #options: TrustOptions;
  #work: Promise<void> = Promise.resolve();

  constructor(options: TrustOptions) {
    this.#options = options;
  }

  get record(): TrustRecord | null {
    const { mesh } = this.#options.core.store.ledgers;
    return mesh.get<"trust">(keyOf.trust())?.record ?? null;
  }

  /** The record, or what is in the mesh's folder, may have changed. */
  follow(): Promise<void> {
    this.#work = this.#work
      .then(() => this.#follow())
      .catch((error: unknown) => {
        this.#options.core.log("trust-not-followed", { reason: String(error) });
      });
    return this.#work;
  }

  async #follow(): Promise<void> {
    const { record } = this;
    if (record === null) return;
    await this.#believe(record);
    this.#options.revocation.expect(record.signers, () => {
      this.#work = this.#work
        .then(() => this.#sign())
        .catch((error: unknown) => {
          this.#options.core.log("signing-key-not-changed", { reason: String(error) });
        });
    });
  }

  async #believe({ authorities }: TrustRecord): Promise<void> {
    const { core, mesh } = this.#options;
    const ca = authorities.join("");
    if (ca === "" || core.mesh.ca === null || core.mesh.ca === ca) return;
    if ((await readTrusted(mesh.dir)) !== ca) await writeTrusted(mesh.dir, authorities);
    core.mesh.ca = ca;
    mesh.ca = ca;
    core.log("authorities-changed", { fingerprints: authorities.map(fingerprintOf) });
  }

  /** Signs with the first of the wanted keys that is in the folder; servers take it by now. */
  async #sign(): Promise<void> {
    const { core, mesh, user, admins } = this.#options;
    const here = await readSigners(mesh.dir);
    const wanted = this.record?.signers ?? [];
    const [key] = wanted.flatMap((one) => here.filter(({ publicKey }) => publicKey === one));
    if (key === undefined) {
      const what = "copy account-signing.nk from the host where keys were rotated";
      core.log("signing-key-missing", { dir: mesh.dir, wanted, what });
      return;
    }
    const isOther = key.publicKey !== core.secrets.signer.publicKey;
    core.secrets.signer = key;
    if (await renewControllerRights(mesh, key)) {
      Object.assign(user, parseCredentials(await readFile(mesh.controllerCredentials, "utf8")));
    }
    await admins.keepFirst();
    if (isOther) core.log("signing-key-changed", { key: key.publicKey });
  }
}

/** How far a change of keys has come. */
export interface TrustReport {
  /** Serial of the record; 0: keys never changed. */
  serial: number;
  /** SHA-256 of each CA, the one that signs first. */
  authorities: string[];
  signers: string[];
  /** Names of members that have not said that they took it. */
  behind: string[];
}

export function trustReport(core: Core, roster: Roster): TrustReport {
  const { mesh } = core.store.ledgers;
  const held = mesh.get<"trust">(keyOf.trust());
  if (!held?.record) return { serial: 0, authorities: [], signers: [], behind: [] };
  const { serial, record } = held;
  const living = [...mesh.records("members")].filter(({ state }) => state !== "removed");
  const behind = living.filter(({ nodeId }) => roster.trustOf(nodeId) < serial);
  return {
    serial,
    authorities: record.authorities.map(fingerprintOf),
    signers: record.signers,
    behind: behind.map(({ name }) => name).sort(),
  };
}
