// The two ends that a cell of the matrix is made of:
//
//   namespace: meshd's datapath, mesh0              guest: Debian's kernel, t0 (the tunnel)
//   10.244.1.1, fd00:244:1::1                       10.244.2.1, fd00:244:2::1
//   TAP 192.0.2.1, 2001:db8::1  ---- underlay ----  eth0 192.0.2.2, 2001:db8::2
import { KernelPeer } from "../peers/index.js";
import { Capture } from "../support/capture.js";
import { DatapathNode } from "../support/datapath-node.js";
import { createNamespace } from "../support/netns.js";
import { configOf, type Host } from "../support/two-hosts.js";
import type { Family, Protocol, Tunnel } from "./protocols.js";

const TAP = "wire0";
const DEVICE = "t0";
const MTU = 1500;

/** Both ends, without a tunnel between them. */
export interface Scene {
  guest: KernelPeer;
  node: Host;
  kernel: Host;
}

/** A cell's two ends with the tunnel between them. */
export interface Connected {
  guest: KernelPeer;
  /** Namespace of meshd. */
  namespace: string;
  inner: Family;
  /** Overlay addresses. */
  address: { node: string; kernel: string };
  /** Bytes of inner packet that fit. */
  mtu: number;
  /** Bytes of each TCP stream. */
  tcpBytes: number;
  capture: Capture;
}

function hostOf(side: 1 | 2, namespace: string): Host {
  return {
    ...{ side, namespace, veth: TAP, mac: `02:00:00:00:00:0${side}` },
    underlay: { 4: `192.0.2.${side}`, 6: `2001:db8::${side}` },
    overlay: { 4: `10.244.${side}.1`, 6: `fd00:244:${side}::1` },
    prefixes: [`10.244.${side}.0/24`, `fd00:244:${side}::/64`],
  };
}

const underlayOf = ({ underlay }: Host) => [`${underlay[4]}/24`, `${underlay[6]}/64`];

/** Boots the kernel at the other end of the namespace's wire. */
export async function openScene(): Promise<Scene> {
  const namespace = createNamespace("interop");
  const node = hostOf(1, namespace);
  const kernel = hostOf(2, "");
  const ends = { addresses: underlayOf(kernel), tapAddresses: underlayOf(node) };
  const guest = await KernelPeer.start({
    name: "kernel",
    cards: [{ namespace, tap: TAP, ...ends, mtu: MTU }],
  });
  return { guest, node, kernel };
}

/** What flannel would do: an address, a route, and the other VTEP's neighbour entry. */
function reach(protocol: Protocol, tunnel: Tunnel, { node, kernel }: Scene): string[] {
  const { device, inner, underlay } = tunnel;
  const gateway = node.overlay[inner];
  const via = protocol.hasFrames ? `via ${gateway} dev ${device} onlink` : `dev ${device}`;
  const frames = [
    `ip neighbour replace ${gateway} lladdr ${node.mac} dev ${device} nud permanent`,
    ...(protocol.name === "vxlan"
      ? [`bridge fdb append ${node.mac} dev ${device} dst ${node.underlay[underlay]}`]
      : []),
  ];
  return [
    `ip link set ${device} mtu ${MTU - protocol.overhead[underlay]} up`,
    `ip address add ${kernel.overlay[inner]}/${inner === 4 ? 32 : 128} dev ${device} nodad`,
    `ip route add ${node.prefixes[inner === 4 ? 0 : 1]} ${via}`,
    ...(protocol.hasFrames ? frames : []),
  ];
}

function tunnelOf({ node, kernel }: Scene, inner: Family, underlay: Family): Tunnel {
  const ends = { local: kernel.underlay[underlay], remote: node.underlay[underlay] };
  return { device: DEVICE, ...ends, underlay, inner, mac: kernel.mac };
}

export interface Cell {
  protocol: Protocol;
  inner: Family;
  underlay: Family;
}

/** Makes the tunnel of a cell, runs `body`, and takes the tunnel away again. */
export async function withTunnel(
  scene: Scene,
  { protocol, inner, underlay }: Cell,
  body: (connected: Connected, tunnel: Tunnel) => Promise<void>,
): Promise<void> {
  const { guest, node, kernel } = scene;
  const tunnel = tunnelOf(scene, inner, underlay);
  await guest.sh([...protocol.make(tunnel), ...reach(protocol, tunnel, scene), ""].join("\n"));
  const { name, gre, checksums, tcpBytes } = protocol;
  const more = { ...(gre && { gre }), ...(checksums && { checksums }) };
  const options = { protocol: name, family: underlay, ...more };
  const capture = new Capture(node.namespace, TAP, protocol.captured);
  let datapath: DatapathNode | undefined;
  try {
    datapath = await DatapathNode.start(node.namespace, configOf(node, kernel, options));
    await capture.started();
    const address = { node: node.overlay[inner], kernel: kernel.overlay[inner] };
    const mtu = MTU - protocol.overhead[underlay];
    const { namespace } = node;
    await body({ guest, namespace, inner, address, mtu, tcpBytes, capture }, tunnel);
  } finally {
    await datapath?.stop();
    capture.remove();
    const rest = [`ip link del ${DEVICE}`, ...(protocol.unmake?.(tunnel) ?? [])];
    await guest.sh([...rest, ""].join("\n"));
  }
}
