// What a member keeps to start again without a token: credentials, what to trust, its grants.
// Written 0600.
import { dirname, join } from "node:path";
import { ControlError } from "./errors.js";
import { readTextFile, writeSecretFile } from "./files.js";
import { isLabel, keyOf } from "./keys.js";
import type { Ledger } from "./ledger.js";
import { isPublicKey, readUserJwt } from "./nats/index.js";
import { completeConfig } from "./setting-rules.js";
import type { MeshConfig } from "./settings.js";

/** Plain JSON, secret. */
export interface Membership {
  meshId: string;
  mesh: string;
  nodeId: string;
  name: string;
  servers: string[];
  /** NATS user JWT with this node's rights. */
  jwt: string;
  /** NATS user JWT that can only ask for a new one; it does not end. */
  renewalJwt: string;
  accountKey: string;
  /** Public key that grants are signed with. */
  grantKey: string;
  /** Grants as given (member record and leases), signed text, kept to be presented again. */
  grants: { key: string; value: string }[];
  podCIDRs: string[];
  epoch: number;
  config: MeshConfig;
  /** PEM of the CAs of the mesh's servers, in a file of its own; absent: none is known. */
  ca?: string;
}

/** The CAs beside a membership, as the stock client takes them. */
const trustedFile = (file: string) => join(dirname(file), "ca.pem");

export async function writeMembership(file: string, membership: Membership): Promise<void> {
  const { ca, ...rest } = membership;
  // First: a membership without it would be one that knows no CA.
  if (ca !== undefined) await writeSecretFile(trustedFile(file), ca);
  await writeSecretFile(file, `${JSON.stringify({ ...rest, hasCa: ca !== undefined }, null, 2)}\n`);
}

/** null when the file does not exist; MESHD_BAD_RECORD when it is damaged. */
export async function readMembership(file: string): Promise<Membership | null> {
  const text = await readTextFile(file);
  if (text === null) return null;
  try {
    const { hasCa, ...membership } = JSON.parse(text) as Membership & { hasCa?: boolean };
    const ca = await readTextFile(trustedFile(file));
    // Without it any server would be believed.
    if (hasCa === true && ca === null) throw new Error(`${trustedFile(file)} is missing`);
    return { ...checkMembership(membership), ...(hasCa === true && ca !== null ? { ca } : {}) };
  } catch (cause) {
    const what = `${file} is damaged; join again with a token (the same key gets the same PodCIDR)`;
    throw new ControlError("MESHD_BAD_RECORD", what, { cause });
  }
}

/** Throws when a value is no membership. */
export function checkMembership(value: unknown): Membership {
  const fields = value as Membership;
  const texts = [fields.meshId, fields.jwt, fields.renewalJwt];
  const lists = [fields.servers, fields.podCIDRs];
  const good =
    texts.every((one) => typeof one === "string" && one !== "") &&
    lists.every((list) => Array.isArray(list) && list.every((one) => typeof one === "string")) &&
    isLabel(fields.mesh) &&
    isLabel(fields.name) &&
    isPublicKey(fields.nodeId, "U") &&
    isPublicKey(fields.accountKey, "A") &&
    isPublicKey(fields.grantKey, "A") &&
    Number.isSafeInteger(fields.epoch) &&
    Array.isArray(fields.grants);
  if (!good) throw new Error("a field is missing or malformed");
  // Whom to believe is never said by who is to be believed.
  const { ca: _, ...rest } = fields;
  return { ...rest, config: completeConfig({ ...fields.config }) };
}

/**
 * A membership with the CAs that the mesh's grant key names now; the same one when it has them
 * already. One that knows none stays so: only a token brings the first.
 */
export function withTrustOf(ledger: Ledger, membership: Membership): Membership {
  const record = ledger.get<"trust">(keyOf.trust())?.record;
  const ca = record?.authorities.join("") ?? "";
  const isSame = ca === "" || membership.ca === undefined || membership.ca === ca;
  return isSame ? membership : { ...membership, ca };
}

/** Whether a membership is as the record of trust wants it; its serial, 0 when not or without. */
export function trustTaken(ledger: Ledger, membership: Membership): number {
  const held = ledger.get<"trust">(keyOf.trust());
  if (!held?.record) return 0;
  const isSigned = readUserJwt(membership.jwt)?.issuer === held.record.signers[0];
  return isSigned && withTrustOf(ledger, membership) === membership ? held.serial : 0;
}

/** A membership with the servers that the mesh has now; the same one when it has them already. */
export function withServersOf(ledger: Ledger, membership: Membership): Membership {
  const record = ledger.get<"servers">(keyOf.servers())?.record;
  const servers = record?.servers.map(({ url }) => url) ?? [];
  const isSame = servers.length === 0 || servers.join() === membership.servers.join();
  return isSame ? membership : { ...membership, servers };
}
