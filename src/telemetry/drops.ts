// A sentence for every drop reason: what happened to the packet, and what to look at. tsc refuses
// a missing one. docs/drop-reasons.md is written from here.
import { Drop } from "../../assembly/shared/drop.js";

export type DropName = keyof typeof Drop;

export const dropSentences: Record<DropName, string> = {
  NONE: "Not a drop; its counter stays zero.",
  TOO_SHORT:
    "The packet ends before its headers do. A few come from scans and broken senders; many " +
    "mean that something on the path cuts packets.",
  BAD_IP_VERSION:
    "The version field is neither 4 nor 6, or says another family than the frame around " +
    "it. The sender is broken or hostile.",
  BAD_IP_HEADER:
    "The inner IP header has a wrong header length, total length or checksum. Look at the " +
    "sending pod, or at a device that changes packets on the way.",
  BAD_LENGTH:
    "Lengths in the headers contradict each other or reach beyond the packet. The sender " +
    "is broken or hostile.",
  TRUNCATED:
    "The kernel handed over only the beginning of a datagram, because it was larger than " +
    "any packet we take.",
  TOO_BIG:
    "The packet is larger than the tunnel to that peer carries. The sender was told the " +
    "size that fits (ICMP); if this keeps rising, ICMP is filtered at the pod or its MTU " +
    "is above the tunnel's.",
  NO_ROUTE:
    "No node and no static peer owns the destination address. Compare `meshd route list` " +
    "with the address; the sender was told that it is unreachable.",
  TTL_EXPIRED: "The packet had no hops left. A traceroute causes a few; many mean a routing loop.",
  NOT_LOCAL:
    "A peer sent us a packet for an address that is not ours. Its routes are older than " +
    "the mesh's: compare PodCIDRs in `meshd route list` on both nodes.",
  UNKNOWN_PEER:
    "The outer source address belongs to no member and no static peer. A node that has " +
    "just joined or moved causes a few; otherwise somebody sends to our port. In a flood of them " +
    "over raw sockets (`ipip`, `gre`) one in 256 is counted: `meshd status` says so then.",
  WRONG_VNI:
    "The network number in the tunnel header is not the mesh's `vni` or the static peer's. " +
    "Compare the setting on both sides.",
  BAD_FLAGS:
    "The tunnel header's flags are wrong for this encapsulation. The sender uses an " +
    "extension we do not speak, or another protocol on our port.",
  SPOOFED_SOURCE:
    "A peer sent an inner source address outside its own prefixes. Either a pod behind it " +
    "forges addresses, or that node's CIDRs are missing in `meshd peer list`.",
  FOREIGN_SOURCE:
    "A packet for the mesh came from this host with a source address outside this node's " +
    "PodCIDRs. Look for a pod or host program bound to another address.",
  MULTICAST:
    "Inner multicast: the mesh carries unicast only. Neighbour and mDNS chatter is normal.",
  BROADCAST:
    "Inner broadcast: the mesh carries unicast only. DHCP and old discovery chatter is normal.",
  NOT_IP:
    "The inner frame carries neither IP nor a neighbour question for us (LLDP, STP and such).",
  WRONG_MAC:
    "The inner frame is addressed to another MAC address than our VTEP's. A static peer " +
    "has an old VTEP MAC of this node: see `meshd node show`.",
  ECN_ILLEGAL:
    "The underlay marked congestion on a packet whose sender did not agree to ECN; RFC " +
    "6040 section 4.2 asks to drop it. A device on the path rewrites ECN bits.",
  BAD_OFFLOAD:
    "The kernel's offload header on TUN asks for something we did not switch on: report it with " +
    "the kernel's version. Or a kernel tunnel on this machine handed over UDP datagrams in one " +
    "piece without their size: switch tx-udp-segmentation off on its underlay device.",
  SEND_FAILED:
    "The underlay socket refused the packet: no route to the peer's host, a firewall, or a " +
    "full send buffer. Compare with `meshd status` and the host's routes.",
  TUN_WRITE_FAILED:
    "The kernel refused the packet on the TUN device: the device is down or the packet damaged.",
  RING_FULL:
    "The control thread did not take packets for it as fast as they came. Only probes and " +
    "session control travel there.",
  LOOP:
    "A packet for this node came back from the host into the tunnel: a host route or rule " +
    "points at the mesh device that should not.",
  WRONG_PROTOCOL:
    "A known peer sent on the port of another encapsulation than agreed with it. Compare " +
    "`tunnelProtocol` or the static peer's protocol.",
  BAD_NEIGHBOUR:
    "A neighbour solicitation for our VTEP address is damaged or was forwarded (hop limit " +
    "below 255). Look at the peer that sends it.",
  WORKER_DIED:
    "A worker thread died with the packet in its hands. It was restarted; the agent's log says " +
    "what it died of. Report that line.",
  BAD_VERSION:
    "The tunnel header's version is not the one we speak. The sender uses another protocol on " +
    "our port.",
  BAD_OPTIONS:
    "The options of a tunnel header do not add up to the length it gives. The sender is broken " +
    "or hostile.",
  UNKNOWN_OPTION:
    "The tunnel header has an option marked critical that we do not know, so the packet must " +
    "not be used. Look at what the peer adds to its Geneve packets (Cilium's DSR is one).",
  CONTROL_PACKET:
    "A control packet of the tunnel (Geneve's O bit): its payload is not forwarded, and we act " +
    "on none.",
  WRONG_KEY:
    "The key in the GRE header is not `greKey`, or one side sends a key and the other none. " +
    "Other tunnels between the same two hosts cause these too: a raw socket sees all of them.",
  BAD_CHECKSUM:
    "The checksum in the tunnel header does not fit what it covers: the packet was damaged on " +
    "the way. Look at the links between the two hosts.",
  OLD_SEQUENCE:
    "The number in the GRE header is not above the last one taken: the packet came late or " +
    "twice. Underlays with several paths cause these; without `greSequence` they are taken.",
  FOREIGN_IDENTITY:
    "With `vni: identity`, a peer claimed a security identity that is neither its pods' nor 6 " +
    "(remote-node). A lease that just moved causes a few; else that node forges it, or sends a " +
    "fixed number: compare `meshd status --peers` and `meshd config get vni`.",
  UNKNOWN_CALL:
    "A PPTP packet (GRE version 1) for a call id that is none of ours, or not from that " +
    "call's other end. A call that has just ended causes a few, and so does another PPTP " +
    "server on this host; else somebody guesses call ids.",
  BAD_PPP:
    "A PPTP call carried something that is no PPP frame. The other end is broken or hostile; " +
    "with encryption on, it may have lost its place in the key stream.",
  NO_CALL:
    "No PPTP call carries packets to that address just now, or one is up whose addresses are " +
    "not in the tables yet. Look at `meshd pptp list`.",
  WINDOW_FULL:
    "As many packets are on their way in a PPTP call as its other end said that it takes. TCP" +
    " slows down by that; if throughput suffers, set `pptpWindow: off`.",
  DUPLICATE: "A PPTP packet came twice: the network doubled it. A few are harmless.",
  CLEAR_REFUSED:
    "An IP packet came unencrypted by a PPTP call that must be encrypted. The other end's " +
    "settings differ from ours, or somebody forges packets into the call.",
  NOT_ENCRYPTED:
    "A packet would have left unencrypted by a PPTP call that must be encrypted: keys are not" +
    " agreed yet, or were given up. A few at the start of a call are harmless.",
  MPPE_BAD_COUNT:
    "The count in an encrypted PPTP packet is old or so far ahead that its key is not worked " +
    "out: reordering, a long loss, or forged packets.",
  MPPE_NO_KEY:
    "An encrypted packet came by a PPTP call before our side had keys for it. A few at the " +
    "start of a call are harmless.",
  NOT_AUTHENTICATED:
    "Somebody sent more than LCP and authentication by a PPTP call before saying who it is. A" +
    " few at the start of a call are harmless.",
  COUNT: "Not a reason: the number of reasons.",
};

