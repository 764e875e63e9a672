// Agents of one process share what a signature check found: the check of the same key, bytes and
// signature is computed once a process. In truth each node has its own processor for it; here a few
// carry a thousand nodes. The product knows nothing of this: node's own crypto is wrapped.
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";

export const checks = { checked: 0, known: 0 };

/** Counts all checks from now on; `shared`: results are kept and used again. */
export function countChecks(shared: boolean): void {
  const { verify } = crypto;
  const results = new Map<string, boolean>();
  const remembered = (
    algorithm: string | null | undefined,
    data: Buffer,
    key: crypto.KeyObject,
    signature: Buffer,
  ): boolean => {
    const hash = crypto.createHash("sha1").update(data).update(signature);
    const name = `${idOf(key)} ${hash.digest("base64")}`;
    const known = shared ? results.get(name) : undefined;
    if (known !== undefined) {
      checks.known++;
      return known;
    }
    checks.checked++;
    const result = verify(algorithm, data, key, signature);
    if (shared) results.set(name, result);
    return result;
  };
  (crypto as { verify: unknown }).verify = remembered;
  syncBuiltinESMExports();
}

const ids = new WeakMap<crypto.KeyObject, number>();
let keys = 0;

/** The product keeps one key object for a key, so that its number stands for the key. */
function idOf(key: crypto.KeyObject): number {
  const known = ids.get(key);
  if (known !== undefined) return known;
  keys++;
  ids.set(key, keys);
  return keys;
}
