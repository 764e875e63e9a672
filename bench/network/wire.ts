// A wire of its own between the lab's two hosts, for everything that is measured: the lab's bridge
// carries the control plane only, as a management network would.
import { isTunnelProtocol, overheadOf } from "../../src/agent/protocols.js";
import { runSync, until } from "../../test/support/netns.js";
import type { Lab, LabCrew, LabHost } from "./lab.js";

export const WIRE = "wire0";
/** The agent looks at its interfaces' MTU every few seconds. */
const MTU_DEADLINE_MS = 60_000;
/** What a veth can do and a plain network card cannot. */
const OFFLOADS = ["tx-udp-segmentation", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"];

export interface WireOptions {
  mtu: number;
  offloads: boolean;
  crew: Pick<LabCrew, "encap">;
}

/** What meshd's devices have of a wire's MTU. */
export function innerMtu({ mtu, crew: { encap = "vxlan" } }: WireOptions): number {
  if (!isTunnelProtocol(encap)) throw new Error(`no encapsulation ${encap}`);
  return mtu - overheadOf(encap, 4);
}

/** The address stays the lab's; a host route puts its packets on the wire. */
function setUpEnd(own: LabHost, other: LabHost, options: WireOptions): void {
  const { namespace } = own;
  // The lab's own device holds the address, so the agent takes the MTU from there.
  for (const device of [WIRE, "eth0"]) {
    runSync(namespace, ["ip", "link", "set", device, "mtu", `${options.mtu}`]);
  }
  runSync(namespace, ["ip", "link", "set", WIRE, "up"]);
  const route = [`${other.address}/32`, "dev", WIRE, "src", own.address];
  runSync(namespace, ["ip", "route", "add", ...route]);
  if (options.offloads) return;
  runSync(namespace, ["ethtool", "-K", WIRE, ...OFFLOADS.flatMap((name) => [name, "off"])]);
}

async function untilMtu({ namespace }: LabHost, mtu: number): Promise<void> {
  const isSet = () => runSync(namespace, ["ip", "link", "show", "mesh0"]).includes(`mtu ${mtu} `);
  await until(`mesh0 in ${namespace} has MTU ${mtu}`, isSet, MTU_DEADLINE_MS);
}

/** Joins the hosts and waits until meshd's devices have the MTU that fits. */
export async function layWire({ client, server }: Lab, options: WireOptions): Promise<void> {
  const other = ["peer", "name", WIRE, "netns", server.namespace];
  runSync(client.namespace, ["ip", "link", "add", WIRE, "type", "veth", ...other]);
  setUpEnd(client, server, options);
  setUpEnd(server, client, options);
  await untilMtu(client, innerMtu(options));
  await untilMtu(server, innerMtu(options));
}
