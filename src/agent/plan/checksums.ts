// Outer UDP checksums: what this node sends and takes, by the mesh's setting. Over IPv6 a socket
// drops datagrams without one until told otherwise (RFC 6935), so there all members take them first
// and say so in their records, then each sends them; and the other way round. Pure.
import type { MeshSnapshot, NodeRecord } from "../../../control/index.js";
import type { UdpChecksums } from "../../datapath/index.js";
import { parseAddress } from "../prefix.js";
import { mayForward, type Report } from "./peers.js";

/** Words in a node record's capabilities, while they are so. */
const TAKES_ZEROES = "takes-zero-udp-checksums";
const SENDS_ZEROES = "sends-zero-udp-checksums";

/** What a socket does that is told nothing. */
export const CHECKED: UdpChecksums = { send: true, zeroes: false };

/** Records of the members that we send to over IPv6. */
function others(snapshot: MeshSnapshot, ownId: string): NodeRecord[] {
  return [...snapshot.nodes.values()].filter(({ nodeId, underlay }) => {
    const member = snapshot.members.get(nodeId);
    const isMember = nodeId !== ownId && member !== undefined && mayForward(member);
    return isMember && underlay.addresses.some((text) => parseAddress(text)?.family === 6);
  });
}

/** Names of the members that would drop what has no checksum. */
function deaf(snapshot: MeshSnapshot, records: readonly NodeRecord[]): string[] {
  const silent = records.filter(({ capabilities }) => !capabilities.includes(TAKES_ZEROES));
  return silent.map(({ nodeId }) => snapshot.members.get(nodeId)?.name ?? nodeId).sort();
}

/** What the sockets of node `ownId` are to do, over underlay addresses of that family. */
export function planChecksums(
  snapshot: MeshSnapshot,
  ownId: string,
  family: 4 | 6,
  report: Report,
): UdpChecksums {
  const send = snapshot.config.udpChecksum;
  // Every socket takes zeroes over IPv4 (RFC 1122 section 4.1.3.4).
  if (family === 4) return { send, zeroes: false };
  const records = others(snapshot, ownId);
  const isSent = records.some(({ capabilities }) => capabilities.includes(SENDS_ZEROES));
  if (send) return { send, zeroes: isSent };
  const missing = deaf(snapshot, records);
  if (missing.length === 0) return { send, zeroes: true };
  const first = missing.slice(0, 3).join(", ");
  const names = missing.length > 3 ? `${first} and ${missing.length - 3} more` : first;
  const why = `udpChecksum false: ${names} would drop that over IPv6 so far: they are still sent`;
  report("MESHD_UDP_CHECKSUM", "config", why);
  return { send: true, zeroes: true };
}

/** What a node record says of the sockets as they are. */
export function checksumCapabilities({ send, zeroes }: UdpChecksums): string[] {
  return [...(zeroes ? [TAKES_ZEROES] : []), ...(send ? [] : [SENDS_ZEROES])];
}
