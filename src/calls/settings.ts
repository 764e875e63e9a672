// Options of PPP links, by what a call is for.
import type { AuthMethod, LinkOptions, PeerSecret, Verifier } from "../ppp/index.js";

/** IP, GRE with both numbers, and the longest PPP header before a packet (wire-formats: 24). */
const UNDERLAY_BYTES = 20 + 24;
/** What every PPP end must be able to take (RFC 1661 section 6.1). */
const MRU_MAX = 1500;
const SERVER_ECHO = { interval_ms: 15_000, failures: 4 };
/** Members notice a dead call before its peer is missed. */
const PAIR_ECHO = { interval_ms: 5000, failures: 3 };

/** Encryption as settings say it. "required-128": nothing else than 128 bits. */
export type EncryptionRule = "required-128" | "required" | "optional" | "off";

export interface LinkRules {
  methods: readonly AuthMethod[];
  encryption: EncryptionRule;
  stateful: boolean;
  dns: readonly string[];
  nbns: readonly string[];
}

/** Bytes of inner packet that a call carries over an underlay of that MTU. */
export function mtuOver(underlayMtu: number): number {
  return underlayMtu - UNDERLAY_BYTES;
}

function mruOver(underlayMtu: number): number {
  return Math.min(mtuOver(underlayMtu), MRU_MAX);
}

function mppeOf({ encryption, stateful }: Pick<LinkRules, "encryption" | "stateful">) {
  if (encryption === "off") return null;
  const bits: (128 | 56 | 40)[] = encryption === "required-128" ? [128] : [128, 56, 40];
  return { required: encryption !== "optional", bits, stateful };
}

/** We are called by a user. */
export function serverLink(options: {
  name: string;
  rules: LinkRules;
  verifier: Verifier;
  local: string;
  addressFor: (user: string) => string | null;
  underlayMtu: number;
}): LinkOptions {
  const { name, rules, verifier, local, addressFor, underlayMtu } = options;
  const { methods, dns, nbns } = rules;
  return {
    mru: mruOver(underlayMtu),
    auth: { role: "authenticator", methods: [...methods], name, verifier },
    mppe: mppeOf(rules),
    ipcp: { local, remote: null, addressFor, dns: [...dns], nbns: [...nbns] },
    ipv6cp: null,
    echo: SERVER_ECHO,
  };
}

/** We call a foreign server, and take the address that it gives. */
export function dialLink(options: {
  user: string;
  secret: PeerSecret;
  rules: Pick<LinkRules, "methods" | "encryption" | "stateful">;
  underlayMtu: number;
}): LinkOptions {
  const { user, secret, rules, underlayMtu } = options;
  return {
    mru: mruOver(underlayMtu),
    auth: { role: "peer", user, secret, methods: [...rules.methods] },
    mppe: mppeOf(rules),
    ipcp: { local: "0.0.0.0", remote: null, askAddress: true, dns: [], nbns: [] },
    ipv6cp: null,
    echo: SERVER_ECHO,
  };
}

/** Between two members; `addresses` are the node addresses of both, IPv4. */
export function pairLink(options: {
  auth: LinkOptions["auth"];
  local: string | null;
  remote: string | null;
  /** An interface identifier for IPv6, or null where the mesh has none. */
  interfaceId: bigint | null;
  underlayMtu: number;
}): LinkOptions {
  const { auth, local, remote, interfaceId, underlayMtu } = options;
  return {
    // Members may be more than Ethernet apart: what the underlay carries is what is taken.
    mru: mtuOver(underlayMtu),
    auth,
    mppe: { required: true, bits: [128], stateful: false },
    ipcp: local === null || remote === null ? null : { local, remote, dns: [], nbns: [] },
    ipv6cp: interfaceId === null ? null : { interfaceId },
    echo: PAIR_ECHO,
  };
}
