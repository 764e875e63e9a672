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

export const PROTOCOLS: readonly Protocol[] = [
  {
    name: "vxlan",
    ...{ overhead: { 4: 50, 6: 70 }, hasFrames: true, captured: "udp port 8472" },
    decoded: () => `vxlan.vni == ${VNI}`,
    make: makeVxlan,
  },
];
