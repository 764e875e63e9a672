// Judges what the hot path gives for the fuzz mesh: headers word by word, places, lengths and
// checksums of the inner packets, and their order in each flow.
import * as assert from "uvu/assert";
import { EGRESS, MAX_SEGMENTS, MAX_SEND } from "../../assembly/shared/layout.js";
import type { Output } from "./fuzz-driver.js";
import { FRAMED, type FuzzPeer, OUR_IDENTITY, ownOuterOf, PEERS, SELF_NET } from "./fuzz-mesh.js";
import { fault, shapeOf } from "./judge.js";
import { address4, address6, be16, be32, slowChecksum } from "./packets.js";
import { comparable, expand } from "./worker-room.js";

const REMOTE_NODE = 6;
const OWN_ADDRESSES = [address4(10, 244, SELF_NET, 1), address6(SELF_NET, 1)];

/** The datagrams of an underlay output. */
function datagramsOf(output: Output): Uint8Array[] {
  const { bytes, segment, segments } = output;
  assert.ok(segments >= 1 && segments <= MAX_SEGMENTS, `${segments} segments`);
  assert.ok(bytes.length <= MAX_SEND, `${bytes.length} bytes`);
  if (segments === 1) return [bytes.slice()];
  assert.is(Math.ceil(bytes.length / segment), segments, "segments announced");
  return Array.from({ length: segments }, (_, i) => bytes.slice(i * segment, (i + 1) * segment));
}

/** Judges an underlay output's headers; gives its inner packets. ARP answers are left out. */
export function innerOf(output: Output): Uint8Array[] {
  const peer = PEERS.find((p) => Buffer.compare(p.from, output.peer) === 0);
  if (peer === undefined) throw new Error("sent to nobody's address");
  const datagrams = datagramsOf(output);
  const overhead = peer.protocol === "gre" ? greOuter(datagrams) : ownOuterOf(peer);
  const carried = datagrams.reduce((sum, bytes) => sum + bytes.length - overhead, 0);
  assert.is(output.innerBytes, carried);
  if (peer.protocol === "udp" || peer.protocol === "ipip") return datagrams;
  return peer.protocol === "gre" ? inGre(peer, datagrams) : inFrames(peer, datagrams);
}

/** Bytes before the inner packet: an answer to ARP is a frame also to a peer that gets none. */
function greOuter(datagrams: Uint8Array[]): number {
  const [first] = datagrams.map((bytes) => greHeader(bytes));
  return first === undefined ? 0 : first.length + (first.type === 0x6558 ? 14 : 0);
}

function greHeader(bytes: Uint8Array): { length: number; type: number } {
  const words = [0x80, 0x20, 0x10].filter((bit) => ((bytes[0] ?? 0) & bit) !== 0).length;
  return { length: 4 + 4 * words, type: be16(bytes, 2) };
}

/** The next number that each peer must see. */
const numbers = new Map<FuzzPeer, number>();

/** Judges GRE headers word by word; the inner packets. */
function inGre(peer: FuzzPeer, datagrams: Uint8Array[]): Uint8Array[] {
  return datagrams.flatMap((bytes) => {
    const { checksum, key, sequence } = peer.gre;
    const flags = (checksum ? 0x80 : 0) | (key === null ? 0 : 0x20) | (sequence ? 0x10 : 0);
    assert.equal([bytes[0], bytes[1]], [flags, 0]);
    if (checksum) assert.is(slowChecksum(bytes), 0, "GRE's checksum");
    const keyAt = checksum ? 8 : 4;
    if (key !== null) assert.is(be32(bytes, keyAt), key);
    const { length, type } = greHeader(bytes);
    if (sequence) {
      const number = numbers.get(peer) ?? 0;
      assert.is(be32(bytes, length - 4), number, "numbers without a gap");
      numbers.set(peer, number + 1);
    }
    if (type !== 0x6558) {
      assert.is(type, (bytes[length] ?? 0) >> 4 === 6 ? 0x86dd : 0x0800);
      assert.not(peer.isFramed, "bare, to a peer that gets frames");
      return [bytes.subarray(length)];
    }
    return unframed(peer, bytes.subarray(length), peer.isFramed);
  });
}

/** The network number that a packet must have: agreed, or the identity of its source. */
function numberTo(peer: FuzzPeer, frame: Uint8Array): number {
  if (!peer.hasIdentity) return peer.vni;
  if (frame[12] === 8 && frame[13] === 6) return REMOTE_NODE;
  const isFour = frame[12] === 8;
  const source = Buffer.from(isFour ? frame.subarray(26, 30) : frame.subarray(22, 38));
  return OWN_ADDRESSES.some((own) => source.equals(own)) ? REMOTE_NODE : OUR_IDENTITY;
}

