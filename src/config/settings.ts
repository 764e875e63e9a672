// The table of all settings: name, where it lives, what is allowed, default, one sentence.
// Names are those operators know from Cilium, Calico and flannel.
import {
  address,
  address4,
  boolean,
  cidr,
  integer,
  type Kind,
  listenAddress,
  listOf,
  natsServers,
  oneOf,
  orNull,
  path,
  text,
  wordOr,
} from "./kinds.js";
import * as limits from "./limits.js";

/**
 * Where a setting lives. "mesh": one value for all nodes, in the KV record `config`.
 * "node": this process alone. "both": a mesh setting that a node may set for itself.
 */
export type Scope = "mesh" | "node" | "both";

export interface Setting<T> {
  scope: Scope;
  kind: Kind<T>;
  /** undefined: not set, the program finds a value by itself. */
  initial: T | undefined;
  about: string;
}

type Given<T, S extends Scope> = Setting<T> & { scope: S; initial: T };

function mesh<T>(kind: Kind<T>, initial: NoInfer<T>, about: string): Given<T, "mesh"> {
  return { scope: "mesh", kind, initial, about };
}

function both<T>(kind: Kind<T>, initial: T, about: string): Given<T, "both"> {
  return { scope: "both", kind, initial, about };
}

function node<T>(kind: Kind<T>, initial: T, about: string): Given<T, "node"> {
  return { scope: "node", kind, initial, about };
}

function unset<T>(
  kind: Kind<T>,
  about: string,
): Setting<T> & { scope: "node"; initial: undefined } {
  return { scope: "node", kind, initial: undefined, about };
}

/** One DNS label (RFC 1123 section 2.1: it may begin with a digit). */
export const label: Kind<string> = text(
  "one DNS label: lower-case letters, digits and hyphens, at most 63",
  (given) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(given),
);

const deviceName: Kind<string> = text(
  `a device name of at most ${limits.DEVICE_NAME_LENGTH_MAX} letters, digits, '_', '-', '.' or '@'`,
  (given) => /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$/.test(given),
);

const port0 = integer(0, limits.PORT_MAX);

