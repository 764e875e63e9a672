// Accounts of PPTP clients: made, changed and removed on an administrator's word. Passwords come as
// NT hashes in a box for the controllers and are stored sealed for the nodes that serve PPTP.
import { isIPv4 } from "node:net";
import { parseAddress, parsePrefix, prefixHolds } from "../cidr.js";
import { ControlError } from "../errors.js";
import { isUserName, keyOf } from "../keys.js";
import { latestSerial } from "../ledger.js";
import type { MemberRecord, UserRecord } from "../records.js";
import { type BoxKey, boxKey, derivedKey, openBox } from "../secrets.js";
import { parseUserSecret, sealUserSecret, type UserSecret } from "../user-secret.js";
import { type Core, configOf, refuseInHoldOff } from "./core.js";
import { takenError, UserAddresses } from "./user-addresses.js";

/** As administrators see an account: nothing of its password. */
export interface UserView extends Omit<UserRecord, "sealed"> {
  /** The node whose PodCIDR holds its address; null: none, or it has no address of its own. */
  addressNode: string | null;
}

/** What may be changed of an account beside its password. */
export type UserChange = Partial<Pick<UserRecord, "address" | "expires" | "disabled">>;

/** Accounts of a mesh: each serving node holds all of them in memory. */
const users_max = 4_096;
/** What a box for the controllers is sealed for. */
export const USER_SECRET_CONTEXT = "user secret";

export class Users {
  readonly #core: Core;
  readonly #box: BoxKey;
  readonly #addresses: UserAddresses;
  constructor(core: Core) {
    this.#core = core;
    this.#addresses = new UserAddresses(core);
    this.#box = boxKey(this.#derived("users box"));
  }

