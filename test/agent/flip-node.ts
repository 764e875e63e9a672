// Node 1 of three while the mesh's encapsulation changes: records in, questions and tables out, on
// a clock of the test.
import * as assert from "uvu/assert";
import { PROBE_KIND_AT, PROBE_REPLY } from "../../assembly/shared/layout.js";
import type { MeshConfig } from "../../control/index.js";
import { Flips, type FlipsOptions } from "../../src/agent/flips.js";
import type { Form } from "../../src/agent/plan/forms.js";
import { plan } from "../../src/agent/plan/plan.js";
import type { Plan } from "../../src/agent/plan/types.js";
import { facts, mesh, node, nodeIdOf } from "./mesh-records.js";

export const VXLAN: Form = { protocol: "vxlan", port: 8472, vni: 1 };
export const GENEVE: Form = { protocol: "geneve", port: 6081, vni: 1 };
export const GRE: Form = {
  ...{ protocol: "gre", port: 0 },
  ...{ greKey: null, greChecksum: false, greSequence: false },
};
const UDP_HEADER = 8;
export const IPIP: Form = { protocol: "ipip", port: 0 };

/** Node 1 of three, which all speak vxlan and say so. */
export class Node1 {
  now_ms = 1_000_000;
  readonly snapshot = mesh(3);
  readonly asked: { packet: Uint8Array; index: number }[] = [];
  changes = 0;
  canAsk = true;
  flips: Flips;
  made: Plan;

  constructor() {
    for (const index of [1, 2, 3]) this.say(index, [VXLAN], [VXLAN]);
    this.flips = this.start();
    this.made = this.apply();
  }

  /** The mesh's setting is geneve by now, and these peers have announced that they receive it. */
  static changing(...peers: number[]): Node1 {
    const one = new Node1();
    one.set("geneve");
    for (const peer of peers) one.say(peer, [GENEVE, VXLAN], [VXLAN]);
    return one;
  }

  start(saved?: FlipsOptions["saved"]): Flips {
    const flips = new Flips({
      ask: (packet, index) => {
        if (this.canAsk) this.asked.push({ packet, index });
        return this.canAsk;
      },
      now: () => this.now_ms,
      ...(saved === undefined ? {} : { saved }),
    });
    flips.onChange = () => {
      this.changes++;
    };
    return flips;
  }

  /** What another node's record says. */
  say(index: number, receives: Form[], sends: Form[]): void {
    const protocols = ["vxlan", "geneve", "ipip"];
    this.snapshot.nodes.set(nodeIdOf(index), node(index, { protocols, receives, sends }));
  }

  set(tunnelProtocol: MeshConfig["tunnelProtocol"], words: Partial<MeshConfig> = {}): void {
    this.snapshot.config = { ...this.snapshot.config, tunnelProtocol, ...words };
  }

  /** The other two receive these forms, and send the first of `sends`. */
  others(receives: Form[], sends: Form[]): void {
    for (const index of [2, 3]) this.say(index, receives, sends);
  }

  /** Both others answer in the next form, and its tables are in force. */
  flip(): void {
    for (const [at, entry] of (this.made.tables?.peers ?? []).entries()) {
      if (entry.shadow === true) this.answer(at);
    }
    this.apply();
  }

  apply(): Plan {
    const change = this.flips.facts(this.snapshot, nodeIdOf(1));
    this.made = plan({ snapshot: this.snapshot, local: facts(1), change });
    this.flips.applied(this.made);
    return this.made;
  }

  /** Seconds go by, each with its beat. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.now_ms += 1000;
      this.flips.tick();
    }
  }

  /** The peer answers the question that was asked last by the table's entry `index`. */
  answer(index: number): boolean {
    const question = this.asked.findLast((one) => one.index === index);
    assert.ok(question !== undefined, `nobody asked by entry ${index}`);
    return this.flips.onPunt(replyTo(question.packet));
  }

  entry(index: number) {
    return this.made.tables?.peers[index];
  }
}

/** As the peer's hot path turns a request round: addresses and kind; nothing else is looked at. */
export function replyTo(request: Uint8Array): Uint8Array {
  const reply = Uint8Array.from(request);
  const isFour = (request[0] ?? 0) >> 4 === 4;
  const [at, size, header] = isFour ? [12, 4, 20] : [8, 16, 40];
  reply.set(request.subarray(at + size, at + 2 * size), at);
  reply.set(request.subarray(at, at + size), at + size);
  reply[header + UDP_HEADER + PROBE_KIND_AT] = PROBE_REPLY;
  return reply;
}
