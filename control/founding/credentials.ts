// Credentials files: those of a mesh's own folder, kept in date and in today's rights, and those of
// administrators.
import { ControlError } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import {
  createKey,
  credentialsText,
  haveSameRights,
  type Permissions,
  parseCredentials,
  readUserJwt,
  type SigningKey,
  signingKey,
  userJwt,
} from "../nats/index.js";
import { controllerPermissions } from "../permissions.js";
import { type Mesh, type MeshPlace, placeBlock, readPlace } from "./place.js";

/** How long an administrator's credentials last unless said otherwise: 90 days. */
export const ADMIN_LASTS_S = 90 * 86_400;
/** The name of the one whom a mesh begins with. */
export const FIRST_ADMIN = "admin";

/** A public key for an administrator, with the text of the file that keeps its seed until then. */
export function createAdminKey(): { publicKey: string; text: string } {
  const { publicKey, seed } = createKey("user");
  const lines = ["-----BEGIN USER NKEY SEED-----", seed, "------END USER NKEY SEED------", ""];
  return { publicKey, text: lines.join("\n") };
}

/** The seed in a file that createAdminKey or a credentials file holds. MESHD_PERMISSION. */
export function seedIn(text: string, what: string): string {
  const seed = /-----BEGIN USER NKEY SEED-----\s*(\S+)\s*-+END/.exec(text)?.[1];
  if (seed !== undefined) return seed;
  throw new ControlError("MESHD_PERMISSION", `${what} holds no key; "meshd admin key" makes one`);
}

/**
 * The text of an administrator's credentials file from his key and what `admin add` gave for it.
 * MESHD_PERMISSION when they do not belong together.
 */
export function adminCredentials(seed: string, granted: string): string {
  const jwt = /-----BEGIN NATS USER JWT-----\s*(\S+)\s*-+END/.exec(granted)?.[1];
  const place = readPlace(granted);
  const key = jwt === undefined ? undefined : readUserJwt(jwt)?.key;
  if (jwt === undefined || place === null || key !== signingKey(seed).publicKey) {
    const what = 'this is not what "meshd admin add --key" printed for the key in the file';
    throw new ControlError("MESHD_PERMISSION", what);
  }
  return credentialsText(jwt, seed) + placeBlock(place);
}

/** What is handed to an administrator whose key was made elsewhere: no secret. */
export function grantText(jwt: string, place: MeshPlace): string {
  const lines = ["-----BEGIN NATS USER JWT-----", jwt, "------END NATS USER JWT------", ""];
  return lines.join("\n") + placeBlock(place);
}

interface UserFile {
  name: string;
  account: string;
  signer: SigningKey;
  permissions: (key: string) => Permissions;
  /** Seconds that they last; absent: for ever. */
  lasts_s?: number;
}

/** Writes a credentials file with a new key. */
export async function writeUser(path: string, user: UserFile): Promise<void> {
  const key = createKey("user");
  const { name, account, signer, lasts_s } = user;
  const permissions = user.permissions(key.publicKey);
  const about = { name, key: key.publicKey, account, signer, permissions };
  const jwt = await userJwt({ ...about, ...endIn(lasts_s ?? null) });
  await writeSecretFile(path, credentialsText(jwt, key.seed));
}

/** The `expires` of a user JWT that lasts so many seconds from now. */
export function endIn(lasts_s: number | null): { expires?: number } {
  return lasts_s === null ? {} : { expires: Math.floor(Date.now() / 1000) + lasts_s };
}

/** Whether credentials are past half of their time; for ever is never. */
export function isHalfOver(jwt: string): boolean {
  const claims = readUserJwt(jwt);
  if (claims === null || claims.expires === null) return false;
  return Date.now() / 1000 > (claims.issued + claims.expires) / 2;
}

/**
 * Gives the controller's credentials of a mesh the rights of this version, by this key; theirs
 * stays. True when they were changed. (Those of the first administrator: admins.ts, by a
 * controller that runs and knows whether he was removed.)
 */
export async function renewControllerRights(mesh: Mesh, signer: SigningKey): Promise<boolean> {
  const path = mesh.controllerCredentials;
  const text = await readTextFile(path);
  if (text === null) return false;
  const { jwt, seed } = parseCredentials(text);
  const key = signingKey(seed).publicKey;
  const user = { name: "controller", key, account: mesh.accountKey, signer };
  const now = await userJwt({ ...user, permissions: controllerPermissions(mesh.name, key) });
  const isSigned = readUserJwt(jwt)?.issuer === signer.publicKey;
  if (isSigned && haveSameRights(jwt, now)) return false;
  await writeSecretFile(path, credentialsText(now, seed));
  return true;
}
