// What the fuzz of PPTP calls feeds: enhanced GRE of calls in all phases, numbered as senders do it
// or not, with frames that are right, nearly right, or nothing at all; and what comes from TUN.
import { SOCKET_GRE } from "../../assembly/shared/layout.js";
import type { CallSettings, WindowMode } from "../../src/datapath/call-types.js";
import type { Calls } from "../../src/datapath/calls.js";
import type { TableContents, TablePeer } from "../../src/datapath/types.js";
import type { FuzzDriver, WireMeta } from "./fuzz-driver.js";
import { Kept } from "./kept.js";
import { StatelessTwin } from "./mppe.js";
import { contentsOf, outerIpv4, pod4, podPacket } from "./nodes.js";
import { concat, TCP, UDP } from "./packets.js";
import { callPeer, enhanced, ipFrame, pppFrame } from "./pptp.js";
import type { Random } from "./random.js";

const START_KEY = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i);
const FREE_RUN: Partial<CallSettings> = { phase: "network", requireMppe: false };

/** A call of the fuzz: how it is set, and where its random sender stands. */
export interface FuzzCall {
  node: number;
  slot: number;
  localId: number;
  peerId: number;
  settings: Partial<CallSettings>;
  windowMode: WindowMode;
  /** In the tables, with these changes; null: not there. */
  entry: Partial<TablePeer> | null;
  isEncrypted: boolean;
  next: number;
  twin: StatelessTwin;
}

const mppe = (stateful: boolean, bits: 40 | 128 = 128): Partial<CallSettings> => {
  const keys = { startKey: START_KEY, bits, stateful };
  return { phase: "network", requireMppe: true, receive: keys, send: keys };
};

type Kind = Pick<FuzzCall, "settings" | "windowMode" | "entry"> & { isEncrypted?: boolean };
const KINDS: readonly Kind[] = [
  { settings: FREE_RUN, windowMode: "off", entry: {} },
  { settings: FREE_RUN, windowMode: "strict", entry: {} },
  { settings: mppe(false), windowMode: "advertised", entry: {}, isEncrypted: true },
  { settings: mppe(true, 40), windowMode: "off", entry: {}, isEncrypted: true },
  { settings: { phase: "link" }, windowMode: "off", entry: {} },
  { settings: FREE_RUN, windowMode: "off", entry: null },
  { settings: FREE_RUN, windowMode: "off", entry: { dialsIn: true } },
  { settings: mppe(false), windowMode: "off", entry: { dialsIn: true }, isEncrypted: true },
  // The tables say that it is encrypted, and it is not yet.
  {
    settings: { phase: "network", requireMppe: true },
    windowMode: "off",
    entry: {},
    isEncrypted: true,
  },
];

/** The calls, each with a node of its own from node 10 on. */
export function openCalls(calls: Calls): FuzzCall[] {
  return KINDS.map((kind, i) => {
    const call = { ...calls.reserve(), node: 10 + i, peerId: 0x7000 + i, isEncrypted: false };
    return { ...call, ...kind, next: 0, twin: new StatelessTwin(START_KEY, 128) };
  });
}

/** Opens a call anew as it is meant to be, after whatever was done to it. */
export function begin(calls: Calls, call: FuzzCall): void {
  const { slot, peerId, node, windowMode, settings } = call;
  calls.open(slot, { peerId, address: `192.0.2.${node}`, window: 16, windowMode });
  calls.set(slot, settings);
  call.next = 0;
  call.twin = new StatelessTwin(START_KEY, 128);
}

export function contentsOfCalls(calls: readonly FuzzCall[]): TableContents {
  const peers = calls.flatMap(({ node, slot, entry, isEncrypted }) => {
    const pptp = { slot, encrypted: isEncrypted, acfc: node % 2 === 0, pfc: node % 3 === 0 };
    return entry === null ? [] : [callPeer(node, slot, { pptp, ...entry })];
  });
  return contentsOf(1, [2, ...peers]);
}

/** Makes the inputs of a run. */
export class CallFeeder {
  readonly #packets: Kept<Uint8Array>;

  constructor(
    readonly random: Random,
    readonly calls: readonly FuzzCall[],
  ) {
    this.#packets = new Kept(random, () => this.#packet());
  }