/**
 * Reasons of packets that the kernel drops before or behind the hot path: by our nftables rules
 * (ADR 0027), and at queues that we do not empty fast enough.
 */
export const HOST_DROPS = [
  { reason: "NFT_SPOOFED_SOURCE", direction: "ingress" },
  { reason: "NFT_FOREIGN_SOURCE", direction: "egress" },
  { reason: "NFT_PPTP_FILTER", direction: "ingress" },
  { reason: "DEVICE_QUEUE_FULL", direction: "egress" },
  { reason: "SOCKET_QUEUE_FULL", direction: "ingress" },
] as const;

export const hostDropSentences: Record<(typeof HOST_DROPS)[number]["reason"], string> = {
  NFT_SPOOFED_SOURCE:
    "A packet came in on the underlay's interface, not encapsulated, with a source in the mesh's " +
    "pools that is of no directly routed peer. Somebody on the underlay forges it, or that peer " +
    "routes directly and this node does not (yet): compare `meshd status --peers` on both.",
  NFT_FOREIGN_SOURCE:
    "A packet was about to leave by the underlay's interface, not encapsulated, with a source in " +
    "the mesh's pools that is not this node's. Look for a pod that uses an address of others.",
  NFT_PPTP_FILTER:
    "A packet came in on the interface that `pptpFilter` names and was neither TCP 1723 nor a " +
    "call of somebody whose control connection is up. `meshd status` counts them by kind.",
  DEVICE_QUEUE_FULL:
    "The queue of the mesh's device was full: pods send faster than the workers read. A " +
    "super-packet counts once, bytes are not known. A few in bursts are harmless; if they go on, " +
    "give the node more `workers`.",
  SOCKET_QUEUE_FULL:
    "The receive buffer of an underlay socket was full (or a UDP checksum was wrong): peers " +
    "send faster than the workers read. Bytes are not known. Give the node more `workers`, or a " +
    "larger `socketBuffer`.",
};