/** Every setting. The key is the name in YAML; flagOf and variableOf give the others. */
export const SETTINGS = {
  routingMode: mesh(
    oneOf("tunnel", "native"),
    "tunnel",
    "encapsulate, or leave pods' packets bare to kernel routes and the underlay",
  ),
  tunnelProtocol: mesh(
    oneOf("vxlan", "geneve", "ipip", "gre", "udp", "pptp"),
    "vxlan",
    "the encapsulation between nodes; pptp is insecure",
  ),
  tunnelPort: both(
    port0,
    0,
    "UDP port of the tunnel; 0 = its own (8472, geneve 6081, udp 8285; ipip and gre have none)",
  ),
  vni: mesh(
    wordOr("identity", integer(limits.VNI_MIN, limits.VNI_MAX)),
    1,
    "network number in the tunnel header, or the sender's security identity in its place",
  ),
  encapMode: mesh(
    oneOf("always", "crossSubnet"),
    "always",
    "with routingMode tunnel: encapsulate always, or only across underlay subnets",
  ),
  autoDirectNodeRoutes: mesh(
    boolean,
    false,
    "with routingMode native: a kernel route to each node on the same underlay subnet",
  ),
  ipv4NativeRoutingCIDR: mesh(
    orNull(cidr(4)),
    null,
    "with routingMode native: IPv4 network that the underlay routes by itself",
  ),
  ipv6NativeRoutingCIDR: mesh(
    orNull(cidr(6)),
    null,
    "with routingMode native: IPv6 network that the underlay routes by itself",
  ),
  clusterPoolIPv4PodCIDR: mesh(orNull(cidr(4)), "10.244.0.0/16", "network of all IPv4 PodCIDRs"),
  clusterPoolIPv4MaskSize: mesh(
    integer(limits.MASK4_MIN, limits.MASK4_MAX),
    24,
    "prefix length of a node's IPv4 PodCIDR",
  ),
  clusterPoolIPv6PodCIDR: mesh(orNull(cidr(6)), null, "network of all IPv6 PodCIDRs"),
  clusterPoolIPv6MaskSize: mesh(
    integer(limits.MASK6_MIN, limits.MASK6_MAX),
    64,
    "prefix length of a node's IPv6 PodCIDR",
  ),
  masquerade: mesh(
    boolean,
    true,
    "source address of the node for pod traffic that leaves the pools",
  ),
  mtu: both(
    wordOr("auto", integer(limits.MTU_MIN, limits.MTU_MAX)),
    "auto",
    "largest inner packet; auto = underlay MTU less the overhead",
  ),
  underlayProtocol: both(oneOf("ipv4", "ipv6", "auto"), "auto", "address family between nodes"),
  udpChecksum: mesh(boolean, true, "outer UDP checksums; false = zero, and slow: no offload"),
  dscp: mesh(
    wordOr("inherit", integer(0, limits.DSCP_MAX)),
    "inherit",
    "outer DSCP of tunnel packets",
  ),
  greKey: mesh(
    orNull(integer(0, limits.GRE_KEY_MAX)),
    null,
    "key in the GRE header (RFC 2890); none = without",
  ),
  greChecksum: mesh(boolean, false, "checksum in the GRE header"),
  greSequence: mesh(
    boolean,
    false,
    "sequence numbers in the GRE header; one worker then has all packets",
  ),
  pptpAuth: mesh(
    listOf(oneOf("ms-chap-v2", "ms-chap-v1", "chap-md5", "pap"), 1, 4),
    ["ms-chap-v2"],
    "how PPTP clients may prove themselves, the best first; all of these are insecure",
  ),
  pptpEncryption: mesh(
    oneOf("required-128", "required", "optional", "off"),
    "required-128",
    "MPPE of PPTP calls: 128 bit, any of 128, 56, 40, if the client can, none; all are insecure",
  ),
  pptpStateful: mesh(
    boolean,
    false,
    "let MPPE keep its key over many packets; insecure, and every loss costs more",
  ),
  pptpWindow: mesh(
    oneOf("advertised", "strict", "off"),
    "advertised",
    "packets under way in a (insecure) PPTP call: the peer's window, RFC 2637's, no bound",
  ),
  pptpDns: mesh(listOf(address4, 0, 2), [], "DNS servers that clients of (insecure) PPTP are told"),
  pptpNbns: mesh(
    listOf(address4, 0, 2),
    [],
    "NBNS (WINS) servers that clients of (insecure) PPTP are told",
  ),
  leaseQuarantine: mesh(
    integer(0, limits.LEASE_QUARANTINE_MAX_S),
    limits.LEASE_QUARANTINE_DEFAULT_S,
    "seconds a PodCIDR rests before another node may get it",
  ),
  bench: both(
    oneOf("off", "overlay", "all"),
    "overlay",
    "what 'meshd bench' may measure: nothing, through the tunnel, the underlay beside it",
  ),
  workers: both(integer(1, limits.WORKERS_MAX), limits.WORKERS_DEFAULT, "worker threads"),
  steering: node(
    oneOf("auto", "on", "off"),
    "auto",
    "besides, one worker pinned to each CPU for calm flows; auto = on 2 to 4 CPUs, where allowed",
  ),
  lowLatency: node(
    boolean,
    false,
    "keep the host's CPUs from deep sleep while packets flow; costs power of the whole host",
  ),
  underlayAddress: both(orNull(address), null, "address other nodes send to"),
  underlayInterface: both(
    orNull(deviceName),
    null,
    "take the underlay address from this interface",
  ),

  pptpServer: node(
    boolean,
    false,
    "take PPTP calls, if 'meshd node pptp' allows it; insecure, for legacy clients only",
  ),
  pptpFilter: node(
    orNull(deviceName),
    null,
    "interface that takes nothing in but PPTP, which is insecure itself",
  ),
  withMesh: node(boolean, false, "pptpFilter lets the mesh's own packets and NATS in, too"),

  stateDir: node(path, limits.STATE_DIR_DEFAULT, "keys, last good state and log files"),
  runDir: node(path, limits.RUN_DIR_DEFAULT, "socket of the agent and process ids"),
  nats: unset(natsServers, "NATS server or servers to use"),
  natsCa: unset(
    wordOr("system", path),
    "file of the CA of the NATS servers, instead of the mesh's; system: those this host trusts",
  ),
  creds: unset(path, "credentials file for the NATS servers"),
  mesh: unset(label, "name of the mesh; needed with --nats and --creds only"),
  nodeName: unset(label, "name of this node; default: the host's name"),
  deviceName: node(deviceName, limits.DEVICE_NAME_DEFAULT, "name of the TUN device"),
  peerCapacity: unset(
    integer(1, limits.PEER_CAPACITY_MAX),
    "peers the tables have room for, default 4096",
  ),
  prefixCapacity: unset(
    integer(1, limits.PREFIX_CAPACITY_MAX),
    "prefixes the tables have room for, default 65536",
  ),
  socketBuffer: unset(
    integer(limits.SOCKET_BUFFER_MIN, limits.SOCKET_BUFFER_MAX),
    "bytes of send and receive buffer of an underlay socket",
  ),
  metricsListen: unset(listenAddress, "also serve Prometheus text on this address"),
  logLevel: node(oneOf("debug", "info", "warn", "error"), "info", "least level that is logged"),
  logFormat: node(oneOf("text", "json"), "text", "key=value lines or JSON lines"),
} as const satisfies Record<string, Setting<unknown>>;

export type SettingName = keyof typeof SETTINGS;
type Value<S> = S extends { kind: Kind<infer T>; initial: infer I }
  ? I extends undefined
    ? T | undefined
    : T
  : never;

/** All settings filled in; undefined where nothing was given and there is no default. */
export type Settings = { [N in SettingName]: Value<(typeof SETTINGS)[N]> };

type Scoped = typeof SETTINGS;
/** Settings of the whole mesh: those the KV record `config` holds. */
export type MeshSettings = {
  [N in SettingName as Scoped[N]["scope"] extends "node" ? never : N]: Settings[N];
};
export type MeshSettingName = keyof MeshSettings;

export const settingNames = Object.keys(SETTINGS) as SettingName[];

export const meshSettingNames = settingNames.filter(
  (name): name is MeshSettingName => SETTINGS[name].scope !== "node",
);

const PATH_SETTINGS: ReadonlySet<SettingName> = new Set(["stateDir", "runDir", "natsCa", "creds"]);

/** Whether this value of a setting names a file or folder. */
export function isPathSetting(name: SettingName, value: unknown): value is string {
  const isWord = value === "" || (name === "natsCa" && value === "system");
  return PATH_SETTINGS.has(name) && typeof value === "string" && !isWord;
}

/** "clusterPoolIPv4PodCIDR" -> "cluster-pool-ipv4-pod-cidr" (without the two hyphens in front). */
export function flagOf(name: SettingName): string {
  return name
    .replace("IPv", "Ipv")
    .replace("CIDR", "Cidr")
    .replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** "clusterPoolIPv4PodCIDR" -> "MESHD_CLUSTER_POOL_IPV4_POD_CIDR". */
export function variableOf(name: SettingName): string {
  return `MESHD_${flagOf(name).replaceAll("-", "_").toUpperCase()}`;
}
