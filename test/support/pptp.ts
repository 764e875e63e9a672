// Calls for tests of the hot path: the control thread's side on a module's memory, and packets as
// RFC 2637 section 4.1 and RFC 1661 section 2 draw them, built apart from the code under test.

import { SOCKET_GRE } from "../../assembly/shared/layout.js";
import type { CallEnd, CallSettings } from "../../src/datapath/call-types.js";
import { Calls } from "../../src/datapath/calls.js";
import { setCallsWorker } from "../../src/datapath/memory.js";
import type { TablePeer } from "../../src/datapath/types.js";
import type { Outputs, TestModule, WireInput, WireOutput } from "./module.js";
import { outerIpv4, peerOf, underlayOf } from "./nodes.js";
import { be16, be32, concat, setBe16, setBe32 } from "./packets.js";

/** The other end's id in all tests: no call of ours has it. */
export const PEER_ID = 0x1234;
export const PPTP_MTU = 1400;

/** An enhanced GRE packet; what is left out is not there. */
export function enhanced(
  callId: number,
  parts: { sequence?: number; ack?: number; payload?: Uint8Array; first?: number; type?: number },
): Uint8Array {
  const { sequence, ack, payload = new Uint8Array(0), type = 0x880b } = parts;
  const flags = (sequence === undefined ? 0 : 0x1000) | (ack === undefined ? 0 : 0x80);
  const header = new Uint8Array(8);
  setBe16(header, 0, parts.first ?? 0x2001 | flags);
  setBe16(header, 2, type);
  setBe16(header, 4, payload.length);
  setBe16(header, 6, callId);
  const words = [sequence, ack].flatMap((value) => {
    if (value === undefined) return [];
    const word = new Uint8Array(4);
    setBe32(word, 0, value);
    return [word];
  });
  return concat(header, ...words, payload);
}

/** A PPP frame of that protocol, with FF 03 and two bytes of protocol unless told otherwise. */
export function pppFrame(
  protocol: number,
  information: Uint8Array,
  form: { acfc?: boolean; pfc?: boolean } = {},
): Uint8Array {
  const head = form.acfc === true ? [] : [0xff, 0x03];
  const number = form.pfc === true ? [protocol] : [protocol >> 8, protocol & 255];
  return concat(Uint8Array.from([...head, ...number]), information);
}

/** A PPP frame with an IP packet. */
export function ipFrame(packet: Uint8Array, form: { acfc?: boolean; pfc?: boolean } = {}) {
  return pppFrame((packet[0] ?? 0) >> 4 === 6 ? 0x57 : 0x21, packet, form);
}

/** Fields of an enhanced GRE packet that we sent. */
export interface Parsed {
  callId: number;
  sequence: number | undefined;
  ack: number | undefined;
  payload: Uint8Array;
}

export function parseEnhanced(bytes: Uint8Array): Parsed {
  const flags = be16(bytes, 0);
  if ((flags & ~0x1080) !== 0x2001 || be16(bytes, 2) !== 0x880b) {
    throw new Error(`no enhanced GRE: ${Buffer.from(bytes.subarray(0, 8)).toString("hex")}`);
  }
  const hasSequence = (flags & 0x1000) !== 0;
  const hasAck = (flags & 0x80) !== 0;
  const ackAt = hasSequence ? 12 : 8;
  const payload = bytes.subarray(ackAt + (hasAck ? 4 : 0));
  if (payload.length !== be16(bytes, 4)) throw new Error("the payload's length is wrong");
  return {
    callId: be16(bytes, 6),
    sequence: hasSequence ? be32(bytes, 8) : undefined,
    ack: hasAck ? be32(bytes, ackAt) : undefined,
    payload,
  };
}

/** All enhanced GRE packets of a run, in order. */
export function parsed(wire: readonly WireOutput[]): Parsed[] {
  return wire.flatMap(({ datagrams }) => datagrams.map(parseEnhanced));
}

/** How packets come from a node: by its address, with the header that the raw socket hands over. */
export function fromNode(node: number): WireInput {
  return { from: underlayOf(node), socket: SOCKET_GRE, before: outerIpv4(47) };
}

/** The calls of a module's memory. */
export class CallRoom {
  readonly calls: Calls;
  readonly frames: { slot: number; frame: Uint8Array }[] = [];
  readonly events: number[] = [];
  readonly lost: number[] = [];

  constructor(readonly module: TestModule) {
    const { views, base } = module;
    setCallsWorker(views, base);
    this.calls = new Calls({
      ...views,
      worker: () => base,
      wake: () => undefined,
      onAddresses: () => undefined,
    });
    this.calls.onFrame((slot, frame) => this.frames.push({ slot, frame }));
    this.calls.onEvent((slot, event) => {
      (event === "lost-keys" ? this.lost : this.events).push(slot);
    });
  }

  /** Opens a call with a node; it is in phase "link" then. */
  open(node: number, end: Partial<CallEnd> = {}): { slot: number; localId: number } {
    const call = this.calls.reserve();
    this.calls.open(call.slot, {
      ...{ peerId: PEER_ID, address: underlayOf(node), window: 64, windowMode: "off" },
      ...end,
    });
    this.module.run();
    return call;
  }

  set(slot: number, settings: Partial<CallSettings>): void {
    this.calls.set(slot, settings);
    this.module.run();
  }

  /** Feeds packets of a call, each in a run of its own. */
  feed(callId: number, node: number, ...packets: Parameters<typeof enhanced>[1][]): Outputs[] {
    return packets.map((parts) => {
      this.module.feedWire(enhanced(callId, parts), fromNode(node));
      return this.run();
    });
  }

  run(): Outputs {
    const out = this.module.run();
    for (const { packet, kind, peer } of this.module.punts()) this.calls.take(packet, kind, peer);
    return out;
  }
}

/** A peer whose packets travel by a call, unencrypted unless told otherwise. */
export function callPeer(
  node: number,
  slot: number | null,
  changes: Partial<TablePeer> = {},
): TablePeer {
  const { mac: _mac, vni: _vni, ...rest } = peerOf(node, { protocol: "pptp", port: 0 });
  const pptp = { slot, encrypted: false, acfc: false, pfc: false };
  return { ...rest, mtu: PPTP_MTU, pptp, ...changes };
}
