// Which address other nodes send to, and what on this host forbids a mesh: asked before anything is
// changed, each refusal one line with a code.
import { createSocket } from "node:dgram";
import {
  findLink,
  findPoolConflicts,
  gatherFacts,
  type HostFacts,
  prefixHolding,
  suggestUnderlay,
  tunProblem,
  type Underlay,
  underlayOf,
} from "../host/index.js";
import { AgentError } from "./errors.js";
import type { AgentOptions } from "./types.js";

/** What of the options decides the underlay; the node's own setting wins over the mesh's. */
export interface UnderlayWish {
  address: string | null;
  interface: string | null;
  family: 4 | 6 | "auto";
}

const FAMILY = { ipv4: 4, ipv6: 6, auto: "auto" } as const;

/** Settings of the mesh that a node may leave to it. */
export interface MeshUnderlay {
  underlayAddress: string | null;
  underlayInterface: string | null;
  underlayProtocol: "ipv4" | "ipv6" | "auto";
}

/** Merges both levels; "auto" of the node means: what the mesh says. */
export function underlayWish(options: AgentOptions, mesh: MeshUnderlay | null): UnderlayWish {
  const own = options.underlayProtocol ?? "auto";
  const protocol = own === "auto" ? (mesh?.underlayProtocol ?? "auto") : own;
  return {
    address: options.underlayAddress ?? mesh?.underlayAddress ?? null,
    interface: options.underlayInterface ?? mesh?.underlayInterface ?? null,
    family: FAMILY[protocol],
  };
}

/** What is ours on this host and so no candidate and no conflict. */
export interface OwnThings {
  devices: readonly string[];
  pools: readonly string[];
  /** Prefixes that the underlay routes by itself. */
  left?: readonly string[];
}

function noUnderlay(what: string): AgentError {
  return new AgentError("MESHD_NO_UNDERLAY", `${what}; set underlayAddress or underlayInterface`);
}

/** The address given by setting, with its interface and MTU. */
function givenAddress(facts: HostFacts, address: string): Underlay {
  const found = underlayOf(facts, address);
  if (found === undefined) {
    throw noUnderlay(`underlay address ${address} is on no interface of this host`);
  }
  return found;
}

/**
 * Finds the advertised address: the setting, the interface's, or the default route's source.
 * @throws AgentError MESHD_NO_UNDERLAY when there is none or the choice is not ours.
 */
export async function chooseUnderlay(wish: UnderlayWish, own: OwnThings): Promise<Underlay> {
  if (wish.address !== null) {
    return givenAddress(await gatherFacts(), wish.address);
  }
  const { chosen, candidates } = await suggestUnderlay(own, wish.family);
  if (wish.interface !== null) {
    const there = candidates.find((candidate) => candidate.device === wish.interface);
    if (there === undefined) {
      throw noUnderlay(`interface ${wish.interface} has no address that other nodes could reach`);
    }
    return there;
  }
  if (chosen !== undefined) {
    return chosen;
  }
  if (candidates.length === 0) {
    throw noUnderlay("this host has no address that other nodes could reach");
  }
  const list = candidates.map(({ address, device }) => `${address} (${device})`).join(", ");
  throw noUnderlay(`several addresses could be advertised: ${list}`);
}

/** Conditions that need no knowledge of the mesh. */
export async function checkHost(): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new AgentError("MESHD_NOT_ROOT", "the agent sets up devices and routes: run it as root");
  }
  const problem = await tunProblem();
  if (problem !== undefined) {
    throw new AgentError("MESHD_NO_TUN", problem);
  }
}

/** True when nobody else is bound there; one bind without SO_REUSEPORT, closed at once. */
function isPortFree(at: { family: 4 | 6; address: string; port: number }): Promise<boolean> {
  const socket = createSocket(
    at.family === 4 ? { type: "udp4" } : { type: "udp6", ipv6Only: true },
  );
  return new Promise((resolve) => {
    socket.once("error", () => socket.close(() => resolve(false)));
    socket.bind({ address: at.address, port: at.port, exclusive: true }, () => {
      socket.close(() => resolve(true));
    });
  });
}

/** Asked before a node joins, so that no lease is taken for a start that must fail. */
export async function checkFree(
  deviceName: string,
  at: { family: 4 | 6; address: string; port: number },
): Promise<void> {
  const link = await findLink(deviceName);
  if (link !== undefined && link.kind !== "tun") {
    const what = `device ${deviceName} exists and is no TUN device (${link.kind ?? "interface"})`;
    throw new AgentError("MESHD_DEVICE_BUSY", `${what}: choose another deviceName`);
  }
  if (!(await isPortFree(at))) {
    const what = `UDP port ${at.port} on ${at.address} is in use`;
    const fix = "stop the program that has it, or set another tunnelPort";
    throw new AgentError("MESHD_PORT_IN_USE", `${what}: ${fix}`);
  }
}

/** What stands in the mesh's way on this host, as warnings; conflicts that lose packets throw. */
export async function checkPools(underlay: Underlay, own: OwnThings): Promise<string[]> {
  const pool = prefixHolding(underlay.address, own.pools);
  if (pool !== undefined) {
    const what = `underlay address ${underlay.address} lies inside the pool ${pool}`;
    const fix = "choose another pool, or advertise another address (underlayAddress)";
    throw new AgentError(
      "MESHD_UNDERLAY_IN_POOL",
      `${what}: the tunnel would carry itself; ${fix}`,
    );
  }
  const conflicts = findPoolConflicts(await gatherFacts(), own);
  const refused = conflicts.find((conflict) => conflict.severity === "refuse");
  if (refused !== undefined) {
    throw new AgentError("MESHD_ROUTE_CONFLICT", refused.message);
  }
  return conflicts.map((conflict) => conflict.message);
}
