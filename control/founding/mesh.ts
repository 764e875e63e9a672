// A mesh as its founder keeps it: keys, JWTs and credentials in one directory, all files 0600.
import { randomUUID } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { refuseUnbuiltConfig } from "../built.js";
import { ControlError } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import {
  accountJwt,
  createKey,
  operatorJwt,
  parseCredentials,
  type SigningKey,
  signingKey,
} from "../nats/index.js";
import { adminPermissions, controllerPermissions, systemPermissions } from "../permissions.js";
import { completeConfig } from "../setting-rules.js";
import type { MeshConfig } from "../settings.js";
import { ensureAuthority, readTrusted } from "../tls/index.js";
import { ADMIN_LASTS_S, FIRST_ADMIN, renewControllerRights, writeUser } from "./credentials.js";
import type { Mesh } from "./place.js";

export interface CreateMeshOptions {
  /** One DNS label; default "mesh". */
  name?: string;
  /** URLs that members reach the NATS server by; setMeshServers changes them later. */
  servers: string[];
  config?: Partial<MeshConfig>;
  /** False: without a CA, so that its nats-servers have no TLS. Default true. */
  tls?: boolean;
}

/** What mesh.json holds: everything but secrets. */
interface MeshFile {
  version: 1;
  meshId: string;
  name: string;
  servers: string[];
  operatorJwt: string;
  systemAccount: string;
  systemJwt: string;
  accountKey: string;
  accountJwt: string;
  signerKey: string;
  grantKey: string;
  config: MeshConfig;
}

/** What only a controller's host holds. */
export interface MeshSecrets {
  /** Signs user JWTs. */
  signer: SigningKey;
  /** Signs grants. */
  grant: SigningKey;
  /** Signs account JWTs (revocations); null when it was moved off this host. */
  operator: SigningKey | null;
  /** Credentials of the system account's user, or null. */
  system: { jwt: string; seed: string } | null;
}

const files = {
  mesh: "mesh.json",
  operator: "operator.nk",
  operatorSigner: "operator-signing.nk",
  account: "account.nk",
  signer: "account-signing.nk",
  grant: "grant.nk",
  system: "system.creds",
  controller: "controller.creds",
  admin: "admin.creds",
};

/**
 * Makes operator, system and mesh account, signing keys, controller and admin credentials and the
 * mesh's UUID. MESHD_MESH_EXISTS when dir holds a mesh; MESHD_BAD_SETTING for a bad setting or
 * name, or one that this build cannot carry out: no key is written then.
 */
export async function createMesh(dir: string, options: CreateMeshOptions): Promise<Mesh> {
  const name = options.name ?? "mesh";
  if (!/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(name)) {
    throw new ControlError(
      "MESHD_BAD_SETTING",
      `mesh name ${JSON.stringify(name)} is not allowed: use 1 to 32 of a-z, 0-9 and -`,
    );
  }
  const config = completeConfig({ ...options.config });
  refuseUnbuiltConfig(config);
  // Beside it and then in its place, whole: a crash leaves no half mesh, of two at once one wins.
  const draft = `${dir}.${process.pid}-${randomUUID().slice(0, 8)}.new`;
  try {
    await mkdir(draft, { recursive: true, mode: 0o700 });
    await writeKeys(draft, { name, servers: options.servers, config });
    if (options.tls !== false) await ensureAuthority(draft, name);
    await rename(draft, dir);
  } catch (cause) {
    await rm(draft, { recursive: true, force: true });
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOTDIR") throw cause;
    const what = `${dir} already holds a mesh or other files; use another directory`;
    throw new ControlError("MESHD_MESH_EXISTS", what, { cause });
  }
  return loadMesh(dir);
}

async function writeKeys(
  dir: string,
  start: { name: string; servers: string[]; config: MeshConfig },
): Promise<void> {
  const made = {
    operator: createKey("operator"),
    operatorSigner: createKey("operator"),
    account: createKey("account"),
    signer: createKey("account"),
    grant: createKey("account"),
  };
  const system = createKey("account");
  const operator = signingKey(made.operator.seed);
  const operatorSigner = signingKey(made.operatorSigner.seed);
  const signer = signingKey(made.signer.seed);
  for (const [kind, key] of Object.entries(made)) {
    await writeSecretFile(join(dir, files[kind as keyof typeof made]), `${key.seed}\n`);
  }
  const account = { signers: [] as string[], revoked: {}, signer: operatorSigner };
  const contents: MeshFile = {
    version: 1,
    meshId: randomUUID(),
    ...start,
    operatorJwt: await operatorJwt(
      start.name,
      operator,
      [operatorSigner.publicKey],
      system.publicKey,
    ),
    systemAccount: system.publicKey,
    systemJwt: await accountJwt({
      ...account,
      name: "SYS",
      key: system.publicKey,
      jetStream: false,
    }),
    accountKey: made.account.publicKey,
    accountJwt: await accountJwt({
      ...account,
      name: start.name,
      key: made.account.publicKey,
      signers: [signer.publicKey],
      jetStream: true,
    }),
    signerKey: signer.publicKey,
    grantKey: made.grant.publicKey,
  };
  const users = { account: contents.accountKey, signer };
  await writeUser(join(dir, files.system), {
    name: "controller",
    account: system.publicKey,
    signer: signingKey(system.seed),
    permissions: systemPermissions,
  });
  await writeUser(join(dir, files.controller), {
    ...users,
    name: "controller",
    permissions: (key) => controllerPermissions(start.name, key),
  });
  await writeUser(join(dir, files.admin), {
    ...users,
    name: FIRST_ADMIN,
    lasts_s: ADMIN_LASTS_S,
    permissions: (key) => adminPermissions(start.name, { name: FIRST_ADMIN, key, role: "admin" }),
  });
  await writeMeshFile(dir, contents);
}

