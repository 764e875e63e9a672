// A node's identity is its NKey: made once, kept 0600, never sent.
import { ControlError } from "./errors.js";
import { readTextFile, writeSecretFile } from "./files.js";
import { createKey, signingKey } from "./nats/index.js";

export interface Identity {
  /** Public NKey. */
  nodeId: string;
  /** Secret. */
  seed: string;
}

export function createIdentity(): Identity {
  const { seed, publicKey } = createKey("user");
  return { nodeId: publicKey, seed };
}

/**
 * Reads the file, or makes a new identity and writes it 0600. MESHD_BAD_RECORD when the file holds
 * no user seed.
 */
export async function loadOrCreateIdentity(file: string): Promise<Identity> {
  const text = await readTextFile(file);
  if (text === null) {
    const identity = createIdentity();
    await writeSecretFile(file, `${identity.seed}\n`);
    return identity;
  }
  try {
    const key = signingKey(text.trim());
    if (!key.publicKey.startsWith("U")) throw new Error("it is no user key");
    return { nodeId: key.publicKey, seed: text.trim() };
  } catch (cause) {
    const what = `${file} holds no node key; restore it, or remove it to become a new node`;
    throw new ControlError("MESHD_BAD_RECORD", what, { cause });
  }
}
