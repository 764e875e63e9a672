// Says whether a packet is well-formed, slowly and plainly; and cuts a super-packet by hand. The
// judge of the hot path's kernels in unit tests and in the fuzz test.
import {
  be16,
  be32,
  CWR,
  concat,
  FIN,
  PSH,
  pseudoSum,
  setBe16,
  setBe32,
  slowChecksum,
  slowSum,
  TCP,
  UDP,
} from "./packets.js";

export interface Shape {
  version: 4 | 6;
  protocol: number;
  /** Bytes up to the transport header. */
  offset: number;
  /** Bytes up to the transport's payload (TCP, UDP); as `offset` otherwise. */
  header: number;
  isFragment: boolean;
}

/** What a packet is, or the fault in its IP header. */
export function shapeOf(packet: Uint8Array): Shape | string {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4) return shape4(packet);
  return version === 6 ? shape6(packet) : `version ${version}`;
}

function shape4(packet: Uint8Array): Shape | string {
  const offset = ((packet[0] ?? 0) & 15) * 4;
  if (packet.length < 20 || offset < 20 || offset > packet.length) return "IPv4 header length";
  if (be16(packet, 2) !== packet.length) {
    return `IPv4 total length ${be16(packet, 2)} of ${packet.length}`;
  }
  if (slowSum(packet.subarray(0, offset)) !== 0xffff) return "IPv4 header checksum";
  const isFragment = (be16(packet, 6) & 0x3fff) !== 0;
  return withTransport(packet, 4, packet[9] ?? 0, offset, isFragment);
}

function shape6(packet: Uint8Array): Shape | string {
  if (packet.length < 40 || be16(packet, 4) !== packet.length - 40) return "IPv6 payload length";
  let protocol = packet[6] ?? 0;
  let offset = 40;
  while (protocol === 0 || protocol === 43 || protocol === 60) {
    // A routing header with segments left: the checksum's destination is another one.
    const isUnfinished = protocol === 43 && packet[offset + 3] !== 0;
    if (offset + 8 > packet.length || isUnfinished) return "IPv6 extension headers";
    protocol = packet[offset] ?? 0;
    offset += 8 + 8 * (packet[offset + 1] ?? 0);
  }
  if (offset > packet.length) return "IPv6 extension headers";
  return withTransport(packet, 6, protocol, offset, protocol === 44);
}

function withTransport(
  packet: Uint8Array,
  version: 4 | 6,
  protocol: number,
  offset: number,
  isFragment: boolean,
): Shape | string {
  const shape = { version, protocol, offset, header: offset, isFragment };
  if (isFragment) return shape;
  const left = packet.length - offset;
  if (protocol === TCP) {
    const size = ((packet[offset + 12] ?? 0) >> 4) * 4;
    if (left < 20 || size < 20 || size > left) return "TCP header";
    return { ...shape, header: offset + size };
  }
  if (protocol !== UDP) return shape;
  if (left < 8 || be16(packet, offset + 4) !== left) return "UDP length";
  return { ...shape, header: offset + 8 };
}

function transportFault(packet: Uint8Array, shape: Shape): string | undefined {
  const transport = packet.subarray(shape.offset);
  const isV4 = shape.version === 4;
  if (shape.isFragment) return undefined;
  if (isV4 && shape.protocol === 1) {
    return slowSum(transport) === 0xffff ? undefined : "ICMP checksum";
  }
  const covered = shape.protocol === TCP || shape.protocol === UDP;
  if (!covered && (isV4 || shape.protocol !== 58)) return undefined;
  if (shape.protocol === UDP && be16(transport, 6) === 0) return isV4 ? undefined : "UDP without";
  const pseudo = pseudoSum(packet, shape.protocol, transport.length);
  return slowSum(transport, pseudo) === 0xffff ? undefined : "transport checksum";
}

/** The fault of an IP packet - lengths, header checksum, transport checksum - or undefined. */
export function fault(packet: Uint8Array): string | undefined {
  const shape = shapeOf(packet);
  return typeof shape === "string" ? shape : transportFault(packet, shape);
}

/** The bytes that differ from packet to packet of one super-packet. */
function cut(packet: Uint8Array, shape: Shape, payload: Uint8Array, index: number, done: number) {
  const piece = concat(packet.subarray(0, shape.header), payload);
  if (shape.version === 4) {
    setBe16(piece, 2, piece.length);
    setBe16(piece, 4, (be16(packet, 4) + index) & 0xffff);
    setBe16(piece, 10, 0);
    setBe16(piece, 10, slowChecksum(piece.subarray(0, ((piece[0] ?? 0) & 15) * 4)));
  } else {
    setBe16(piece, 4, piece.length - 40);
  }
  if (shape.protocol === TCP) {
    setBe32(piece, shape.offset + 4, (be32(packet, shape.offset + 4) + done) % 2 ** 32);
  } else {
    setBe16(piece, shape.offset + 4, piece.length - shape.offset);
  }
  return piece;
}

function finishPiece(piece: Uint8Array, shape: Shape): void {
  const field = shape.offset + (shape.protocol === TCP ? 16 : 6);
  setBe16(piece, field, 0);
  const transport = piece.subarray(shape.offset);
  const pseudo = pseudoSum(piece, shape.protocol, transport.length);
  const right = slowChecksum(transport, pseudo);
  setBe16(piece, field, right === 0 && shape.protocol === UDP ? 0xffff : right);
}

/**
 * Cuts a super-packet by hand into packets of `size` payload bytes, whatever its checksum field
 * says. @throws when its headers are damaged.
 */
export function slowSegment(packet: Uint8Array, size: number): Uint8Array[] {
  const shape = shapeOf(packet);
  if (typeof shape === "string") throw new Error(shape);
  const payload = packet.subarray(shape.header);
  const flags = packet[shape.offset + 13] ?? 0;
  const pieces: Uint8Array[] = [];
  for (let done = 0; done === 0 || done < payload.length; done += size) {
    const index = pieces.length;
    const piece = cut(packet, shape, payload.subarray(done, done + size), index, done);
    if (shape.protocol === TCP) {
      const isLast = done + size >= payload.length;
      let own = index === 0 ? flags : flags & ~CWR;
      if (!isLast) own &= ~(FIN | PSH);
      piece[shape.offset + 13] = own;
    }
    finishPiece(piece, shape);
    pieces.push(piece);
  }
  return pieces;
}
