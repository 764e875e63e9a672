// Enhanced GRE of one call at a line's pace (RFC 2637 section 4): numbers, acknowledgments, and
// what came late or twice. The frames inside are not looked at.

const HEADER_SIZE = 8;
const NUMBER_SIZE = 4;
const PROTOCOL_PPP = 0x880b;
const KEY = 0x20;
const SEQUENCE = 0x10;
const ACKNOWLEDGMENT = 0x80;
const VERSION_1 = 1;
/** Checksum, routing and recursion must be zero; of the second byte all but A and the version. */
const ZERO = 0xcf;
const ZERO_FLAGS = 0x78;
const CALL_ID = 6;

/** The id of the receiver's call; undefined: no PPP in GRE version 1. */
export function callIdOf(packet: Buffer): number | undefined {
  if (packet.length < HEADER_SIZE + NUMBER_SIZE) return undefined;
  const flags = packet.readUInt8(0);
  const version = packet.readUInt8(1);
  const isOurs = (flags & (ZERO | KEY)) === KEY && (version & 7) === VERSION_1;
  if (!isOurs || (version & ZERO_FLAGS) !== 0) return undefined;
  return packet.readUInt16BE(2) === PROTOCOL_PPP ? packet.readUInt16BE(CALL_ID) : undefined;
}

export interface GreCounts {
  sent: number;
  received: number;
  /** Not in order: late, or a second time. */
  late: number;
}

export class GreCall {
  readonly counts: GreCounts = { sent: 0, received: 0, late: 0 };
  #next = 0;
  /** The highest number that came; null: none yet. */
  #last: number | null = null;
  #owesAck = false;

  constructor(private readonly peerCallId: number) {}

  /** Something came that was not acknowledged yet. */
  get owesAck(): boolean {
    return this.#owesAck;
  }

  /** A packet with this frame, and what is to be acknowledged. */
  wrap(frame: Uint8Array): Buffer {
    const packet = this.#header(frame.length, true);
    packet.set(frame, packet.length - frame.length);
    this.counts.sent += 1;
    return packet;
  }

  /** A packet that only acknowledges. */
  acknowledge(): Buffer {
    return this.#header(0, false);
  }

  /** The frame of a packet of this call; null: nothing to pass on. */
  unwrap(packet: Buffer): Uint8Array | null {
    const hasNumber = (packet.readUInt8(0) & SEQUENCE) !== 0;
    const hasAck = (packet.readUInt8(1) & ACKNOWLEDGMENT) !== 0;
    const at = HEADER_SIZE + NUMBER_SIZE * (Number(hasNumber) + Number(hasAck));
    const end = at + packet.readUInt16BE(4);
    if (!hasNumber || end > packet.length || end === at) return null;
    const number = packet.readUInt32BE(HEADER_SIZE);
    if (this.#last !== null && ((number - this.#last) | 0) <= 0) {
      this.counts.late += 1;
      return null;
    }
    this.#last = number;
    this.#owesAck = true;
    this.counts.received += 1;
    return packet.subarray(at, end);
  }

  #header(length: number, hasNumber: boolean): Buffer {
    const acked = this.#last;
    const numbers = Number(hasNumber) + Number(acked !== null);
    const packet = Buffer.alloc(HEADER_SIZE + NUMBER_SIZE * numbers + length);
    packet.writeUInt8(KEY | (hasNumber ? SEQUENCE : 0), 0);
    packet.writeUInt8(VERSION_1 | (acked === null ? 0 : ACKNOWLEDGMENT), 1);
    packet.writeUInt16BE(PROTOCOL_PPP, 2);
    packet.writeUInt16BE(length, 4);
    packet.writeUInt16BE(this.peerCallId, CALL_ID);
    let at = HEADER_SIZE;
    if (hasNumber) at = packet.writeUInt32BE(this.#next, at);
    if (hasNumber) this.#next = (this.#next + 1) >>> 0;
    if (acked !== null) packet.writeUInt32BE(acked, at);
    this.#owesAck = false;
    return packet;
  }
}
