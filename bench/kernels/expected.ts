// What the C twins of decapsulation (native/tunnel.c, struct expected) compare with: node 1 of a
// mesh of two, as the test support makes it.
import { Drop } from "../../assembly/shared/drop.js";
import { macOf, pod4, VNI } from "../../test/support/nodes.js";

const REASONS = [
  ...[Drop.BAD_FLAGS, Drop.WRONG_VNI, Drop.NOT_IP, Drop.BAD_IP_VERSION, Drop.BROADCAST],
  ...[Drop.MULTICAST, Drop.WRONG_MAC, Drop.TOO_SHORT, Drop.BAD_VERSION, Drop.CONTROL_PACKET],
  ...[Drop.UNKNOWN_OPTION, Drop.BAD_OPTIONS],
];

/** First 24 bits of a node's IPv4 prefix. */
const prefixOf = (node: number) =>
  pod4(node, 0).reduce((value, byte) => value * 256 + byte, 0) / 256;

/** The struct's bytes. */
export function expected(): Uint8Array {
  const words = [...REASONS, prefixOf(1), prefixOf(2)];
  const out = new DataView(new ArrayBuffer(12 + 4 * words.length));
  out.setUint32(0, VNI, true);
  macOf(1).forEach((byte, index) => {
    out.setUint8(4 + index, byte);
  });
  words.forEach((word, index) => {
    out.setUint32(12 + 4 * index, word, true);
  });
  return new Uint8Array(out.buffer);
}
