// What this build carries out, of all that a setting may ever have: a setting that is taken must
// have an effect. A new encapsulation, or a setting that the agent learns to follow, changes this
// table.
import { ControlError } from "./errors.js";
import type { MeshConfig, SettingName } from "./settings.js";

/** Encapsulations that static peers can have: those without a session. The next is one word. */
export const peerProtocols = ["vxlan", "geneve", "udp", "ipip", "gre"] as const;
export type PeerProtocol = (typeof peerProtocols)[number];

/** Encapsulations between nodes. */
export const builtProtocols = [...peerProtocols, "pptp"] as const;
export type BuiltProtocol = (typeof builtProtocols)[number];

/** Those that carry IP alone: no Ethernet, so no VTEP MAC, and no network number. */
const frameless: ReadonlySet<string> = new Set(["udp", "ipip", "gre", "pptp"]);

/** Those right behind the outer IP header: no UDP, so no ports. */
const portless: ReadonlySet<string> = new Set(["ipip", "gre", "pptp"]);

/** Whether an encapsulation carries Ethernet frames, in a network with a number. */
export function hasFrames(protocol: string): boolean {
  return !frameless.has(protocol);
}

/** Whether an encapsulation travels in UDP, to a port; else by an IP protocol of its own. */
export function hasPort(protocol: string): boolean {
  return !portless.has(protocol);
}

const notBuilt = "is not in this version of meshd";

/** Values that can be carried out; settings that are not here are carried out whatever they are. */
const built: { [name in SettingName]?: readonly unknown[] } = {
  tunnelProtocol: builtProtocols,
};

/** What to use instead of a value that cannot be carried out, else null. */
function insteadOf(name: SettingName, value: unknown): string | null {
  if (name === "underlayAddress") {
    // Every node of the mesh would look for this one address among its own.
    return value === null ? null : "null here, and 'meshd join --underlay-address' on that node";
  }
  const able = built[name];
  if (able === undefined || able.includes(value)) return null;
  return able.map((one) => JSON.stringify(one)).join(", ");
}

/** MESHD_BAD_SETTING for a value that no mesh of this version can carry out. */
export function refuseUnbuilt(name: SettingName, value: unknown): void {
  const instead = insteadOf(name, value);
  if (instead === null) return;
  const why = name === "underlayAddress" ? "is an address of one node" : notBuilt;
  const what = `${name}: ${JSON.stringify(value)} ${why}; use ${instead}`;
  throw new ControlError("MESHD_BAD_SETTING", what);
}

/** As refuseUnbuilt, for all settings of a mesh. */
export function refuseUnbuiltConfig(config: MeshConfig): void {
  for (const [name, value] of Object.entries(config)) refuseUnbuilt(name as SettingName, value);
}
