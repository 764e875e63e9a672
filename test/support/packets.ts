// Inner packets for tests: built field by field and checked slowly and plainly, apart from the code
// under test. All sums here are big-endian, byte by byte, as RFC 1071 tells it.

export const TCP = 6;
export const UDP = 17;
export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const CWR = 128;

export interface PacketOptions {
  version: 4 | 6;
  protocol: number;
  payload: Uint8Array;
  source?: Uint8Array;
  destination?: Uint8Array;
  sourcePort?: number;
  destinationPort?: number;
  tos?: number;
  ttl?: number;
  identification?: number;
  dontFragment?: boolean;
  ipOptions?: Uint8Array;
  flowLabel?: number;
  /** IPv6 extension headers, ready made but for their next-header bytes. */
  extensions?: { kind: number; bytes: Uint8Array }[];
  sequence?: number;
  acknowledgment?: number;
  flags?: number;
  window?: number;
  urgent?: number;
  tcpOptions?: Uint8Array;
  /** Leave the transport checksum this instead of the right one. */
  checksum?: number;
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function be16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function setBe16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

export function be32(bytes: Uint8Array, at: number): number {
  return be16(bytes, at) * 65536 + be16(bytes, at + 2);
}

export function setBe32(bytes: Uint8Array, at: number, value: number): void {
  setBe16(bytes, at, value >>> 16);
  setBe16(bytes, at + 2, value & 0xffff);
}

/**
 * Ones' complement sum of 16-bit big-endian words, the last one padded with zero, and `initial`.
 */
export function slowSum(bytes: Uint8Array, initial = 0): number {
  let sum = initial;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += be16(bytes, i);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

export function slowChecksum(bytes: Uint8Array, initial = 0): number {
  return ~slowSum(bytes, initial) & 0xffff;
}

export const address4 = (...parts: number[]): Uint8Array => Uint8Array.from(parts);

/** 2001:db8:0:<net>::<host> */
export function address6(net: number, host: number): Uint8Array {
  const out = Uint8Array.from([0x20, 1, 0x0d, 0xb8, ...new Array<number>(12).fill(0)]);
  setBe16(out, 6, net);
  setBe16(out, 14, host);
  return out;
}

/** Pseudo-header bytes (RFC 9293 section 3.1, RFC 8200 section 8.1). */
export function pseudoHeader(packet: Uint8Array, protocol: number, length: number): Uint8Array {
  if ((packet[0] ?? 0) >> 4 === 4) {
    return concat(packet.slice(12, 20), Uint8Array.of(0, protocol, length >> 8, length & 255));
  }
  const tail = Uint8Array.of(0, 0, length >> 8, length & 255, 0, 0, 0, protocol);
  return concat(packet.slice(8, 40), tail);
}

/** The sum of the pseudo-header alone. */
export function pseudoSum(packet: Uint8Array, protocol: number, length: number): number {
  const isV4 = (packet[0] ?? 0) >> 4 === 4;
  return slowSum(isV4 ? packet.subarray(12, 20) : packet.subarray(8, 40), protocol + length);
}

function transportHeader(o: PacketOptions): Uint8Array {
  const options = o.tcpOptions ?? new Uint8Array(0);
  const header = new Uint8Array(o.protocol === TCP ? 20 + options.length : 8);
  setBe16(header, 0, o.sourcePort ?? 40000);
  setBe16(header, 2, o.destinationPort ?? 5201);
  if (o.protocol === UDP) {
    setBe16(header, 4, 8 + o.payload.length);
    return header;
  }
  setBe32(header, 4, o.sequence ?? 1000);
  setBe32(header, 8, o.acknowledgment ?? 2000);
  header[12] = ((20 + options.length) / 4) << 4;
  header[13] = o.flags ?? ACK;
  setBe16(header, 14, o.window ?? 512);
  setBe16(header, 18, o.urgent ?? 0);
  header.set(options, 20);
  return header;
}

function ipv4Header(o: PacketOptions, length: number): Uint8Array {
  const options = o.ipOptions ?? new Uint8Array(0);
  const header = new Uint8Array(20 + options.length);
  header[0] = 0x40 | (header.length / 4);
  header[1] = o.tos ?? 0;
  setBe16(header, 2, header.length + length);
  setBe16(header, 4, o.identification ?? 1);
  setBe16(header, 6, o.dontFragment === false ? 0 : 0x4000);
  header[8] = o.ttl ?? 64;
  header[9] = o.protocol;
  header.set(o.source ?? address4(10, 0, 0, 1), 12);
  header.set(o.destination ?? address4(10, 0, 1, 2), 16);
  header.set(options, 20);
  setBe16(header, 10, slowChecksum(header));
  return header;
}

function ipv6Header(o: PacketOptions, length: number): Uint8Array {
  const extensions = o.extensions ?? [];
  const header = new Uint8Array(40);
  const bytes = extensions.map((e, i) => {
    const copy = Uint8Array.from(e.bytes);
    copy[0] = extensions[i + 1]?.kind ?? o.protocol;
    return copy;
  });
  const tos = o.tos ?? 0;
  setBe32(header, 0, 0x60000000 + tos * 0x100000 + (o.flowLabel ?? 0));
  setBe16(header, 4, length + bytes.reduce((sum, b) => sum + b.length, 0));
  header[6] = extensions[0]?.kind ?? o.protocol;
  header[7] = o.ttl ?? 64;
  header.set(o.source ?? address6(0, 1), 8);
  header.set(o.destination ?? address6(1, 2), 24);
  return concat(header, ...bytes);
}

/** A whole IP packet with every checksum right. */
export function buildPacket(o: PacketOptions): Uint8Array {
  const isPlain = o.protocol !== TCP && o.protocol !== UDP;
  const transport = isPlain ? o.payload : concat(transportHeader(o), o.payload);
  const ip = o.version === 4 ? ipv4Header(o, transport.length) : ipv6Header(o, transport.length);
  const packet = concat(ip, transport);
  if (isPlain) return packet;
  const field = ip.length + (o.protocol === TCP ? 16 : 6);
  const right = slowChecksum(transport, pseudoSum(packet, o.protocol, transport.length));
  setBe16(packet, field, o.checksum ?? (right === 0 && o.protocol === UDP ? 0xffff : right));
  return packet;
}

/** As a kernel leaves it to its card: the pseudo-header's sum where the checksum stands. */
export function unfinished(
  packet: Uint8Array,
  { version, protocol, ipOptions }: Pick<PacketOptions, "version" | "protocol" | "ipOptions">,
): Uint8Array {
  const start = version === 4 ? 20 + (ipOptions?.length ?? 0) : 40;
  const copy = Uint8Array.from(packet);
  const pseudo = pseudoSum(packet, protocol, packet.length - start);
  setBe16(copy, start + (protocol === TCP ? 16 : 6), pseudo);
  return copy;
}
