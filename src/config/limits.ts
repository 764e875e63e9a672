// Every limit and default number of meshd under one name. Units come last.

/** Most that the hot path's tables grow to by the settings `peerCapacity`, `prefixCapacity`. */
export const PEER_CAPACITY_MAX = 65533;
export const PREFIX_CAPACITY_MAX = 1 << 22;

/** Equals MAX_WORKERS in assembly/shared/layout.ts (a test compares them). */
export const WORKERS_MAX = 32;
export const WORKERS_DEFAULT = 1;

/** Every host takes IPv4 datagrams of 576 bytes, RFC 791; IPv6 needs 1280, RFC 8200. */
export const MTU_MIN = 576;
export const MTU_MAX = 65535;

/** VNI is 24 bits, RFC 7348 section 5; 0 is kept out, as flannel and Cilium keep it. */
export const VNI_MIN = 1;
export const VNI_MAX = 16777215;

export const PORT_MAX = 65535;
/** Differentiated services code point is 6 bits, RFC 2474. */
export const DSCP_MAX = 63;
/** GRE key is 32 bits, RFC 2890. */
export const GRE_KEY_MAX = 4294967295;

/** UDP destination port where `tunnelPort` is 0: the numbers flannel and Cilium use. */
export const DEFAULT_TUNNEL_PORTS: Readonly<Record<string, number>> = {
  vxlan: 8472,
  geneve: 6081,
  udp: 8285,
};

/** Prefix lengths of PodCIDRs: room for the node and a pod at least, a /8 at most. */
export const MASK4_MIN = 8;
export const MASK4_MAX = 30;
export const MASK6_MIN = 16;
export const MASK6_MAX = 126;
/** A pool of more PodCIDRs than this cannot be walked by the allocator. */
export const POOL_BITS_MAX = 24;

/** IFNAMSIZ is 16 with the closing zero byte. */
export const DEVICE_NAME_LENGTH_MAX = 15;
/** sun_path is 108 bytes with the closing zero byte, unix(7). */
export const SOCKET_PATH_LENGTH_MAX = 107;

/** Send and receive buffer of the underlay sockets. */
export const SOCKET_BUFFER_MIN = 1 << 16;
export const SOCKET_BUFFER_MAX = 1 << 30;

/** How long `up`, `join` and `controller` wait until the process they started is ready. */
export const READY_TIMEOUT_MS = 60_000;
/** How long `leave` and `down` wait for the process to end. */
export const STOP_TIMEOUT_MS = 30_000;
/** One question to the agent's socket; work that changes the host may take longer. */
export const AGENT_REQUEST_TIMEOUT_MS = 10_000;
export const AGENT_WORK_TIMEOUT_MS = 60_000;
/** One question to the controller. */
export const ADMIN_REQUEST_TIMEOUT_MS = 30_000;
/** Longest reply read from the agent's socket. */
export const AGENT_REPLY_BYTES_MAX = 64 << 20;
/** Longest text taken as a join token, from a file or standard input. */
export const TOKEN_BYTES_MAX = 16384;
/** Longest YAML file of settings. */
export const CONFIG_FILE_BYTES_MAX = 1 << 20;

/** Size at which a log file is begun anew; one older piece is kept. */
export const LOG_BYTES_MAX = 16 << 20;
export const LOG_LOOK_MS = 60_000;

/** How long a join token works at most. */
export const TOKEN_TTL_MAX_MS = 365 * 86_400_000;
/** Times a token may be used, at most (1 is the default). */
export const TOKEN_USES_MAX = 100_000;

/** How long a PodCIDR rests before another node may get it. */
export const LEASE_QUARANTINE_DEFAULT_S = 600;
export const LEASE_QUARANTINE_MAX_S = 365 * 86_400;

export const NATS_PORT_DEFAULT = 4222;
export const DEVICE_NAME_DEFAULT = "mesh0";
export const STATE_DIR_DEFAULT = "/var/lib/meshd";
export const RUN_DIR_DEFAULT = "/run/meshd";
export const CONFIG_FILE_DEFAULT = "/etc/meshd/meshd.yaml";
