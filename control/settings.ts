// The mesh's settings (`config` record): names that operators of Cilium, Calico and flannel know,
// with defaults.

export interface MeshConfig {
  routingMode: "tunnel" | "native";
  tunnelProtocol: "vxlan" | "geneve" | "ipip" | "gre" | "udp" | "pptp";
  /** 0 = the protocol's default (tunnelPortOf). */
  tunnelPort: number;
  /** VXLAN/Geneve network number, or "identity": the sender's security identity. */
  vni: number | "identity";
  encapMode: "always" | "crossSubnet";
  autoDirectNodeRoutes: boolean;
  /** What the underlay routes by itself under native routing, in each family. */
  ipv4NativeRoutingCIDR: string | null;
  ipv6NativeRoutingCIDR: string | null;
  /** Pool that IPv4 PodCIDRs come from; null: no IPv4 in the overlay. */
  clusterPoolIPv4PodCIDR: string | null;
  clusterPoolIPv4MaskSize: number;
  clusterPoolIPv6PodCIDR: string | null;
  clusterPoolIPv6MaskSize: number;
  masquerade: boolean;
  /** Tunnel MTU in bytes of inner IP packet, or "auto": underlay MTU less overhead. */
  mtu: "auto" | number;
  underlayAddress: string | null;
  underlayInterface: string | null;
  underlayProtocol: "ipv4" | "ipv6" | "auto";
  udpChecksum: boolean;
  workers: number;
  /** Outer DSCP: copied from the inner packet, or one value 0..63. */
  dscp: "inherit" | number;
  greKey: number | null;
  greChecksum: boolean;
  greSequence: boolean;
  /** How PPTP clients may prove themselves, the best first. All are insecure. */
  pptpAuth: PptpAuth[];
  /** Whether and how PPTP calls are encrypted by MPPE, which is insecure. */
  pptpEncryption: "required-128" | "required" | "optional" | "off";
  pptpStateful: boolean;
  /** Packets of a PPTP call under way: what the peer offers, as RFC 2637 has it, any number. */
  pptpWindow: "advertised" | "strict" | "off";
  /** Name servers that PPTP clients are told, at most two each. */
  pptpDns: string[];
  pptpNbns: string[];
  /**
   * Seconds that a PodCIDR rests after release, removal or reclaim before another node may get it.
   */
  leaseQuarantine: number;
  /** What may be measured between nodes: nothing, the overlay, the underlay too. */
  bench: "off" | "overlay" | "all";
}

export type PptpAuth = "ms-chap-v2" | "ms-chap-v1" | "chap-md5" | "pap";

export type SettingName = keyof MeshConfig;

export const defaultConfig: Readonly<MeshConfig> = Object.freeze<MeshConfig>({
  routingMode: "tunnel",
  tunnelProtocol: "vxlan",
  tunnelPort: 0,
  vni: 1,
  encapMode: "always",
  autoDirectNodeRoutes: false,
  ipv4NativeRoutingCIDR: null,
  ipv6NativeRoutingCIDR: null,
  clusterPoolIPv4PodCIDR: "10.244.0.0/16",
  clusterPoolIPv4MaskSize: 24,
  clusterPoolIPv6PodCIDR: null,
  clusterPoolIPv6MaskSize: 64,
  masquerade: true,
  mtu: "auto",
  underlayAddress: null,
  underlayInterface: null,
  underlayProtocol: "auto",
  udpChecksum: true,
  workers: 1,
  dscp: "inherit",
  greKey: null,
  greChecksum: false,
  greSequence: false,
  pptpAuth: ["ms-chap-v2"],
  pptpEncryption: "required-128",
  pptpStateful: false,
  pptpWindow: "advertised",
  pptpDns: [],
  pptpNbns: [],
  leaseQuarantine: 600,
  bench: "overlay",
});
