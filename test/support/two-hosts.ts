// Two hosts as namespaces on one veth pair, and the tables that make each other's peer.
//
//   namespace A                                            namespace B
//   mesh device 10.244.1.1, fd00:244:1::1                  mesh device 10.244.2.1, fd00:244:2::1
//   veth 192.0.2.1, 2001:db8::1  ------- underlay -------  veth 192.0.2.2, 2001:db8::2
import type {
  CallOptions,
  GreOptions,
  ProtocolName,
  Steering,
  TablePeer,
  TableSelf,
  UdpChecksums,
  UnderlayAddress,
} from "../../src/datapath/index.js";
import type { HostConfig } from "./datapath-host.js";
import { createNamespace, joinByVeth, uniqueDevice } from "./netns.js";

/** Outer bytes over IPv4 and the port (0: none), by encapsulation; 20 more over IPv6. */
const ENCAPSULATIONS: Readonly<Record<ProtocolName, { overhead: number; port: number }>> = {
  vxlan: { overhead: 50, port: 8472 },
  geneve: { overhead: 50, port: 6081 },
  udp: { overhead: 28, port: 8285 },
  ipip: { overhead: 20, port: 0 },
  gre: { overhead: 24, port: 0 },
  pptp: { overhead: 44, port: 0 },
};
/** Those that carry Ethernet frames. */
const FRAMED: readonly string[] = ["vxlan", "geneve"];

/** One side. `side` is 1 or 2 and is in all of its addresses. */
export interface Host {
  side: 1 | 2;
  namespace: string;
  veth: string;
  underlay: { 4: string; 6: string };
  overlay: { 4: string; 6: string };
  prefixes: string[];
  mac: string;
}

export interface HostPair {
  a: Host;
  b: Host;
}

export interface PairOptions {
  family?: 4 | 6;
  workers?: number;
  steering?: Steering;
  port?: number;
  underlayMtu?: number;
  /** VXLAN when left out. */
  protocol?: ProtocolName;
  /** Words of GRE headers; none when left out. */
  gre?: GreOptions;
  pptp?: CallOptions;
  /** Of outer UDP headers; sent when left out. */
  checksums?: UdpChecksums;
}

function portOf({ port, protocol }: PairOptions): number {
  return port ?? ENCAPSULATIONS[protocol ?? "vxlan"].port;
}

export function makeHost(side: 1 | 2): Host {
  return {
    side,
    namespace: createNamespace(`host${side}-`),
    veth: uniqueDevice("v"),
    underlay: { 4: `192.0.2.${side}`, 6: `2001:db8::${side}` },
    overlay: { 4: `10.244.${side}.1`, 6: `fd00:244:${side}::1` },
    prefixes: [`10.244.${side}.0/24`, `fd00:244:${side}::/64`],
    mac: `02:00:00:00:00:0${side}`,
  };
}

/** Makes both namespaces and joins them. They go with the test process. */
export function makeHostPair(underlayMtu = 1500): HostPair {
  const pair = { a: makeHost(1), b: makeHost(2) };
  const end = ({ namespace, veth, underlay }: Host) => ({
    namespace,
    device: veth,
    addresses: [`${underlay[4]}/24`, `${underlay[6]}/64`],
    mtu: underlayMtu,
  });
  joinByVeth(end(pair.a), end(pair.b));
  return pair;
}

/** Bytes of the words and of the frame's header that GRE has beside its first four. */
function greMore({ gre }: PairOptions): number {
  if (gre === undefined) return 0;
  const words = [gre.key !== null, gre.checksum, gre.sequence].filter(Boolean).length;
  return 4 * words + (gre.frames === true ? 14 : 0);
}

/** Inner bytes that fit the underlay. */
export function overlayMtu(options: PairOptions): number {
  const { overhead } = ENCAPSULATIONS[options.protocol ?? "vxlan"];
  const outer = overhead + (options.family === 6 ? 20 : 0) + greMore(options);
  return (options.underlayMtu ?? 1500) - outer;
}

export function selfOf(host: Host, options: PairOptions): TableSelf {
  return {
    mac: host.mac,
    vni: 1,
    mtu: overlayMtu(options),
    addresses: [host.overlay[4], host.overlay[6]],
    prefixes: host.prefixes,
    udpPort: portOf(options),
  };
}

export function peerOf(host: Host, options: PairOptions): TablePeer {
  return {
    protocol: options.protocol ?? "vxlan",
    address: host.underlay[options.family ?? 4],
    port: portOf(options),
    ...(FRAMED.includes(options.protocol ?? "vxlan") ? { mac: host.mac, vni: 1 } : {}),
    ...(options.gre === undefined ? {} : { mac: host.mac, gre: options.gre }),
    ...(options.pptp === undefined ? {} : { pptp: options.pptp }),
    mtu: overlayMtu(options),
    ...(options.checksums?.send === false ? { lone: true } : {}),
    prefixes: host.prefixes,
  };
}

/** Where a side sends from and listens. */
export function underlayOf(host: Host, options: PairOptions): UnderlayAddress {
  const { family = 4, protocol = "vxlan", checksums } = options;
  const place = { family, address: host.underlay[family], port: portOf(options), protocol };
  const isOrdered = options.gre?.sequence === true || protocol === "pptp";
  const ordered = isOrdered ? { ordered: true } : {};
  return { ...place, ...ordered, ...(checksums === undefined ? {} : { checksums }) };
}

/** What the datapath of `host` is told so that `other` is its only peer. */
export function configOf(host: Host, other: Host, options: PairOptions = {}): HostConfig {
  return {
    datapath: {
      deviceName: "mesh0",
      workers: options.workers ?? 1,
      ...(options.steering === undefined ? {} : { steering: options.steering }),
      underlay: underlayOf(host, options),
      persist: false,
    },
    contents: { self: selfOf(host, options), peers: [peerOf(other, options)] },
    addresses: [`${host.overlay[4]}/32`, `${host.overlay[6]}/128`],
    routes: other.prefixes,
  };
}
