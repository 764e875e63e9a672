// As kernel-sides.ts, over an IPv6 underlay.
import {
  BOTH,
  framed,
  KERNEL,
  type KernelSide,
  type Remote,
  routed,
  up,
  WITH_MAC,
} from "./kernel-sides.js";

const VXLAN = "vx6";

/** One device for all nodes, as flannel has it: a neighbour and an FDB entry each. */
function vxlan(remote: Remote): string[] {
  return [
    `bridge fdb append ${remote.vtepMac} dev ${VXLAN} dst ${remote.underlay}`,
    ...framed(remote, VXLAN, 4),
    ...framed(remote, VXLAN, 6),
  ];
}

function vxlanDevice(local: string): string[] {
  const how = `type vxlan id 1 local ${local} dev eth0 dstport 8472 nolearning`;
  return [`ip link add ${VXLAN} address ${KERNEL.mac} ${how}`, up(VXLAN, 1430)];
}

function geneve(remote: Remote): string[] {
  const device = `gnv${remote.number}`;
  const how = `type geneve id 1 remote ${remote.underlay} dstport 6081`;
  return [
    `ip link add ${device} address ${KERNEL.mac} ${how}`,
    up(device, 1430),
    ...framed(remote, device, 4),
    ...framed(remote, device, 6),
  ];
}

const ends = (remote: Remote, local: string) => `local ${local} remote ${remote.underlay}`;

/** As the device comes, with the option of 8 bytes that limits further encapsulations. */
function ip6tnl(remote: Remote, local: string): string[] {
  const device = `tnl${remote.number}`;
  return [
    `ip link add ${device} type ip6tnl mode any ${ends(remote, local)}`,
    up(device, 1452),
    routed(remote, device, 4),
    routed(remote, device, 6),
  ];
}

function ip6gre(remote: Remote, local: string): string[] {
  const device = `gre6${remote.number}`;
  return [
    `ip link add ${device} type ip6gre ${ends(remote, local)} key 7 encaplimit none`,
    up(device, 1452),
    routed(remote, device, 4),
    routed(remote, device, 6),
  ];
}

function ip6gretap(remote: Remote, local: string): string[] {
  const device = `tap6${remote.number}`;
  const how = `type ip6gretap ${ends(remote, local)} encaplimit none`;
  return [
    `ip link add ${device} address ${KERNEL.mac} ${how}`,
    up(device, 1442),
    ...framed(remote, device, 4),
    ...framed(remote, device, 6),
  ];
}

function fou6(remote: Remote, local: string): string[] {
  const device = `fou6${remote.number}`;
  const udp = "encap fou encap-sport 8285 encap-dport 8285 encap-udp6-csum";
  const how = `type ip6tnl mode ipip6 ${ends(remote, local)} encaplimit none ${udp}`;
  return [`ip link add ${device} ${how}`, up(device, 1452), routed(remote, device, 4)];
}

const IP6TNL_PACKETS = "ip6 proto 4 or ip6 proto 41 or ip6 proto 60";

/** In an order in which a peer's protocol tells one from the one before. */
export const KERNEL_SIDES_6: readonly KernelSide[] = [
  {
    ...{ title: "vxlan", protocol: "vxlan", words: WITH_MAC, inner: BOTH, each: vxlan },
    ...{ captured: "udp port 8472", decoded: "vxlan.vni == 1 && ipv6", once: vxlanDevice },
  },
  {
    ...{ title: "geneve", protocol: "geneve", words: WITH_MAC, inner: BOTH, each: geneve },
    ...{ captured: "udp port 6081", decoded: "geneve.vni == 1 && ipv6" },
  },
  {
    ...{ title: "ip6gre", protocol: "gre", words: ["--key", "7"], inner: BOTH, each: ip6gre },
    ...{ captured: "ip6 proto 47", decoded: "gre.key == 7 && ipv6" },
  },
  {
    ...{ title: "ip6tnl", protocol: "ipip", words: [], inner: BOTH, each: ip6tnl },
    ...{ captured: IP6TNL_PACKETS, decoded: "(ipv6.nxt == 41 || ipv6.dstopts.nxt == 41)" },
  },
  {
    ...{ title: "ip6gretap", protocol: "gre", words: WITH_MAC, inner: BOTH, each: ip6gretap },
    ...{ captured: "ip6 proto 47", decoded: "gre.proto == 0x6558 && ipv6" },
  },
  {
    ...{ title: "ip6tnl in fou", protocol: "udp", words: [], inner: [4], each: fou6 },
    ...{ captured: "udp port 8285", decoded: "udp.port == 8285 && ipv6 && ip" },
    once: () => ["modprobe -a fou fou6", "ip -6 fou add port 8285 ipproto 4"],
    undo: ["ip -6 fou del port 8285"],
  },
];