/** Names that are real reasons, in the order of their numbers. */
export const dropNames: readonly DropName[] = (Object.keys(dropSentences) as DropName[])
  .filter((name) => name !== "NONE" && name !== "COUNT")
  .sort((left, right) => Drop[left] - Drop[right]);

/** The sentence of a reason by the name an agent gave; an agent may be newer than this program. */
export function explainDrop(name: string): string {
  const all: Record<string, string> = { ...dropSentences, ...hostDropSentences };
  return Object.hasOwn(all, name)
    ? (all[name] ?? "")
    : "A reason this version of meshd does not know; the agent is newer.";
}

/** The text of docs/drop-reasons.md. */
export function dropReasonsPage(): string {
  const rows = dropNames.map((name) => `| ${Drop[name]} | \`${name}\` | ${dropSentences[name]} |`);
  const host = HOST_DROPS.map(
    ({ reason, direction }) => `| \`${reason}\` | ${direction} | ${hostDropSentences[reason]} |`,
  );
  return `# Drop reasons

Every packet that ends inside meshd ends under exactly one of these names. \`meshd drops\` shows the
counters, per direction; \`/metrics\` has them as \`meshd_dropped_packets_total{reason="..."}\`.
For each worker and direction, received + generated = forwarded + consumed + dropped.

This page is written by \`node dist/src/telemetry/write-drop-reasons.js\` from
src/telemetry/drops.ts.

| number | reason | what it means and what to look at |
|---|---|---|
${rows.join("\n")}

These packets the kernel drops, and they are in no worker's sum: packets that are routed directly
([native routing and crossSubnet](encapsulations.md)) by meshd's nftables rules, and what finds the
queue of the mesh's device or of an underlay socket full.

| reason | direction | what it means and what to look at |
|---|---|---|
${host.join("\n")}
`;
}
