// PPP on an asynchronous line (RFC 1662 section 4): flags, escapes, the control character map and
// the 16-bit FCS. Works on any split of the stream, in one buffer whose size never changes.
import { be16, Code, Protocol } from "./wire.js";

const FLAG = 0x7e;
const ESCAPE = 0x7d;
const FLIP = 0x20;
const CONTROLS = 0x20;
const FCS_SIZE = 2;
const FCS_START = 0xffff;
/** What is left when a frame's own FCS went through the sum as well. */
const FCS_GOOD = 0xf0b8;
/** Of x^16 + x^12 + x^5 + 1, lowest bit first. */
const POLYNOMIAL = 0x8408;
/** Before LCP has agreed on anything, every control character is escaped. */
export const ACCM_ALL = 0xffffffff;

const FCS_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = (sum & 1) !== 0 ? (sum >>> 1) ^ POLYNOMIAL : sum >>> 1;
  return sum;
});

const step = (sum: number, byte: number) => (sum >>> 8) ^ (FCS_TABLE[(sum ^ byte) & 0xff] ?? 0);

/** The FCS of a frame, as it is sent (lower byte first). */
export function fcs16(bytes: Uint8Array): number {
  let sum = FCS_START;
  for (const byte of bytes) sum = step(sum, byte);
  return sum ^ 0xffff;
}

/** LCP's codes 1 to 7 go with every control character escaped (RFC 1662 section 7.1). */
function accmFor(frame: Uint8Array, accm: number): number {
  const at = frame[0] === 0xff && frame[1] === 0x03 ? 2 : 0;
  const code = frame[at + 2] ?? 0;
  const isBasic = code >= Code.CONFIGURE_REQUEST && code <= Code.CODE_REJECT;
  return be16(frame, at) === Protocol.LCP && isBasic ? ACCM_ALL : accm;
}

/**
 * A PPP frame (with FF 03, or without where that was agreed on) as it goes over the line.
 * @param accm bit n: control character n is escaped
 */
export function encodeHdlc(frame: Uint8Array, accm: number): Uint8Array {
  const map = accmFor(frame, accm);
  const out = new Uint8Array(2 * (frame.length + FCS_SIZE) + 2);
  let at = 0;
  const put = (byte: number) => {
    const isMapped = byte < CONTROLS && ((map >>> byte) & 1) !== 0;
    if (isMapped || byte === FLAG || byte === ESCAPE) {
      out[at++] = ESCAPE;
      out[at++] = byte ^ FLIP;
    } else out[at++] = byte;
  };
  out[at++] = FLAG;
  let sum = FCS_START;
  for (const byte of frame) {
    sum = step(sum, byte);
    put(byte);
  }
  put((sum ^ 0xffff) & 0xff);
  put((sum ^ 0xffff) >>> 8);
  out[at++] = FLAG;
  return out.subarray(0, at);
}

/** What became of a line's frames; the words of WAN-Error-Notify (RFC 2637 section 2.14). */
export interface HdlcCounters {
  frames: number;
  crcErrors: number;
  /** Too short, or given up by the sender (an escape before a flag). */
  framingErrors: number;
  /** Longer than the buffer. */
  bufferOverruns: number;
}

export class HdlcDecoder {
  /**
   * Control characters that the line itself may put in between: they are taken out where the sender
   * would have escaped its own. None by default: a TCP connection or pty adds nothing, and the
   * peer's map is not known to who only carries its frames.
   */
  accm = 0;
  readonly counters: HdlcCounters = {
    ...{ frames: 0, crcErrors: 0, framingErrors: 0, bufferOverruns: 0 },
  };
  readonly #buffer: Uint8Array;
  #length = 0;
  #sum = FCS_START;
  #isEscaped = false;
  /** What came before the first flag, or after too much, belongs to no frame. */
  #isLost = true;

  /**
   * @param limit bytes of the longest frame, without FCS
   * @param onFrame gets each good frame without FCS, a copy of its own
   */
  constructor(
    limit: number,
    private readonly onFrame: (frame: Uint8Array) => void,
  ) {
    this.#buffer = new Uint8Array(limit + FCS_SIZE);
  }

  /** Bytes as they came from the line. */
  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte === FLAG) this.#flag();
      else if (!this.#isLost && !this.#isNoise(byte)) this.#take(byte);
    }
  }

  #isNoise(byte: number): boolean {
    return byte < CONTROLS && ((this.accm >>> byte) & 1) !== 0;
  }

  #take(byte: number): void {
    if (byte === ESCAPE && !this.#isEscaped) {
      this.#isEscaped = true;
      return;
    }
    if (this.#length === this.#buffer.length) {
      this.counters.bufferOverruns += 1;
      this.#isLost = true;
      return;
    }
    const value = this.#isEscaped ? byte ^ FLIP : byte;
    this.#isEscaped = false;
    this.#buffer[this.#length++] = value;
    this.#sum = step(this.#sum, value);
  }

  #flag(): void {
    const { counters } = this;
    const length = this.#length - FCS_SIZE;
    const isGood = this.#sum === FCS_GOOD;
    const [isLost, isEscaped] = [this.#isLost, this.#isEscaped];
    const isEmpty = this.#length === 0 && !isEscaped;
    this.#length = 0;
    this.#sum = FCS_START;
    this.#isEscaped = false;
    this.#isLost = false;
    // Between two frames there may be any number of flags.
    if (isLost || isEmpty) return;
    if (isEscaped || length <= 0) counters.framingErrors += 1;
    else if (!isGood) counters.crcErrors += 1;
    else {
      counters.frames += 1;
      this.onFrame(this.#buffer.slice(0, length));
    }
  }
}
