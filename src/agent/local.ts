// Facts about this node that others are told: VTEP MAC, boot id, encapsulations spoken.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { FORMS_MAX, type MeshConfig, type NodeFacts } from "../../control/index.js";
import type { Underlay } from "../host/index.js";
import { checksumCapabilities } from "./plan/checksums.js";
import { distinctForms } from "./plan/forms.js";
import { sentForms } from "./plan/tables.js";
import type { LocalFacts, Plan } from "./plan/types.js";
import { spokenProtocols } from "./protocols.js";
import type { AgentOptions } from "./types.js";

/**
 * The node's VTEP MAC: made from its key, so that it stays over restarts, moves and renames.
 * Unicast, locally administered (IEEE 802 section 8.2).
 */
export function vtepMacOf(nodeId: string): string {
  const hash = createHash("sha256").update(`vtep ${nodeId}`).digest();
  const first = ((hash[0] ?? 0) & 0xfc) | 0x02;
  return [first, ...hash.subarray(1, 6)]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join(":");
}

export function localFacts(
  options: AgentOptions,
  nodeId: string,
  deviceName: string,
  underlay: Underlay,
): LocalFacts {
  return {
    nodeId,
    deviceName,
    vtepMac: vtepMacOf(nodeId),
    underlay: {
      family: underlay.family,
      address: underlay.address,
      interface: underlay.device,
      mtu: underlay.mtu,
      interfaceAddresses: underlay.interfaceAddresses,
    },
    tunnelPort: options.tunnelPort || null,
    mtu: options.mtu ?? null,
  };
}

/** The smallest that a node record may say; a path that takes less shows in probes. */
const RECORD_MTU_MIN = 576;

let knownBootId: string | undefined;

/** The same as long as this process can live. */
function bootId(): string {
  knownBootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return knownBootId;
}

/** What this node writes into its own record; `open`: what is so in truth. */
export function nodeFacts(
  plan: Plan,
  open: Pick<Plan, "receives" | "checksums">,
  underlay: Underlay,
  nodeId: string,
  version: string,
): NodeFacts {
  return {
    // The sockets are bound to the advertised address alone: another one would not be answered.
    underlay: {
      addresses: [underlay.address],
      interfaceAddresses: underlay.interfaceAddresses,
      port: plan.port,
    },
    vtepMac: vtepMacOf(nodeId),
    protocols: [...spokenProtocols],
    receives: [...open.receives],
    sends: distinctForms(sentForms(plan.peers), FORMS_MAX),
    mtu: Math.max(plan.pathMtu, RECORD_MTU_MIN),
    version,
    bootId: bootId(),
    epoch: plan.member?.epoch ?? 0,
    capabilities: checksumCapabilities(open.checksums),
  };
}

/** Workers are fixed at start: the node's setting, else the mesh's. */
export function workerCount(options: AgentOptions, config: MeshConfig): number {
  return options.workers ?? config.workers;
}
