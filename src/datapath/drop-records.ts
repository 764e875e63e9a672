// Reads what the hot path keeps of the last datagram that ended for each reason: where it came
// from, the network number in its header, and the addresses inside.
import { Drop } from "../../assembly/shared/drop.js";
import {
  DROP_RECORD_SIZE,
  R_ADDRESS,
  R_BYTES,
  R_BYTES_MAX,
  R_FAMILY,
  R_LENGTH,
  R_SOCKET,
  R_TIME,
  R_VERSION,
  SOCKET_GENEVE,
  SOCKET_GRE,
  SOCKET_MIXED,
  SOCKET_UDP,
  SOCKET_VXLAN,
  W_DROP_RECORDS,
} from "../../assembly/shared/layout.js";
import { addressText } from "./address.js";
import type { DropName } from "./counters.js";
import { ENCAPSULATIONS, RAW_KINDS } from "./templates.js";
import type { ProtocolName } from "./types.js";

/** The last datagram from the underlay that was dropped for a reason. */
export interface DropRecord {
  reason: DropName;
  /** When, on the clock of `process.hrtime`. */
  time_us: number;
  protocol: ProtocolName;
  /** Outer source address. */
  from: string;
  /** Bytes behind the UDP header or the outer IP header. */
  length: number;
  /** Network number that its header said; null where there is none. */
  vni: number | null;
  /** Addresses of the IP packet inside; null where none is found. */
  source: string | null;
  destination: string | null;
}

interface Views {
  bytes: Uint8Array;
  words: Uint32Array;
}

function protocolOf(socket: number): ProtocolName {
  const names = Object.keys(ENCAPSULATIONS) as ProtocolName[];
  const raw = [...RAW_KINDS].find(([, kind]) => kind === socket)?.[0];
  const found = names.find((name) => {
    const { socket: own, ipProtocols } = ENCAPSULATIONS[name];
    return own === socket || (raw !== undefined && ipProtocols.includes(raw));
  });
  return found ?? "vxlan";
}

/** On a port of several encapsulations the first byte says which it is, as in the hot path. */
function kindOf(socket: number, datagram: DataView): number {
  if (socket !== SOCKET_MIXED) return socket;
  const first = datagram.getUint8(0);
  if (first >> 4 === 4 || first >> 4 === 6) return SOCKET_UDP;
  return (first & VXLAN_FLAG) !== 0 ? SOCKET_VXLAN : SOCKET_GENEVE;
}

const VXLAN_FLAG = 0x08;
/** Ethertype of a frame in Geneve and GRE. */
const FRAME = 0x6558;
const ETHERNET_SIZE = 14;

/** Enhanced GRE, RFC 2637 section 4.1. */
function isPptp(datagram: DataView): boolean {
  return (datagram.getUint8(1) & 7) === 1;
}

/** Where the IP packet begins if the headers are what that kind of socket receives. */
function innerAt(socket: number, datagram: DataView): number {
  const frame = datagram.getUint16(2) === FRAME ? ETHERNET_SIZE : 0;
  if (socket === SOCKET_VXLAN) return 8 + ETHERNET_SIZE;
  if (socket === SOCKET_GENEVE) return 8 + (datagram.getUint8(0) & 0x3f) * 4 + frame;
  if (socket !== SOCKET_GRE) return 0;
  // What PPTP carries stands behind PPP's header, and is encrypted.
  if (isPptp(datagram)) return R_BYTES_MAX;
  const flags = datagram.getUint8(0);
  return 4 + [0x80, 0x20, 0x10].filter((flag) => flags & flag).length * 4 + frame;
}

/** Source and destination of an IP packet, as far as its bytes are there. */
function ends(packet: Uint8Array): Pick<DropRecord, "source" | "destination"> {
  const version = (packet[0] ?? 0) >> 4;
  const [at, size] = version === 4 ? [12, 4] : [8, 16];
  const isThere = (version === 4 || version === 6) && packet.length >= at + 2 * size;
  if (!isThere) return { source: null, destination: null };
  const text = (from: number) => addressText(packet.subarray(from, from + size));
  return { source: text(at), destination: text(at + size) };
}

function parse(reason: DropName, record: Uint8Array): DropRecord {
  const view = new DataView(record.buffer);
  const length = view.getUint32(R_LENGTH, true);
  const kept = record.subarray(R_BYTES, R_BYTES + Math.min(length, R_BYTES_MAX));
  const datagram = new DataView(record.buffer, R_BYTES, R_BYTES_MAX);
  const socket = kindOf(view.getUint16(R_SOCKET, true), datagram);
  const hasNumber = (socket === SOCKET_VXLAN || socket === SOCKET_GENEVE) && length >= 8;
  const family = view.getUint8(R_FAMILY);
  return {
    reason,
    time_us: view.getFloat64(R_TIME, true),
    protocol: socket === SOCKET_GRE && isPptp(datagram) ? "pptp" : protocolOf(socket),
    from: addressText(record.subarray(R_ADDRESS, R_ADDRESS + (family === 4 ? 4 : 16))),
    length,
    vni: hasNumber ? datagram.getUint32(4) >>> 8 : null,
    ...ends(kept.subarray(innerAt(socket, datagram))),
  };
}

/** A copy of one record; undefined where there is none, or it is being written at this moment. */
function copyOf({ bytes, words }: Views, at: number): Uint8Array | undefined {
  const version = Atomics.load(words, (at + R_VERSION) >>> 2);
  if (version === 0 || version % 2 !== 0) return undefined;
  const record = bytes.slice(at, at + DROP_RECORD_SIZE);
  return Atomics.load(words, (at + R_VERSION) >>> 2) === version ? record : undefined;
}

/** The newest of all workers, for each reason that has one. */
export function readDropRecords(views: Views, bases: readonly number[]): DropRecord[] {
  const names = Object.keys(Drop).filter((name): name is DropName => Number.isNaN(Number(name)));
  return names.flatMap((name) => {
    const all = bases.flatMap((base) => {
      const record = copyOf(views, base + W_DROP_RECORDS + Drop[name] * DROP_RECORD_SIZE);
      return record === undefined ? [] : [parse(name, record)];
    });
    return all.sort((a, b) => b.time_us - a.time_us).slice(0, 1);
  });
}