  #packet(): Uint8Array {
    const { random } = this;
    const nodes = [1, 2, ...this.calls.map(({ node }) => node)];
    const version = random.pick([4, 4, 6] as const);
    const most = random.once(6) ? 2500 : 300;
    return podPacket(version, random.pick(nodes), random.pick(nodes), {
      ...{ protocol: random.pick([TCP, UDP]), ttl: random.between(0, 5) },
      payload: random.bytes(random.between(0, most)),
    });
  }

  /** A frame as a sender would make it, or nearly. */
  #frame(call: FuzzCall): Uint8Array {
    const { random } = this;
    const form = { acfc: random.once(2), pfc: random.once(2) };
    const inner = random.once(2)
      ? podPacket(4, call.node, 1, { payload: random.bytes(random.between(0, 200)) })
      : this.#packets.draw();
    if (call.isEncrypted && random.once(16)) {
      return pppFrame(0xfd, call.twin.encrypt(ipFrame(inner, { acfc: true })), form);
    }
    if (random.once(2)) return ipFrame(inner, form);
    if (random.once(3)) return pppFrame(0xfd, concat(this.#count(), inner), form);
    const protocols = [0xc021, 0xc023, 0xc223, 0x8021, 0x80fd, 0x2d, 0x57, 0xfd, 0xc020];
    return pppFrame(random.pick(protocols), random.bytes(random.between(0, 40)), {
      acfc: form.acfc,
    });
  }

  #count(): Uint8Array {
    const { random } = this;
    return Uint8Array.of(random.pick([0x90, 0x10, 0x80, 0]) | random.between(0, 15), random.bits());
  }

  #number(call: FuzzCall): number {
    const { random } = this;
    if (random.once(200)) return random.bits();
    if (random.once(8)) return (call.next + random.between(-40, 40)) >>> 0;
    call.next = (call.next + 1) >>> 0;
    return call.next;
  }

  /** One packet of enhanced GRE, spoiled every now and then. */
  feedWire(driver: FuzzDriver): void {
    const { random } = this;
    const call = random.pick(this.calls);
    const callId = random.once(30) ? random.bits() & 0xffff : call.localId;
    const ack = random.once(2)
      ? {}
      : { ack: random.once(20) ? random.bits() : random.between(0, 99) };
    const packet = random.once(8)
      ? enhanced(callId, ack)
      : enhanced(callId, { ...ack, sequence: this.#number(call), payload: this.#frame(call) });
    const from = random.once(40) ? random.pick(this.calls).node : call.node;
    driver.feedWire(this.#spoil(packet), metaOf(from));
  }

  #spoil(packet: Uint8Array): Uint8Array {
    const { random } = this;
    if (!random.once(4)) return packet;
    if (random.once(3)) return packet.subarray(0, random.between(2, packet.length));
    const out = random.once(4)
      ? concat(packet, random.bytes(random.between(1, 30)))
      : packet.slice();
    for (let i = random.between(1, 3); i > 0; i--) {
      const at = random.once(2) ? random.between(0, 24) : random.between(0, out.length - 1);
      out[at % out.length] = random.bits();
    }
    // Another version is not PPTP's, and another suite's.
    out[1] = ((out[1] ?? 0) & ~7) | 1;
    return out;
  }

  feedTun(driver: FuzzDriver): void {
    const { random } = this;
    const node = random.pick(this.calls).node;
    const size = random.between(20, 300);
    const payload = random.bytes(random.once(4) ? size * random.between(1, 20) : size);
    const packet = podPacket(4, 1, node, { protocol: TCP, payload, destination: pod4(node, 9) });
    const isLarge = payload.length > size;
    const vnet = new Uint8Array(10);
    const view = new DataView(vnet.buffer);
    view.setUint8(0, isLarge ? 1 : 0);
    view.setUint8(1, isLarge ? 1 : 0);
    [40, size, 20, 16].forEach((value, i) => {
      view.setUint16(2 + 2 * i, isLarge ? value : 0, true);
    });
    driver.feedTun(vnet, packet);
  }
}

function metaOf(node: number): WireMeta {
  const from = new Uint8Array(16);
  from.set([192, 0, 2, node]);
  return { from, family: 4, socket: SOCKET_GRE, before: outerIpv4(47) };
}
