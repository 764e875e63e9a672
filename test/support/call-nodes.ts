// Two datapaths with one PPTP call between them, over a wire that may be impaired: what a control
// connection and PPP would agree on is agreed here, by hand.
import type { CallEnd, CallStatistics } from "../../src/datapath/index.js";
import type { WireSettings } from "../../src/lab/wire/impairment.js";
import type { SpokenKeys } from "./datapath-host.js";
import { DatapathNode, type Engine } from "./datapath-node.js";
import { runSync, until } from "./netns.js";
import { configOf, type Host, type HostPair, makeHost, makeHostPair } from "./two-hosts.js";
import { TestWire } from "./wire.js";

export interface CallMeshOptions {
  workers?: number;
  /** Faults of the wire; a veth pair when left out. */
  wire?: WireSettings;
  /** MPPE both ways, required; none when left out. */
  mppe?: { bits: 40 | 56 | 128; stateful: boolean };
  end?: Partial<CallEnd>;
}

interface Side {
  own: Host;
  other: Host;
  node: DatapathNode;
  slot: number;
  localId: number;
}

/** LCP Echo-Request, RFC 1661 section 5.8. */
const ECHO = "c0210901000800000000";
const KEYS = ["00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"] as const;

/** Both ends on a wire with faults, in place of a veth pair. */
async function overWire(settings: WireSettings): Promise<{ pair: HostPair; wire: TestWire }> {
  const pair = { a: makeHost(1), b: makeHost(2) };
  const wire = await TestWire.start(pair.a.namespace, settings);
  runSync(pair.a.namespace, ["ip", "link", "set", wire.node, "netns", pair.b.namespace]);
  pair.a.veth = wire.network;
  pair.b.veth = wire.node;
  for (const { namespace, veth, underlay } of [pair.a, pair.b]) {
    runSync(namespace, ["ip", "address", "add", `${underlay[4]}/24`, "dev", veth]);
    runSync(namespace, ["ip", "link", "set", veth, "mtu", "1500", "up"]);
  }
  return { pair, wire };
}

export class CallMesh {
  private constructor(
    readonly pair: HostPair,
    readonly sides: readonly [Side, Side],
    private readonly options: CallMeshOptions,
    readonly wire: TestWire | undefined,
  ) {}

  /** Starts both and brings the call up, as far as that packets flow. */
  static async start(options: CallMeshOptions = {}, engine: Engine = {}): Promise<CallMesh> {
    const { pair, wire } = options.wire
      ? await overWire(options.wire)
      : { pair: makeHostPair(), wire: undefined };
    const sides: Side[] = [];
    try {
      for (const [own, other] of [
        [pair.a, pair.b],
        [pair.b, pair.a],
      ] as const) {
        const config = CallMesh.#config(own, other, options);
        const node = await DatapathNode.start(own.namespace, config, engine);
        sides.push({ own, other, node, slot: 0, localId: 0 });
      }
      const mesh = new CallMesh(pair, sides as [Side, Side] & Side[], options, wire);
      await mesh.#bringUp();
      return mesh;
    } catch (error) {
      await Promise.all(sides.map(({ node }) => node.stop()));
      await wire?.stop();
      throw error;
    }
  }

  static #config(own: Host, other: Host, options: CallMeshOptions, slot: number | null = null) {
    const { workers = 1, mppe } = options;
    const pptp = { slot, encrypted: mppe !== undefined, acfc: false, pfc: false };
    return configOf(own, other, { protocol: "pptp", workers, pptp });
  }

  async #bringUp(): Promise<void> {
    const [a, b] = this.sides;
    // Ids that differ: which of both stands in a header must show.
    await b.node.ask({ do: "call-reserve" });
    for (const side of [a, b]) {
      Object.assign(side, await side.node.ask<object>({ do: "call-reserve" }));
    }
    await this.#open(a, b);
    await this.#open(b, a);
    for (const side of [a, b]) await this.#greet(side, side === a ? b : a);
    for (const side of [a, b]) {
      await side.node.ask({ do: "call-set", slot: side.slot, settings: this.#settings(side) });
      const { contents } = CallMesh.#config(side.own, side.other, this.options, side.slot);
      await side.node.ask({ do: "publish", contents });
    }
  }

  async #open(own: Side, other: Side): Promise<void> {
    const end = {
      ...{ peerId: other.localId, address: other.own.underlay[4], window: 1024 },
      ...{ windowMode: "advertised" as const, ...this.options.end },
    };
    await own.node.ask({ do: "call-open", slot: own.slot, end });
  }

  /** Until the other has heard a frame: the wire may lose some. */
  async #greet(from: Side, to: Side): Promise<void> {
    await until("a frame came by the call", async () => {
      await from.node.ask({ do: "call-send", slot: from.slot, frame: ECHO });
      return to.node.events.some(({ event, frame }) => event === "frame" && frame === ECHO);
    });
  }

  #settings({ own }: Side) {
    const { mppe } = this.options;
    const keys = (side: number): SpokenKeys | null =>
      mppe === undefined ? null : { ...mppe, startKey: KEYS[side - 1] ?? "" };
    return {
      ...{ phase: "network" as const, requireMppe: mppe !== undefined },
      ...{ send: keys(own.side), receive: keys(3 - own.side) },
    };
  }

  statistics(side: 0 | 1): Promise<CallStatistics> {
    const { node, slot } = this.sides[side];
    return node.ask({ do: "call-statistics", slot });
  }

  async stop(): Promise<void> {
    await Promise.all(this.sides.map(({ node }) => node.stop()));
    await this.wire?.stop();
  }
}