  #derived(purpose: string): Buffer {
    const { mesh, secrets } = this.#core;
    return derivedKey(secrets.grant.getSeed(), mesh.meshId, purpose);
  }

  /** The key that accounts are sealed with: for controllers and serving nodes alone. */
  get sealingKey(): Buffer {
    return this.#derived("users sealing");
  }

  /** Where administrators put passwords' hashes, signed by the grant key. */
  boxKey(): { key: string; signature: string } {
    const key = this.#box.publicKey;
    const signature = this.#core.secrets.grant.sign(boxKeyProof(this.#core.mesh.meshId, key));
    return { key, signature: Buffer.from(signature).toString("base64url") };
  }

  /** MESHD_BAD_REQUEST when a box is not for this mesh's controllers, or holds no secret. */
  openSecret(sealed: string): UserSecret {
    const text = openBox(this.#box, sealed, USER_SECRET_CONTEXT);
    const secret = text === null ? null : parseUserSecret(text);
    if (secret !== null) return secret;
    const what = "the password's box cannot be opened; use this version's 'meshd user' on the mesh";
    throw new ControlError("MESHD_BAD_REQUEST", what);
  }

  list(): UserView[] {
    const all = [...this.#core.store.ledgers.secrets.records("users")];
    return all.map((user) => this.#view(user)).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** A new account. MESHD_NAME_TAKEN, MESHD_CONFLICT (address), MESHD_BAD_REQUEST. */
  async add(name: string, secret: UserSecret, wishes: UserChange): Promise<UserView> {
    refuseInHoldOff(this.#core);
    const now = new Date().toISOString();
    const user = {
      ...{ name, address: null, expires: null, disabled: false, ...wishes },
      ...{ ...this.#sealed(name, secret), created: now, passwordChanged: now },
    };
    return this.#withAddress(name, user.address, (before) => {
      if (before !== null) {
        const what = `there is a user ${name}; "meshd user passwd" or "set" changes it`;
        throw new ControlError("MESHD_NAME_TAKEN", what);
      }
      if (this.list().length >= users_max) {
        const what = `there are ${users_max} users, the most there may be; remove some`;
        throw new ControlError("MESHD_CONFLICT", what);
      }
      return user;
    });
  }

  passwd(name: string, secret: UserSecret): Promise<UserView> {
    const passwordChanged = new Date().toISOString();
    const sealed = this.#sealed(name, secret);
    return this.#change(name, (user) => ({
      ...this.#there(name, user),
      ...sealed,
      passwordChanged,
    }));
  }

  async set(name: string, change: UserChange): Promise<UserView> {
    const decide = (user: UserRecord | null) => ({ ...this.#there(name, user), ...change });
    const { address } = change;
    if (address === undefined) return this.#change(name, decide);
    return this.#withAddress(name, address, decide);
  }

  async remove(name: string): Promise<{ removed: string }> {
    let address: string | null = null;
    await this.#write(name, (user) => {
      address = this.#there(name, user).address;
      return null;
    });
    await this.#addresses.drop(name, address);
    return { removed: name };
  }

  /** A change that gives a user an address, or takes his from him (null). */
  async #withAddress(
    name: string,
    address: string | null,
    decide: (user: UserRecord | null) => UserRecord,
  ): Promise<UserView> {
    this.#checkAddress(name, address);
    const isNew = await this.#addresses.take(name, address);
    let former: string | null = null;
    try {
      const view = await this.#change(name, (user) => {
        former = user?.address ?? null;
        return decide(user);
      });
      if (former !== address) await this.#addresses.drop(name, former);
      return view;
    } catch (error) {
      if (isNew) await this.#addresses.drop(name, address).catch(() => undefined);
      throw error;
    }
  }

  #sealed(name: string, secret: UserSecret): Pick<UserRecord, "sealed" | "insecureClear"> {
    const { meshId } = this.#core.mesh;
    return {
      sealed: sealUserSecret(this.sealingKey, meshId, name, secret),
      insecureClear: secret.clear !== undefined,
    };
  }

  #there(name: string, user: UserRecord | null): UserRecord {
    if (user !== null) return user;
    const what = `there is no user ${name.slice(0, 63)}; "meshd user list" shows them`;
    throw new ControlError("MESHD_NOT_FOUND", what);
  }

  async #change(name: string, decide: (user: UserRecord | null) => UserRecord): Promise<UserView> {
    const user = await this.#write(name, decide);
    return this.#view(this.#there(name, user));
  }

  async #write(
    name: string,
    decide: (user: UserRecord | null) => UserRecord | null,
  ): Promise<UserRecord | null> {
    if (!isUserName(name)) this.#there(name, null);
    const user = await this.#core.store.changeOnce<"users">(keyOf.user(name), decide);
    await this.announce();
    this.#core.log("user-changed", { user: name, removed: user === null });
    return user;
  }

  /** Says in the members' bucket that accounts changed, when it does not say so yet. */
  async announce(): Promise<void> {
    const { store } = this.#core;
    const latest = latestSerial(store.ledgers.secrets, "users");
    await store.change<"accounts">(keyOf.accounts(), (before) =>
      latest <= (before?.latest ?? 0) ? undefined : { latest },
    );
  }

  #view({ sealed: _, ...user }: UserRecord): UserView {
    const node = user.address === null ? null : this.#holder(user.address);
    return { ...user, addressNode: node?.name ?? null };
  }

  /** The living member whose PodCIDR holds an address. */
  #holder(address: string): MemberRecord | null {
    const members = this.#core.store.ledgers.mesh.records("members");
    const holds = (cidr: string) => {
      const prefix = parsePrefix(cidr);
      return prefix !== null && prefixHolds(prefix, address);
    };
    const living = [...members].filter((one) => one.state !== "removed");
    return living.find((one) => one.podCIDRs.some(holds)) ?? null;
  }

  /** An address must lie in the pool, and be nobody's: no node's, no pod's, no other user's. */
  #checkAddress(name: string, address: string | null): void {
    if (address === null) return;
    const why = this.#clashOf(name, address);
    if (why === null) return;
    throw takenError(name, address, why);
  }

  #clashOf(name: string, address: string): string | null {
    const { clusterPoolIPv4PodCIDR: text, clusterPoolIPv4MaskSize: size } = configOf(
      this.#core.store,
    );
    const pool = text === null ? null : parsePrefix(text);
    if (!isIPv4(address) || !pool || !prefixHolds(pool, address)) {
      return `is not inside the pool ${text ?? "of IPv4, of which the mesh has none"}`;
    }
    const count = 1n << BigInt(32 - size);
    const place = (parseAddress(address)?.value ?? 0n) % count;
    if (place === 0n) return "is the address of a node";
    if (place === count - 1n) return "is the last of a PodCIDR";
    const { mesh, secrets } = this.#core.store.ledgers;
    const pods = [...mesh.records("endpoints")];
    const pod = pods.find((one) => one.addresses.includes(address));
    if (pod) return `is the address of pod ${pod.pod}`;
    const users = [...secrets.records("users")];
    const other = users.find((one) => one.name !== name && one.address === address);
    return other ? `is the address of user ${other.name}` : null;
  }
}

/** What the grant key signs so that an administrator knows whose key a box is for. */
export function boxKeyProof(meshId: string, key: string): Buffer {
  return Buffer.from(`meshd box key 1\n${meshId}\n${key}`);
}
