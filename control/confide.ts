// How a controller tells one member a secret over a wire that others may read: the member's request
// names a key made for it and is signed by the node; the answer is signed by the mesh's grant key,
// and what is secret in it stands in a box for that key.
import { ask } from "./answer.js";
import * as check from "./check.js";
import { type Fields, fieldsOf } from "./check.js";
import { ControlError } from "./errors.js";
import type { Identity } from "./identity.js";
import type { Membership } from "./membership.js";
import { type Link, type SigningKey, signingKey, verifySignature } from "./nats/index.js";
import { boxKey, isBoxPublicKey, openBox, sealFor } from "./secrets.js";
import { subjectsOf } from "./subjects.js";

/** Who asks whom for what, and the key that the answer is for. */
interface Occasion {
  meshId: string;
  nodeId: string;
  verb: string;
  /** Public box key of this request alone. */
  reader: string;
}

function bytesOf({ meshId, nodeId, verb, reader }: Occasion, what: string): Buffer {
  return Buffer.from(`meshd secrets 1\n${meshId}\n${nodeId}\n${verb}\n${reader}\n${what}`);
}

const contextOf = ({ meshId, nodeId, verb }: Occasion) => `${meshId} ${nodeId} ${verb}`;

function signed(key: SigningKey, bytes: Buffer): string {
  return Buffer.from(key.sign(bytes)).toString("base64url");
}

function isSigned(key: string, bytes: Buffer, signature: unknown): boolean {
  if (typeof signature !== "string") return false;
  return verifySignature(key, bytes, Buffer.from(signature, "base64url"));
}

/** The link and the two parties that an asking member knows. */
export interface Asker {
  link: Link;
  membership: Membership;
  identity: Identity;
}

/**
 * A member's request; the answer's fields, and what its box holds ("" without one).
 * MESHD_PROOF_INVALID when the answer is not this mesh's, and the errors of `ask`.
 */
export async function askConfidentially(
  { link, membership, identity }: Asker,
  verb: string,
  request: object,
): Promise<{ fields: Fields; secret: string }> {
  const key = boxKey();
  const { meshId, nodeId, mesh, grantKey } = membership;
  const occasion = { meshId, nodeId, verb, reader: key.publicKey };
  const signature = signed(signingKey(identity.seed), bytesOf(occasion, "asks"));
  const asked = { ...request, reader: key.publicKey, signature };
  const subject = subjectsOf(mesh).member(nodeId, verb);
  const answer = (await ask(link, subject, asked, 10_000, { again: true })) as Fields | null;
  const text = typeof answer?.text === "string" ? answer.text : "";
  if (!isSigned(grantKey, bytesOf(occasion, text), answer?.signature)) {
    const what = `the answer to "${verb}" is not signed by this mesh; it was not believed`;
    throw new ControlError("MESHD_PROOF_INVALID", what);
  }
  const fields = fieldsOf(JSON.parse(text), "the answer");
  const sealed = typeof fields.box === "string" ? fields.box : "";
  const secret = sealed === "" ? "" : openBox(key, sealed, contextOf(occasion));
  if (secret === null) throw new ControlError("MESHD_PROOF_INVALID", "the answer is damaged");
  return { fields, secret };
}

/** What a controller answers: fields that all may read, and a secret for the asker. */
export interface Confidence {
  fields: Fields;
  secret: string;
}

/** A controller's answer to a member's request, when that is signed. MESHD_PROOF_INVALID. */
export async function confide(
  meshId: string,
  grant: SigningKey,
  { nodeId, verb, request }: { nodeId: string; verb: string; request: Fields },
  answer: () => Promise<Confidence>,
): Promise<{ text: string; signature: string }> {
  const reader = check.text(request, "reader", 64);
  const occasion = { meshId, nodeId, verb, reader };
  const isAsked = isSigned(nodeId, bytesOf(occasion, "asks"), request.signature);
  if (!isBoxPublicKey(reader) || !isAsked) {
    const what = "the request is not signed by its node's key; ask with that key";
    throw new ControlError("MESHD_PROOF_INVALID", what);
  }
  const { fields, secret } = await answer();
  const box = sealFor(reader, secret, contextOf(occasion));
  const text = JSON.stringify({ ...fields, box });
  return { text, signature: signed(grant, bytesOf(occasion, text)) };
}
