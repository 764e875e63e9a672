// Whether nats-servers take the users of a mesh, and hold them to their rights.
import { ControlError } from "./errors.js";
import { loadSecrets, type Mesh } from "./founding/index.js";
import { Link, type LinkOptions, signingKey } from "./nats/index.js";
import { inboxOf } from "./subjects.js";

const answer_max_ms = 3_000;
/** A server without any accounts takes everybody, and would let each node do everything. */
const refusals = new Set(["MESHD_PERMISSION", "MESHD_NO_CONTROLLER", "MESHD_TIMEOUT"]);

/**
 * True when the servers know the mesh's account, by the word of their system account. False: they
 * answer, and do not. MESHD_NO_NATS: none answers; MESHD_NO_MESH: keys are missing here.
 */
export async function acceptsMesh(
  mesh: Mesh,
  way: Pick<LinkOptions, "servers" | "ca">,
): Promise<boolean> {
  const { system } = await loadSecrets(mesh);
  if (system === null) {
    const what = `${mesh.dir} has no system.creds: revocations could not be sent; bring it back`;
    throw new ControlError("MESHD_NO_MESH", what);
  }
  const inbox = inboxOf.controller(signingKey(system.seed).publicKey);
  let link: Link | null = null;
  try {
    link = await Link.open({ ...way, user: () => system, inbox, name: "meshd up" });
    const subject = `$SYS.REQ.ACCOUNT.${mesh.accountKey}.CLAIMS.LOOKUP`;
    return (await link.request(subject, "", answer_max_ms)).text.startsWith("eyJ");
  } catch (error) {
    if (error instanceof ControlError && refusals.has(error.code)) return false;
    throw error;
  } finally {
    await link?.close();
  }
}
