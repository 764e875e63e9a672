// The account's signing keys in a mesh's folder: the one of now, and the one that is to come while
// it changes; and what a nats-server that knows nothing yet is told of them.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ControlError } from "../errors.js";
import { readTextFile, writeSecretFile } from "../files.js";
import { accountJwt, createKey, type SigningKey, signingKey } from "../nats/index.js";
import { readMeshFile, writeMeshFile } from "./mesh.js";

const files = { now: "account-signing.nk", next: "account-signing.next.nk" };

async function readKey(dir: string, file: string): Promise<SigningKey | null> {
  const text = await readTextFile(join(dir, file));
  return text === null ? null : signingKey(text.trim());
}

/** Those that are in the folder. */
export async function readSigners(dir: string): Promise<SigningKey[]> {
  const keys = [await readKey(dir, files.now), await readKey(dir, files.next)];
  return keys.filter((key) => key !== null);
}

export function nextSigner(dir: string): Promise<SigningKey | null> {
  return readKey(dir, files.next);
}

/** The key that is to come; made unless there is one already. */
export async function prepareSigner(dir: string): Promise<SigningKey> {
  const there = await nextSigner(dir);
  if (there !== null) return there;
  const { seed } = createKey("account");
  await writeSecretFile(join(dir, files.next), `${seed}\n`);
  return signingKey(seed);
}

/** The key that was to come is the one of now. */
export async function promoteSigner(dir: string): Promise<void> {
  const text = await readTextFile(join(dir, files.next));
  if (text !== null) await writeSecretFile(join(dir, files.now), text);
  await rm(join(dir, files.next), { force: true });
}

/**
 * Has a nats-server that begins with an empty directory take the users of these keys, the one that
 * signs first. MESHD_NO_MESH without the operator's signing key.
 */
export async function writeSigners(
  dir: string,
  signers: string[],
  operator: SigningKey | null,
): Promise<void> {
  if (operator === null) {
    const what = `${dir} has no operator-signing.nk, which signs what servers are told`;
    throw new ControlError("MESHD_NO_MESH", `${what}: run this on a host that has it`);
  }
  const contents = await readMeshFile(dir);
  const { name, accountKey: key } = contents;
  const about = { name, key, signers, jetStream: true, revoked: {}, signer: operator };
  const signerKey = signers[0] ?? contents.signerKey;
  await writeMeshFile(dir, { ...contents, signerKey, accountJwt: await accountJwt(about) });
}
