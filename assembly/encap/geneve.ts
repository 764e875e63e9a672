// Geneve, RFC 8926: Ethernet or IP inside on receipt, Ethernet on send, as Linux' devices do it.
// Needs a UDP socket; no session, no clock. We know no option: none is sent, those that may be
// skipped are. Outer checksums are the kernel's: it sends them, and drops what fails its check.
import { equal } from "../bytes";
import * as frame from "../frame";
import * as network from "../network";
import { Drop } from "../shared/drop";
import { GENEVE_OVERHEAD, PROTOCOL_GENEVE } from "../shared/layout";
import * as ethernet from "../wire/ethernet";
import * as geneve from "../wire/geneve";

/** Bytes before the inner IP packet, in a datagram that we send. */
export const OVERHEAD: u32 = GENEVE_OVERHEAD;

/** Writes the headers before the packet at `innerAt`. */
export function encap(peer: usize, innerAt: usize): void {
  frame.write(peer, innerAt);
}

/** Walks the options in front of `end`: 0, or -Drop where they forbid to go on. */
function checkOptions(at: usize, end: usize): i32 {
  while (at < end) {
    // All lengths are multiples of 4: one option's header is there.
    if (geneve.isCritical(at)) return -Drop.UNKNOWN_OPTION;
    at += geneve.optionLength(at);
  }
  return at === end ? 0 : -Drop.BAD_OPTIONS;
}

/** Checks header and options; 0 or -Drop. `header` is their length. */
function checkHeader(peer: usize, at: usize, header: u32): i32 {
  if (geneve.version(at) !== 0) return -Drop.BAD_VERSION;
  if (geneve.isControl(at)) return -Drop.CONTROL_PACKET;
  if (!network.isAccepted(peer, geneve.vni(at))) return -network.reason(peer);
  return checkOptions(at + geneve.SIZE, at + header);
}

/** Whether the headers, which are there, are as our own ones and no question: most are. */
function isPlain(peer: usize, at: usize): bool {
  if (!geneve.isBare(at) || !network.isAccepted(peer, geneve.vni(at))) return false;
  return frame.isPlain(at + geneve.SIZE);
}

/** As `decap`, of whatever is not plain. */
function decapOther(peerIndex: u32, peer: usize, at: usize, length: u32): i32 {
  if (length < geneve.SIZE) return -Drop.TOO_SHORT;
  const header = geneve.length(at);
  if (length < header) return -Drop.TOO_SHORT;
  const wrong = checkHeader(peer, at, header);
  if (wrong !== 0) return wrong;
  const type = geneve.type(at);
  if (type === ethernet.TYPE_FRAME) {
    const own = frame.ownHeader(peer, PROTOCOL_GENEVE, geneve.SIZE);
    return frame.decap(peerIndex, peer, at, length, header, own);
  }
  const refused = frame.payload(at + header, type, length - header);
  return refused === 0 ? <i32>header : refused;
}

/**
 * Checks the headers of the datagram at `at`. Returns the offset of the inner IP packet,
 * neighbour.ANSWERED when it was a question that has been answered, or -Drop.
 */
export function decap(peerIndex: u32, peer: usize, at: usize, length: u32): i32 {
  if (length > OVERHEAD && isPlain(peer, at)) return OVERHEAD;
  return decapOther(peerIndex, peer, at, length);
}

/**
 * Whether `outer` bytes of headers at both places are equal: the options' length among them, so
 * that the inner packet begins at the same place.
 */
export function isRepeated(a: usize, b: usize, outer: u32): bool {
  return equal(a, b, outer);
}
