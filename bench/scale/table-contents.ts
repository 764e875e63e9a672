// Contents that fill the tables: prefixes of both families, shared out among peers.
import type { TableContents, TablePeer } from "../../src/datapath/index.js";

/** As many as a node is started with by default (docs/architecture.md). */
export const PREFIXES = 65_536;

export interface FullOptions {
  prefixes: number;
  peers: number;
  /** Another number, other prefixes. */
  variant: number;
}

function hex(value: number): string {
  return value.toString(16).padStart(2, "0");
}

/** Prefix `index` of each family, /24 to /28 and /64, outside of what others use. */
function prefixOf4(index: number, variant: number): string {
  const value = (100 + variant) * 2 ** 24 + index * 256;
  const [a, b, c] = [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255];
  return `${a}.${b}.${c}.0/${24 + (index % 5)}`;
}

function prefixOf6(index: number, variant: number): string {
  return `fd${hex(variant)}:${(index >>> 8).toString(16)}:${(index & 255).toString(16)}:1::/64`;
}

function fullPeer(index: number, { prefixes, peers, variant }: FullOptions): TablePeer {
  const own: string[] = [];
  for (let at = index; at < prefixes; at += peers) {
    own.push(prefixOf4(at, variant), prefixOf6(at, variant));
  }
  return {
    protocol: "vxlan",
    address: `172.${16 + (index >>> 16)}.${(index >>> 8) & 255}.${index & 255}`,
    port: 8472,
    mac: `02:00:00:01:${hex(index >>> 8)}:${hex(index & 255)}`,
    vni: 1,
    mtu: 1450,
    prefixes: own,
  };
}

/** Peers with all the prefixes, to stand behind others in a table. */
export function fullPeers(options: FullOptions): TablePeer[] {
  return Array.from({ length: options.peers }, (_, index) => fullPeer(index + 1, options));
}

export function fullContents(options: FullOptions): TableContents {
  return {
    self: {
      ...{ mac: "02:00:00:00:00:01", vni: 1, mtu: 1450, udpPort: 8472 },
      ...{ addresses: ["10.244.1.0"], prefixes: ["10.244.1.0/24"] },
    },
    peers: fullPeers(options),
  };
}
