// What an operator types for a kernel as a static peer: `meshd peer add`, and on the kernel's host
// the commands of docs/operations.md, for each encapsulation.
import type { ProtocolName } from "../../src/datapath/index.js";

/** What `meshd node show` tells of a node. */
export interface ShownNode {
  podCIDRs: string[];
  node: { vtepMac: string; underlay: { addresses: string[] } };
}

/** A node as the kernel's administrator sees it: the first, the second ... */
export interface Remote {
  number: number;
  underlay: string;
  vtepMac: string;
  /** PodCIDR by family; node addresses are their first ones. */
  podCidr: Record<4 | 6, string>;
}

export function remoteOf({ podCIDRs, node }: ShownNode, index: number): Remote {
  const of = (isIPv6: boolean) => podCIDRs.find((one) => one.includes(":") === isIPv6) ?? "";
  return {
    number: index + 1,
    underlay: node.underlay.addresses[0] ?? "",
    vtepMac: node.vtepMac,
    podCidr: { 4: of(false), 6: of(true) },
  };
}

/** The kernel's own addresses and networks in the mesh, and its tunnel device's MAC address. */
export const KERNEL = {
  overlay: { 4: "10.9.0.1", 6: "fd00:9::1" },
  cidrs: { 4: "10.9.0.0/24", 6: "fd00:9::/64" },
  mac: "02:00:00:00:00:77",
} as const;

export interface KernelSide {
  title: string;
  protocol: ProtocolName;
  /** Of `meshd peer add`, beside name, endpoint, networks and protocol. */
  words: string[];
  inner: readonly (4 | 6)[];
  /** tcpdump: the tunnel's packets; tshark: those that are what they ought to be. */
  captured: string;
  decoded: string;
  /** Commands for all nodes together, on a kernel whose underlay address is `local`. */
  once?: (local: string) => string[];
  /** Commands that take away what is not gone with the devices. */
  undo?: string[];
  /** Commands for one node, on a kernel whose underlay address is `local`. */
  each: (remote: Remote, local: string) => string[];
}

/** A route to a node's pods, straight into a device. */
export function routed(remote: Remote, device: string, family: 4 | 6): string {
  return `ip route add ${remote.podCidr[family]} dev ${device} src ${KERNEL.overlay[family]}`;
}

/** The same where the device carries frames: by the node's address, whose MAC is known. */
export function framed(remote: Remote, device: string, family: 4 | 6): string[] {
  const gateway = remote.podCidr[family].split("/")[0] ?? "";
  const from = `onlink src ${KERNEL.overlay[family]}`;
  return [
    `ip neighbour replace ${gateway} lladdr ${remote.vtepMac} dev ${device} nud permanent`,
    `ip route add ${remote.podCidr[family]} via ${gateway} dev ${device} ${from}`,
  ];
}

export const up = (device: string, mtu: number) => `ip link set ${device} mtu ${mtu} up`;

function geneve(remote: Remote): string[] {
  const device = `gnv${remote.number}`;
  const how = `type geneve id 1 remote ${remote.underlay} dstport 6081`;
  return [
    `ip link add ${device} address ${KERNEL.mac} ${how}`,
    up(device, 1450),
    ...framed(remote, device, 4),
    ...framed(remote, device, 6),
  ];
}

function ipip(remote: Remote, local: string): string[] {
  const ends = `local ${local} remote ${remote.underlay} ttl 64`;
  const devices = { 4: `ipip${remote.number}`, 6: `six${remote.number}` };
  return [
    `ip link add ${devices[4]} type ipip ${ends}`,
    `ip link add ${devices[6]} type sit ${ends}`,
    ...([4, 6] as const).flatMap((family) => [
      up(devices[family], 1480),
      routed(remote, devices[family], family),
    ]),
  ];
}

function gre(remote: Remote, local: string): string[] {
  const device = `gre${remote.number}`;
  const ends = `local ${local} remote ${remote.underlay} ttl 64`;
  return [
    `ip link add ${device} type gre ${ends} key 7`,
    up(device, 1472),
    routed(remote, device, 4),
    routed(remote, device, 6),
  ];
}

function gretap(remote: Remote, local: string): string[] {
  const device = `tap${remote.number}`;
  const ends = `local ${local} remote ${remote.underlay} ttl 64`;
  return [
    `ip link add ${device} address ${KERNEL.mac} type gretap ${ends}`,
    up(device, 1462),
    ...framed(remote, device, 4),
    ...framed(remote, device, 6),
  ];
}

function fou(remote: Remote, local: string): string[] {
  const device = `fou${remote.number}`;
  const ends = `local ${local} remote ${remote.underlay} ttl 64`;
  const udp = "encap fou encap-sport 8285 encap-dport 8285 encap-csum";
  return [
    `ip link add ${device} type ipip ${ends} ${udp}`,
    up(device, 1472),
    routed(remote, device, 4),
  ];
}

export const BOTH = [4, 6] as const;
export const WITH_MAC = ["--mac", KERNEL.mac];

/** In an order in which a peer's protocol tells one from the one before. */
export const KERNEL_SIDES: readonly KernelSide[] = [
  {
    ...{ title: "geneve", protocol: "geneve", words: WITH_MAC, inner: BOTH, each: geneve },
    ...{ captured: "udp port 6081", decoded: "geneve.vni == 1" },
  },
  {
    ...{ title: "gre", protocol: "gre", words: ["--key", "7"], inner: BOTH, each: gre },
    ...{ captured: "ip proto 47", decoded: "gre.key == 7" },
  },
  {
    ...{ title: "ipip and sit", protocol: "ipip", words: [], inner: BOTH, each: ipip },
    ...{ captured: "ip proto 4 or ip proto 41", decoded: "(ip.proto == 4 || ip.proto == 41)" },
  },
  {
    ...{ title: "gretap", protocol: "gre", words: WITH_MAC, inner: BOTH, each: gretap },
    ...{ captured: "ip proto 47", decoded: "gre.proto == 0x6558" },
  },
  {
    ...{ title: "ipip in fou", protocol: "udp", words: [], inner: [4], each: fou },
    ...{ captured: "udp port 8285", decoded: "udp.port == 8285 && ip" },
    once: () => ["modprobe fou", "ip fou add port 8285 ipproto 4"],
    undo: ["ip fou del port 8285"],
  },
];

/** Names of the devices that a side's commands make. */
export function devicesOf(commands: readonly string[]): string[] {
  return commands.flatMap((line) => /^ip link add (\S+)/.exec(line)?.[1] ?? []);
}
