// GRE, RFC 2784 and 2890, over IPv4 and IPv6 (RFC 7676): IPv4, IPv6 or Ethernet inside. Needs a raw
// socket of IP protocol 47. We send IP, and Ethernet to a peer whose VTEP's MAC address is known.
// Its session is the sequence numbers, where they are on. No clock.
import { equal } from "../bytes";
import * as checksum from "../checksum";
import * as frame from "../frame";
import * as neighbour from "../neighbour";
import * as output from "../output";
import * as peers from "../peers";
import * as sequence from "../sequence";
import { Drop } from "../shared/drop";
import { D_ADDRESS, D_LENGTH, PROTOCOL_GRE } from "../shared/layout";
import {
  KEY_ALSO,
  KEY_FIRST,
  KEY_NONE,
  P_KEY,
  P_KEY_ALSO,
  P_KEYS,
  P_OVERHEAD,
  P_SESSION,
  P_TEMPLATE,
} from "../shared/tables";
import { isLeftTcp } from "../unfinished";
import * as ethernet from "../wire/ethernet";
import * as gre from "../wire/gre";

/** Fills in what differs per packet, of header and payload together `length` bytes at `at`. */
function finish(peer: usize, at: usize, length: u32): void {
  const flags = gre.flags(at);
  if (flags & gre.HAS_SEQUENCE) {
    gre.setSequence(at, flags, sequence.next(load<u32>(peer, P_SESSION)));
  }
  if (flags & gre.HAS_CHECKSUM) {
    gre.setChecksum(at, checksum.finish(checksum.partial(at, length, 0)));
  }
}

/** Writes the headers before the packet of `length` bytes at `innerAt`. */
export function encap(peer: usize, innerAt: usize, length: u32): void {
  const outer: u32 = load<u8>(peer, P_OVERHEAD);
  const at = innerAt - outer;
  checksum.copy(at, peers.templateBase(peer, load<u8>(innerAt)) + P_TEMPLATE, outer);
  finish(peer, at, outer + length);
}

/**
 * Whether every bit that the checksum covers, header and payload, is as it was sent. The kernel's
 * GRO has checked that of each segment of TCP that it joins, and leaves us the first one's.
 */
function isIntact(at: usize, length: u32, header: u32): bool {
  if (checksum.partial(at, length, 0) === 0xffff) return true;
  const frame: u32 = gre.type(at) === ethernet.TYPE_FRAME ? ethernet.SIZE : 0;
  return length > header + frame && isLeftTcp(at + header + frame, length - header - frame);
}

/** Whether the key is one of those agreed, or there is none where none may be. */
function hasOurKey(peer: usize, at: usize, flags: u32): bool {
  const accepted: u32 = load<u8>(peer, P_KEYS);
  if ((flags & gre.HAS_KEY) === 0) return (accepted & KEY_NONE) !== 0;
  const key = gre.key(at, flags);
  if ((accepted & KEY_FIRST) !== 0 && key === load<u32>(peer, P_KEY)) return true;
  return (accepted & KEY_ALSO) !== 0 && key === load<u32>(peer, P_KEY_ALSO);
}

/** Checks the optional fields of a header that is there; 0 or -Drop. */
function checkFields(peer: usize, at: usize, length: u32, flags: u32): i32 {
  const isSummed = (flags & gre.HAS_CHECKSUM) !== 0;
  if (isSummed && !isIntact(at, length, gre.length(flags))) return -Drop.BAD_CHECKSUM;
  if (!hasOurKey(peer, at, flags)) return -Drop.WRONG_KEY;
  const session: usize = load<u32>(peer, P_SESSION);
  // Numbers that nobody asked for say nothing.
  if (session === 0 || !(flags & gre.HAS_SEQUENCE)) return 0;
  return sequence.accept(session, gre.sequence(at, flags)) ? 0 : -Drop.OLD_SEQUENCE;
}

/**
 * Takes a frame out. The answer to a question in it begins with the peer's template, and is the
 * underlay's newest output: its fields are filled in there.
 */
function ofFrame(peerIndex: u32, peer: usize, at: usize, length: u32, header: u32): i32 {
  const own = frame.ownHeader(peer, PROTOCOL_GRE, gre.length(load<u8>(peer, P_TEMPLATE)));
  const offset = frame.decap(peerIndex, peer, at, length, header, own);
  if (offset !== neighbour.ANSWERED) return offset;
  const answer = output.latestToWire();
  const answerAt: usize = load<u32>(answer, D_ADDRESS);
  gre.setType(answerAt, ethernet.TYPE_FRAME);
  finish(peer, answerAt, load<u32>(answer, D_LENGTH));
  return offset;
}

/**
 * Checks the headers of the packet at `at`. Returns the offset of the inner IP packet,
 * neighbour.ANSWERED when it was a question that has been answered, or -Drop.
 */
export function decap(peerIndex: u32, peer: usize, at: usize, length: u32): i32 {
  if (length < gre.SIZE) return -Drop.TOO_SHORT;
  // Version 1, PPTP's, comes by the same socket: its calls are to be looked up here.
  if (gre.version(at) !== 0) return -Drop.BAD_VERSION;
  const flags = gre.flags(at);
  if (gre.isRouted(flags)) return -Drop.BAD_FLAGS;
  const header = gre.length(flags);
  if (length < header) return -Drop.TOO_SHORT;
  const wrong = checkFields(peer, at, length, flags);
  if (wrong !== 0) return wrong;
  const type = gre.type(at);
  if (type === ethernet.TYPE_FRAME) return ofFrame(peerIndex, peer, at, length, header);
  const refused = frame.payload(at + header, type, length - header);
  return refused === 0 ? <i32>header : refused;
}

/** Whether equal headers always mean the same: without checksum and number, which do not. */
export function isStateless(at: usize): bool {
  return (gre.flags(at) & (gre.HAS_CHECKSUM | gre.HAS_SEQUENCE)) === 0;
}

/** Whether `outer` bytes of headers at both places are equal, and no packet's own. */
export function isRepeated(a: usize, b: usize, outer: u32): bool {
  if (!isStateless(a) || load<u32>(a) !== load<u32>(b)) return false;
  return outer === gre.SIZE || equal(a, b, outer);
}
