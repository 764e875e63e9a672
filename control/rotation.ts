// Changes keys of a mesh while it runs, a step at a time: what is new is trusted beside what is
// old, then used, then what is old ends. For a host with the mesh's folder; members and controllers
// hear of each step by the record of trust.
import { readFile } from "node:fs/promises";
import { bucketsOf, Store } from "./controller/store.js";
import type { TrustReport } from "./controller/trust.js";
import { ControlError } from "./errors.js";
import {
  loadSecrets,
  type Mesh,
  type MeshSecrets,
  nextSigner,
  prepareSigner,
  promoteSigner,
  renewCredentials,
  writeSigners,
} from "./founding/index.js";
import { keyOf } from "./keys.js";
import { Ledger } from "./ledger.js";
import { Link, parseCredentials, signingKey } from "./nats/index.js";
import type { TrustRecord } from "./records.js";
import { inboxOf } from "./subjects.js";
import {
  fetchAuthority,
  fingerprintOf,
  nextAuthority,
  pemBlocks,
  prepareAuthority,
  promoteAuthority,
  type TrustedAuthorities,
  writeTrusted,
} from "./tls/index.js";

/** What can be changed. */
export const rotatable = ["ca", "account-signing"] as const;
export type Rotatable = (typeof rotatable)[number];

export interface RotationOptions {
  /** Does a step also where members, or servers, are not known to be ready for it. */
  force: boolean;
  /** Asks a controller how far members are. */
  report(): Promise<TrustReport>;
  /** Instead of the mesh's. */
  servers?: string[];
  ca?: TrustedAuthorities;
}

/** One step of a change. */
export interface RotationStep {
  step: "begun" | "in-use" | "ended";
  /** Files that every other host with the mesh's folder needs now. */
  copy: string[];
}

interface Change {
  mesh: Mesh;
  secrets: MeshSecrets;
  options: RotationOptions;
  trust: TrustRecord;
  /** URLs of all servers. */
  servers: string[];
  /** Tells members and controllers. */
  tell(trust: TrustRecord): Promise<void>;
}

/**
 * Does the next step. MESHD_CONFLICT: it is too early, and who is not ready. MESHD_NO_MESH: a key
 * is not in the folder. MESHD_NO_NATS.
 */
export async function rotate(
  mesh: Mesh,
  what: Rotatable,
  options: RotationOptions,
): Promise<RotationStep> {
  const secrets = await loadSecrets(mesh);
  await renewCredentials(mesh);
  const user = parseCredentials(await readFile(mesh.controllerCredentials, "utf8"));
  const link = await Link.open({
    servers: options.servers ?? mesh.servers,
    user: () => user,
    ca: () => options.ca ?? mesh.ca,
    inbox: inboxOf.controller(signingKey(user.seed).publicKey),
    name: "meshd keys rotate",
  });
  try {
    const { meshId, grantKey } = mesh;
    const known = { meshId, grantKey };
    const ledgers = { mesh: new Ledger(known), secrets: new Ledger(known) };
    const store = new Store(
      known,
      secrets.grant,
      ledgers,
      bucketsOf(link, mesh.name, secrets.grant),
    );
    const { record } = await store.read<"trust">(keyOf.trust());
    const start = { authorities: pemBlocks(mesh.ca ?? ""), signers: [secrets.signer.publicKey] };
    const tell = async (trust: TrustRecord) => {
      await store.change<"trust">(keyOf.trust(), () => trust);
    };
    const listed = (await store.read<"servers">(keyOf.servers())).record?.servers;
    const servers = listed?.map(({ url }) => url) ?? options.servers ?? mesh.servers;
    const change = { mesh, secrets, options, servers, trust: record ?? start, tell };
    return what === "ca" ? await rotateAuthority(change) : await rotateSigner(change);
  } finally {
    await link.close();
  }
}

async function rotateAuthority(change: Change): Promise<RotationStep> {
  const { mesh, trust } = change;
  const { dir } = mesh;
  if (mesh.ca === null) {
    const what = `${dir} has no ca.pem: this mesh has no CA; "meshd up" makes one`;
    throw new ControlError("MESHD_NO_MESH", what);
  }
  const next = await nextAuthority(dir);
  const tell = async (authorities: string[]) => {
    await writeTrusted(dir, authorities);
    await change.tell({ ...trust, authorities });
  };
  if (next !== null && trust.authorities.includes(next)) {
    await refuseBehind(change);
    // First: who makes a certificate meanwhile takes of those trusted the one whose key is here.
    await promoteAuthority(dir);
    await tell([next, ...trust.authorities.filter((one) => one !== next)]);
    return { step: "in-use", copy: ["ca.key", "ca.pem"] };
  }
  if (next === null && trust.authorities.length > 1) {
    const [authority = ""] = trust.authorities;
    await refuseOldServers(change, authority);
    await tell([authority]);
    return { step: "ended", copy: ["ca.pem"] };
  }
  const made = await prepareAuthority(dir, mesh.name);
  await tell([...trust.authorities, made]);
  return { step: "begun", copy: [] };
}

async function rotateSigner(change: Change): Promise<RotationStep> {
  const { mesh, secrets, trust } = change;
  const { dir } = mesh;
  const next = await nextSigner(dir);
  const [first] = trust.signers;
  const inUse = next ?? (trust.signers.length > 1 ? secrets.signer : null);
  if (inUse !== null && inUse.publicKey === first) {
    await refuseBehind(change);
    await writeSigners(dir, [first], secrets.operator);
    await promoteSigner(dir);
    await change.tell({ ...trust, signers: [first] });
    return { step: "ended", copy: ["account-signing.nk", "mesh.json"] };
  }
  if (next === null && trust.signers.length > 1) {
    const what =
      "a change of this key was begun on another host: copy account-signing.next.nk here";
    throw new ControlError("MESHD_NO_MESH", `${what} from there, or go on there`);
  }
  const made = await prepareSigner(dir);
  const signers = [made.publicKey, ...trust.signers];
  await writeSigners(dir, signers, secrets.operator);
  await change.tell({ ...trust, signers });
  return { step: "begun", copy: ["account-signing.next.nk", "mesh.json"] };
}

const named_max = 10;

/** Who has not taken what is new would be left outside. */
async function refuseBehind({ options }: Change): Promise<void> {
  if (options.force) return;
  const { behind } = await options.report();
  if (behind.length === 0) return;
  const more = behind.length > named_max ? ` and ${behind.length - named_max} others` : "";
  const what =
    `${behind.slice(0, named_max).join(", ")}${more} did not take what is new yet: wait (a ` +
    "minute, or until they are back), remove them, or go on with --force: they join anew then";
  throw new ControlError("MESHD_CONFLICT", what);
}

/** A server that still shows a certificate of the old CA would not be believed any more. */
async function refuseOldServers({ servers, options }: Change, authority: string): Promise<void> {
  if (options.force) return;
  for (const server of servers) {
    try {
      await fetchAuthority([server], fingerprintOf(authority), 5_000);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const what =
        `${server} does not show a certificate of the new CA: wait half a minute, copy ca.key ` +
        `and ca.pem to its host, or go on with --force (${why})`;
      throw new ControlError("MESHD_CONFLICT", what, { cause });
    }
  }
}
