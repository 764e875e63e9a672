// The encapsulations that meet a real kernel, by one table: what the kernel's administrator types,
// and what tshark must see. The next encapsulation is one entry here.
import type { GreOptions, ProtocolName, UdpChecksums } from "../../src/datapath/index.js";

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
  /** One way of several to run it; left out: its name says all. */
  title?: string;
  /** Words of GRE headers. */
  gre?: GreOptions;
  /** Of outer UDP headers; sent when left out. */
  checksums?: UdpChecksums;
  /** Bytes of each TCP stream. */
  tcpBytes: number;
  /** Only IPv4 over IPv4 and IPv6 over IPv6: for further ways to run the same encapsulation. */
  isShort?: boolean;
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
const TCP_BYTES = 20_000_000;
const SHORT = { tcpBytes: 5_000_000, isShort: true } as const;

function makeVxlan(words = ""): Protocol["make"] {
  return ({ device, local, mac }) => {
    const how = `id ${VNI} local ${local} dev eth0 dstport 8472 nolearning ${words}`;
    return [`ip link add ${device} address ${mac} type vxlan ${how}`];
  };
}

function makeGeneve(words = ""): Protocol["make"] {
  return ({ device, remote, mac }) => {
    const how = `id ${VNI} remote ${remote} dstport 6081 ${words}`;
    return [`ip link add ${device} address ${mac} type geneve ${how}`];
  };
}

/** Outer UDP checksums are zero both ways; over IPv6 a kernel takes such only when told so. */
const WITHOUT_SUMS = {
  ...{ tcpBytes: 5_000_000, isShort: true, hasFrames: true, overhead: { 4: 50, 6: 70 } },
  checksums: { send: false, zeroes: true },
} as const;
const KERNEL_SUMLESS = "noudpcsum udp6zerocsumtx udp6zerocsumrx";

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

/** IP protocols by what is inside. */
const INSIDE = { 4: 4, 6: 41 } as const;

/**
 * IP in IP. Over IPv6 as the device comes: with a destination option of 8 bytes that limits further
 * encapsulations (RFC 2473 section 4.1.1), which we do not send and take.
 */
function makeIpip({ device, local, remote, underlay, inner }: Tunnel): string[] {
  const over6 = `ip6tnl mode ${inner === 4 ? "ipip6" : "ip6ip6"}`;
  const kind = underlay === 6 ? over6 : inner === 4 ? "ipip" : "sit";
  return [`ip link add ${device} type ${kind} local ${local} remote ${remote} ttl 64`];
}

function decodedIpip({ underlay, inner }: Tunnel): string {
  if (underlay === 4) return `ip.proto == ${INSIDE[inner]}`;
  return `(ipv6.nxt == ${INSIDE[inner]} || ipv6.dstopts.nxt == ${INSIDE[inner]})`;
}

const IPIP_PACKETS = "ip proto 4 or ip proto 41 or ip6 proto 4 or ip6 proto 41 or ip6 proto 60";

const NO_WORDS: GreOptions = { key: null, checksum: false, sequence: false };
const ALL_WORDS: GreOptions = { key: 0xfedcba98, checksum: true, sequence: true };
const KERNEL_WORDS = `key ${ALL_WORDS.key} icsum ocsum iseq oseq`;

function makeGre(kind: "gre" | "gretap", words: string) {
  return ({ device, local, remote, underlay, mac }: Tunnel): string[] => {
    const ends = `local ${local} remote ${remote} ${words}`;
    const address = kind === "gretap" ? `address ${mac}` : "";
    const over6 = `ip6${kind} ${ends} encaplimit none`;
    const type = underlay === 4 ? `${kind} ${ends} ttl 64` : over6;
    return [`ip link add ${device} ${address} type ${type}`];
  };
}

/** tshark: version 0, what is inside, and which words are there. */
function decodedGre(type: number | null, hasWords: boolean): Protocol["decoded"] {
  const word = hasWords ? 1 : 0;
  const flags = ["checksum", "key", "sequence_number"].map((f) => `gre.flags.${f} == ${word}`);
  return ({ inner }) => {
    const carried = type ?? (inner === 4 ? 0x0800 : 0x86dd);
    return ["gre.flags.version == 0", `gre.proto == ${carried}`, ...flags].join(" && ");
  };
}

const GRE = { name: "gre", captured: "ip proto 47 or ip6 proto 47" } as const;

export const PROTOCOLS: readonly Protocol[] = [
  {
    ...{ name: "vxlan", tcpBytes: TCP_BYTES },
    ...{ overhead: { 4: 50, 6: 70 }, hasFrames: true, captured: "udp port 8472" },
    decoded: () => `vxlan.vni == ${VNI}`,
    make: makeVxlan(),
  },
  {
    ...{ ...WITHOUT_SUMS, name: "vxlan", title: "vxlan, no UDP checksums" },
    ...{ captured: "udp port 8472", make: makeVxlan(KERNEL_SUMLESS) },
    decoded: () => `vxlan.vni == ${VNI} && udp.checksum == 0`,
  },
  {
    ...{ name: "geneve", tcpBytes: TCP_BYTES },
    ...{ overhead: { 4: 50, 6: 70 }, hasFrames: true, captured: "udp port 6081" },
    decoded: () => `geneve.vni == ${VNI}`,
    make: makeGeneve(),
  },
  {
    ...{ ...WITHOUT_SUMS, name: "geneve", title: "geneve, no UDP checksums" },
    ...{ captured: "udp port 6081", make: makeGeneve(KERNEL_SUMLESS) },
    decoded: () => `geneve.vni == ${VNI} && udp.checksum == 0`,
  },
  {
    ...{ name: "udp", tcpBytes: TCP_BYTES },
    ...{ overhead: { 4: 28, 6: 48 }, hasFrames: false, captured: `udp port ${FOU_PORT}` },
    // Two IP headers, the inner one right behind UDP.
    decoded: ({ inner }) => `udp.port == ${FOU_PORT} && ip${inner === 6 ? "v6" : ""}`,
    make: makeFou,
    unmake: (tunnel) => [`ip ${fouFamily(tunnel)} fou del port ${FOU_PORT}`],
  },
  {
    ...{ name: "ipip", tcpBytes: TCP_BYTES },
    ...{ overhead: { 4: 20, 6: 48 }, hasFrames: false, captured: IPIP_PACKETS },
    ...{ decoded: decodedIpip, make: makeIpip },
  },
  {
    ...{ ...GRE, tcpBytes: TCP_BYTES },
    ...{ overhead: { 4: 24, 6: 44 }, hasFrames: false, gre: NO_WORDS },
    ...{ decoded: decodedGre(null, false), make: makeGre("gre", "") },
  },
  {
    ...{ ...GRE, ...SHORT, title: "gre, key, checksum, number" },
    ...{ overhead: { 4: 36, 6: 56 }, hasFrames: false, gre: ALL_WORDS },
    ...{ decoded: decodedGre(null, true), make: makeGre("gre", KERNEL_WORDS) },
  },
  {
    ...{ ...GRE, ...SHORT, title: "gre of frames" },
    ...{ overhead: { 4: 38, 6: 58 }, hasFrames: true, gre: { ...NO_WORDS, frames: true } },
    ...{ decoded: decodedGre(0x6558, false), make: makeGre("gretap", "") },
  },
];