/** Judges VXLAN's and Geneve's headers; the inner packets. */
function inFrames(peer: FuzzPeer, datagrams: Uint8Array[]): Uint8Array[] {
  const head = peer.protocol === "vxlan" ? [8, 0, 0, 0] : [0, 0, 0x65, 0x58];
  return datagrams.flatMap((bytes) => {
    const number = numberTo(peer, bytes.subarray(FRAMED - 14));
    const expected = Buffer.from([...head, 0, number >> 8, number, 0]);
    assert.is(Buffer.compare(bytes.subarray(0, 8), expected), 0, peer.protocol);
    return unframed(peer, bytes.subarray(FRAMED - 14), true);
  });
}

/** Judges an Ethernet frame; the packet in it, or nothing when it is an answer to ARP. */
function unframed(peer: FuzzPeer, frame: Uint8Array, isForAll: boolean): Uint8Array[] {
  if (frame[12] === 8 && frame[13] === 6) return [];
  const packet = frame.subarray(14);
  // Neighbour advertisements go to the MAC that asked, all else to the peer's VTEP.
  if (isForAll && Buffer.compare(frame.subarray(0, 6), peer.mac) === 0) return [packet];
  const isAnswer = packet[6] === 58 && packet[40] === 136;
  if (!isAnswer) throw new Error("another VTEP's MAC");
  assert.is(fault(packet), undefined);
  return [packet];
}

/** As test/support's expand, for an output of the module. */
export function expandTun(output: Output): Uint8Array[] {
  return expand({
    ...{ address: output.address, segments: output.segments, innerBytes: output.innerBytes },
    ...{ vnet: output.bytes.subarray(0, 10), packet: output.bytes.subarray(10) },
    ...{ direction: output.direction, socket: output.socket, isInArena: true },
  });
}

/** A TCP checksum of FFFF says the same as 0: kernels complete it so, and so does the hot path. */
function withPlainZero(packet: Uint8Array, field: number): Uint8Array {
  const isOnes = packet[field] === 0xff && packet[field + 1] === 0xff;
  return isOnes ? Uint8Array.from(packet).fill(0, field, field + 2) : packet;
}

/** Flow -> its packets in order. */
function byFlow(packets: Uint8Array[]): Map<string, string[]> {
  const flows = new Map<string, string[]>();
  for (const packet of packets) {
    const shape = shapeOf(packet);
    if (typeof shape === "string") throw new Error(shape);
    const hasPorts = shape.protocol === 6 || shape.protocol === 17;
    const addresses = shape.version === 4 ? packet.slice(12, 20) : packet.slice(8, 40);
    const ports = hasPorts ? packet.slice(shape.offset, shape.offset + 4) : [];
    const key = `${shape.protocol} ${Buffer.from(addresses).toString("hex")} ${[...ports]}`;
    const plain = shape.protocol === 6 ? withPlainZero(packet, shape.offset + 16) : packet;
    flows.set(key, [...(flows.get(key) ?? []), comparable(plain)]);
  }
  return flows;
}

export function expectFlows(out: Uint8Array[], expected: Uint8Array[]): void {
  for (const packet of out) assert.is(fault(packet), undefined);
  const seen = byFlow(out);
  const wanted = byFlow(expected);
  assert.is(out.length, expected.length);
  for (const [key, packets] of wanted) assert.equal(seen.get(key), packets, `flow ${key}`);
}

const HEADER_FAULT = /IPv4 (header length|total)|IPv6 payload|version/;
const hex = (packet: Uint8Array) => Buffer.from(packet.slice(0, 100)).toString("hex");

/**
 * Outputs of spoiled inputs: what was made here is right, the rest at least what its header says.
 */
export function judgeSpoiled(tun: Output[], wire: Output[]): void {
  for (const output of tun) {
    const packets = expandTun(output);
    // What was joined here is judged where it is cut.
    if (packets.length > 1) continue;
    const isMade = output.direction === EGRESS;
    for (const packet of packets) {
      const wrong = fault(packet);
      // The transport of a lone packet off the wire is the receiver's to judge.
      const isWrong = isMade ? wrong !== undefined : HEADER_FAULT.test(wrong ?? "");
      if (isWrong) throw new Error(`${wrong}: ${hex(packet)}`);
    }
  }
  for (const output of wire) {
    for (const packet of innerOf(output)) {
      const wrong = fault(packet) ?? "";
      if (HEADER_FAULT.test(wrong)) throw new Error(`${wrong}: ${hex(packet)}`);
    }
  }
}
