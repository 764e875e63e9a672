// The encapsulations that meet a real kernel, by one table: what the kernel's administrator types,
// and what tshark must see. The next encapsulation is one entry here.
import type { ProtocolName } from "../../src/datapath/index.js";

export type Family = 4 | 6;

/** One tunnel as the kernel's side sees it. */
export interface Tunnel {
  /** Name of the device to make. */
  device: string;
  /** Underlay addresses of the kernel and of meshd, of family `underlay`. */
  local: string;
  remote: string;
  underlay: Family;
  /** What the tunnel carries. */
  inner: Family;
  /** Of the kernel's device. */
  mac: string;
}

export interface Protocol {
  name: ProtocolName;
  /** Bytes it puts before an inner packet, with the outer IP header. */
  overhead: Record<Family, number>;
  /** Whether it carries Ethernet frames between VTEPs with MAC addresses. */
  hasFrames: boolean;
  /** tcpdump: the tunnel's packets on the underlay. */
  captured: string;
  /** tshark: frames that are what they ought to be. */
  decoded: (tunnel: Tunnel) => string;
  /** Commands that make the device in the kernel; its addresses and routes come after. */
  make: (tunnel: Tunnel) => string[];
  /** Commands that take away what is not gone with the device. */
  unmake?: (tunnel: Tunnel) => string[];
}

const VNI = 1;

function makeVxlan({ device, local, mac }: Tunnel): string[] {
  const how = `id ${VNI} local ${local} dev eth0 dstport 8472 nolearning`;
  return [`ip link add ${device} address ${mac} type vxlan ${how}`];
}

/**
 * Foo-over-UDP with no header of its own is flannel's `udp` format. A port of it carries one
 * protocol only, so IPv4 and IPv6 inside take turns.
 */
const FOU_PORT = 8285;

const fouFamily = ({ underlay }: Tunnel) => (underlay === 6 ? "-6" : "");

function makeFou(tunnel: Tunnel): string[] {
  const { device, local, remote, underlay, inner } = tunnel;
  const inside = inner === 4 ? 4 : 41;
  const over4 = inner === 4 ? "ipip" : "sit";
  const over6 = `ip6tnl mode ${inner === 4 ? "ipip6" : "ip6ip6"} encaplimit none`;
  const kind = underlay === 4 ? `${over4} ttl 64` : over6;
  const checksum = underlay === 4 ? "encap-csum" : "encap-udp6-csum";
  const fou = `encap fou encap-sport ${FOU_PORT} encap-dport ${FOU_PORT} ${checksum}`;
  return [
    `modprobe -a fou ${underlay === 6 ? "fou6" : ""}`,
    `ip ${fouFamily(tunnel)} fou add port ${FOU_PORT} ipproto ${inside}`,
    `ip link add ${device} type ${kind} local ${local} remote ${remote} ${fou}`,
  ];
}

export const PROTOCOLS: readonly Protocol[] = [
  {
    name: "vxlan",
    ...{ overhead: { 4: 50, 6: 70 }, hasFrames: true, captured: "udp port 8472" },
    decoded: () => `vxlan.vni == ${VNI}`,
    make: makeVxlan,
  },
  {
    name: "geneve",
    ...{ overhead: { 4: 50, 6: 70 }, hasFrames: true, captured: "udp port 6081" },
    decoded: () => `geneve.vni == ${VNI}`,
    make: ({ device, remote, mac }) => [
      `ip link add ${device} address ${mac} type geneve id ${VNI} remote ${remote} dstport 6081`,
    ],
  },
  {
    name: "udp",
    ...{ overhead: { 4: 28, 6: 48 }, hasFrames: false, captured: `udp port ${FOU_PORT}` },
    // Two IP headers, the inner one right behind UDP.
    decoded: ({ inner }) => `udp.port == ${FOU_PORT} && ip${inner === 6 ? "v6" : ""}`,
    make: makeFou,
    unmake: (tunnel) => [`ip ${fouFamily(tunnel)} fou del port ${FOU_PORT}`],
  },
];