/** For this room alone. */
export async function readMeshFile(dir: string): Promise<MeshFile> {
  const text = await readTextFile(join(dir, files.mesh));
  if (text === null) {
    throw new ControlError("MESHD_NO_MESH", `${dir} holds no mesh; "meshd up" makes one`);
  }
  try {
    const contents = JSON.parse(text) as MeshFile;
    if (contents.version !== 1 || typeof contents.meshId !== "string") throw new Error("version");
    return { ...contents, config: completeConfig({ ...contents.config }) };
  } catch (cause) {
    const what = `${join(dir, files.mesh)} is damaged; take the one of a backup`;
    throw new ControlError("MESHD_BAD_RECORD", what, { cause });
  }
}

/**
 * Reads what createMesh made. MESHD_NO_MESH when dir holds none, MESHD_BAD_RECORD when it is
 * damaged.
 */
export async function loadMesh(dir: string): Promise<Mesh> {
  const { meshId, name, servers, accountKey, grantKey, config } = await readMeshFile(dir);
  const adminCredentials = join(dir, files.admin);
  const controllerCredentials = join(dir, files.controller);
  const ca = await readTrusted(dir);
  const rest = { adminCredentials, controllerCredentials, ca };
  return { dir, meshId, name, servers, accountKey, grantKey, config, ...rest };
}

/** For this room alone. */
export async function writeMeshFile(dir: string, contents: MeshFile): Promise<void> {
  await writeSecretFile(join(dir, files.mesh), `${JSON.stringify(contents, null, 2)}\n`);
}

/** Changes the server URLs that tokens and sessions get from now on. */
export async function setMeshServers(dir: string, servers: string[]): Promise<Mesh> {
  const contents = await readMeshFile(dir);
  await writeMeshFile(dir, { ...contents, servers });
  return loadMesh(dir);
}

/** Gives a mesh that was made before there was one a CA. */
export async function completeMesh(mesh: Mesh): Promise<Mesh> {
  if (mesh.ca !== null) return mesh;
  await ensureAuthority(mesh.dir, mesh.name);
  return loadMesh(mesh.dir);
}

const storeSeen = (mesh: Mesh) => join(mesh.dir, "store-seen");

/** Whether a controller of this directory has ever had a store: an empty one is a lost one then. */
export async function hadStore(mesh: Mesh): Promise<boolean> {
  return (await readTextFile(storeSeen(mesh))) !== null;
}

export async function rememberStore(mesh: Mesh): Promise<void> {
  if (!(await hadStore(mesh))) await writeSecretFile(storeSeen(mesh), "");
}

/**
 * Takes back what createMesh made when no controller had a store of it yet, so that nobody can be a
 * member. False: one had, and nothing was done.
 */
export async function unmakeMesh(mesh: Mesh): Promise<boolean> {
  if (await hadStore(mesh)) return false;
  await rm(mesh.dir, { recursive: true, force: true });
  return true;
}

/**
 * Gives a controller's credentials that an earlier version made the rights of this one. Without the
 * account's signing key nothing is done. True when they were changed.
 */
export async function renewCredentials(mesh: Mesh): Promise<boolean> {
  const signer = await readKey(join(mesh.dir, files.signer));
  return signer !== null && (await renewControllerRights(mesh, signer));
}

/**
 * New credentials of role admin in the mesh's folder, for one who has the folder and nothing else;
 * controllers list him when he first asks. Gives his name. MESHD_NO_MESH without the signing key.
 */
export async function recoverAdmin(mesh: Mesh): Promise<string> {
  const { signer } = await loadSecrets(mesh);
  const name = `recovered-${randomUUID().slice(0, 8)}`;
  await writeUser(mesh.adminCredentials, {
    ...{ name, account: mesh.accountKey, signer, lasts_s: ADMIN_LASTS_S },
    permissions: (key) => adminPermissions(mesh.name, { name, key, role: "admin" }),
  });
  return name;
}

async function readKey(path: string): Promise<SigningKey | null> {
  const text = await readTextFile(path);
  return text === null ? null : signingKey(text.trim());
}

/**
 * The keys a controller signs with. MESHD_NO_MESH when one that it cannot do without is missing.
 */
export async function loadSecrets(mesh: Mesh): Promise<MeshSecrets> {
  const signer = await readKey(join(mesh.dir, files.signer));
  const grant = await readKey(join(mesh.dir, files.grant));
  if (!signer || !grant) {
    const missing = signer ? files.grant : files.signer;
    const what = `${mesh.dir} has no ${missing}: no controller can run; take it from a backup`;
    throw new ControlError("MESHD_NO_MESH", what);
  }
  const system = await readTextFile(join(mesh.dir, files.system));
  return {
    signer,
    grant,
    operator: await readKey(join(mesh.dir, files.operatorSigner)),
    system: system === null ? null : parseCredentials(system),
  };
}
