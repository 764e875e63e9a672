// How this node is a member: by the saved credentials, or by a token that makes it one.
import { hostname } from "node:os";
import {
  type Identity,
  joinMesh,
  type Membership,
  parseToken,
  readMembership,
  writeMembership,
} from "../../control/index.js";
import { AgentError, codeOf, messageOf } from "./errors.js";
import type { AgentPaths } from "./paths.js";
import { defaultPortOf } from "./protocols.js";
import type { AgentLog, AgentOptions } from "./types.js";

const JOIN_TIMEOUT_MS = 30_000;

/** A restart may bring a token that has done its work, or find no controller: the key is enough. */
const KEY_IS_ENOUGH = new Set([
  "MESHD_TOKEN_USED",
  "MESHD_TOKEN_EXPIRED",
  "MESHD_TOKEN_REVOKED",
  "MESHD_NO_NATS",
  "MESHD_NO_CONTROLLER",
  "MESHD_HOLD_OFF",
  "MESHD_TIMEOUT",
]);

export interface Joined {
  membership: Membership;
  /** True: this start made the node a member, so a refusal must give the lease back. */
  fresh: boolean;
  /** True: a controller gave this membership now. */
  anew: boolean;
}

/**
 * Gives the address to advertise with that port, or refuses by an error: asked only when joining.
 */
export type UnderlayFor = (port: number) => Promise<string>;

/** A name that is one DNS label, out of the host's name. */
export function nameFromHost(host: string): string {
  const first = (host.split(".", 1)[0] ?? "").toLowerCase().replace(/[^a-z0-9-]/g, "-");
  const label = first.replace(/^-+/, "").slice(0, 63).replace(/-+$/, "");
  return label === "" ? "node" : label;
}

async function join(
  token: string,
  options: AgentOptions,
  identity: Identity,
  underlayFor: UnderlayFor,
): Promise<Membership> {
  // The mesh's own port is known only after joining; the claim moves with the node record then.
  const port = options.tunnelPort || defaultPortOf("vxlan");
  return joinMesh(token, {
    identity,
    name: options.name ?? nameFromHost(hostname()),
    underlay: { address: await underlayFor(port), port },
    ...(options.servers === undefined ? {} : { servers: options.servers }),
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    timeout_ms: JOIN_TIMEOUT_MS,
  });
}

/**
 * Reads the saved membership, or joins with the token and saves what comes of it.
 * @throws AgentError MESHD_NOT_JOINED, MESHD_ALREADY_JOINED; ControlError of joinMesh.
 */
export async function obtainMembership(
  options: AgentOptions,
  paths: AgentPaths,
  identity: Identity,
  log: AgentLog,
  underlayFor: UnderlayFor,
): Promise<Joined> {
  const kept = await readMembership(paths.membership);
  // Another key is another node: this host was made from a copy and had its key taken away.
  const saved = kept?.nodeId === identity.nodeId ? kept : null;
  const { token } = options;
  if (token === undefined) {
    if (saved === null) {
      const what = "this host is no node of a mesh yet";
      throw new AgentError("MESHD_NOT_JOINED", `${what}: give a token (meshd token create)`);
    }
    return { membership: saved, fresh: false, anew: false };
  }
  if (saved !== null && parseToken(token).meshId !== saved.meshId) {
    const what = `this host is node ${saved.name} of mesh ${saved.mesh}`;
    throw new AgentError("MESHD_ALREADY_JOINED", `${what}: leave it first (meshd leave)`);
  }
  try {
    const membership = await join(token, options, identity, underlayFor);
    await writeMembership(paths.membership, membership);
    return { membership, fresh: saved === null, anew: true };
  } catch (error) {
    if (saved === null || !KEY_IS_ENOUGH.has(codeOf(error))) {
      throw error;
    }
    log("agent.token-unused", { reason: messageOf(error) });
    return { membership: saved, fresh: false, anew: false };
  }
}
