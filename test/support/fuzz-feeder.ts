// Feeds the hot path for the fuzz test: whole packets of the fuzz mesh, and every way of spoiling
// them that the hot path must survive. Counts what was fed for each encapsulation.
import { D_CAPACITY, D_LENGTH, SOCKET_MIXED } from "../../assembly/shared/layout.js";
import type { ProtocolName } from "../../src/datapath/types.js";
import type { Damage, FuzzDriver, WireMeta } from "./fuzz-driver.js";
import { type Egress, FuzzInputs, type Ingress, mutated } from "./fuzz-inputs.js";
import {
  type FuzzPeer,
  metaOf,
  PEERS,
  PLAIN_VNET,
  SELF_NET,
  socketsOf,
  vnetOf,
  wrap,
} from "./fuzz-mesh.js";
import { Kept } from "./kept.js";
import { concat } from "./packets.js";
import type { Random } from "./random.js";

const IPIP_PEERS = PEERS.filter(({ protocol }) => protocol === "ipip");

/** Inputs fed for one encapsulation, whole or spoiled; what is made for no peer is not counted. */
export interface FedCounts {
  /** To TUN, for its peers: packets or super-packets. */
  tun: number;
  /** At each of its sockets: datagrams or trains. */
  wire: number[];
}

export class FuzzFeeder {
  readonly inputs: FuzzInputs;
  readonly #egress: Kept<Egress>;
  readonly #ingress: Kept<Ingress>;
  readonly #strayOut: Kept<{ peer: FuzzPeer; packet: Uint8Array }>;
  readonly #strayIn: Kept<{ peer: FuzzPeer; meta: WireMeta; bytes: Uint8Array }>;

  readonly #lone: Kept<{ meta: WireMeta; question: Uint8Array; probe: Uint8Array }>;
  readonly #whole: Kept<{ meta: WireMeta; bytes: Uint8Array }>;
  readonly #tunFed = new Map<ProtocolName, number>();
  readonly #wireFed = new Array<number>(SOCKET_MIXED + 1).fill(0);

  constructor(
    readonly random: Random,
    protocol: ProtocolName,
  ) {
    const inputs = new FuzzInputs(random, protocol);
    this.inputs = inputs;
    this.#egress = new Kept(random, () =>
      random.once(3) ? inputs.egressSuper() : inputs.egressSingle(),
    );
    this.#ingress = new Kept(random, () =>
      random.once(3) ? inputs.ingressTrain() : inputs.ingressSingle(),
    );
    this.#strayOut = new Kept(random, () => {
      const peer = inputs.peer();
      return { peer, packet: inputs.build(inputs.strayOptions(SELF_NET, peer.net)) };
    });
    this.#strayIn = new Kept(random, () => {
      const peer = inputs.peer();
      const options = inputs.strayOptions(peer.net, SELF_NET);
      const bytes = wrap(peer, inputs.build(options));
      return { peer, meta: metaOf(peer, options.version), bytes };
    });
    this.#lone = new Kept(random, () => {
      const peer = inputs.peer();
      const probe = wrap(peer, inputs.probe(peer));
      return { meta: metaOf(peer), question: inputs.question(peer), probe };
    });
    this.#whole = new Kept(random, () => inputs.whole(random.pick(IPIP_PEERS)));
  }

  fed(protocol: ProtocolName): FedCounts {
    const wire = socketsOf(protocol).map((socket) => this.#wireFed[socket] ?? 0);
    return { tun: this.#tunFed.get(protocol) ?? 0, wire };
  }

  /** Feeds what is for a peer to TUN. */
  #toTun(
    driver: FuzzDriver,
    made: { peer: FuzzPeer; vnet: Uint8Array; packet: Uint8Array },
    damage?: Damage,
  ): void {
    const { protocol } = made.peer;
    this.#tunFed.set(protocol, (this.#tunFed.get(protocol) ?? 0) + 1);
    driver.feedTun(made.vnet, made.packet, damage);
  }

  #toWire(driver: FuzzDriver, bytes: Uint8Array, meta: WireMeta, damage?: Damage): void {
    const socket = meta.socket ?? 0;
    this.#wireFed[socket] = (this.#wireFed[socket] ?? 0) + 1;
    driver.feedWire(bytes, meta, damage);
  }

  /** Feeds a well-formed input to TUN; the packets that must come out at the underlay. */
  feedTun(driver: FuzzDriver): Uint8Array[] {
    const { random, inputs } = this;
    const made = random.once(4) ? inputs.egressSuper() : inputs.egressSingle();
    this.#toTun(driver, made);
    return made.expected;
  }

  /** Feeds a well-formed input to the underlay side; the packets that must come out at TUN. */
  feedWire(driver: FuzzDriver): Uint8Array[] {
    const { random, inputs } = this;
    const made = random.once(3) ? inputs.ingressTrain() : inputs.ingressSingle();
    this.#toWire(driver, made.bytes, made.meta);
    return made.expected;
  }

  /** Gives the hot path a packet of the control side's, or noise. */
  inject(driver: FuzzDriver): void {
    const { random } = this;
    const { packet } = this.#strayOut.draw();
    driver.inject(random.once(2) ? packet : random.bytes(random.between(0, 99)));
  }

  /** Feeds one spoiled input to TUN. */
  spoilTun(driver: FuzzDriver): void {
    const { random } = this;
    const good = this.#egress.draw();
    const stray = () => this.#strayOut.draw();
    const damage: Damage = (view, at) => {
      const length = random.pick([0, 9, 10, 11, 29, 65_792, 70_000, 2 ** 32 - 1]);
      view.setUint32(at + random.pick([D_LENGTH, D_CAPACITY]), length, true);
    };
    const feeds: (() => void)[] = [
      () => this.#toTun(driver, { ...good, packet: mutated(random, good.packet) }),
      () => this.#toTun(driver, { ...good, vnet: mutated(random, good.vnet).slice(0, 10) }),
      () => this.#toTun(driver, { ...good, vnet: random.bytes(10) }),
      () => this.#toTun(driver, { ...stray(), vnet: random.bytes(10) }),
      () => this.#toTun(driver, { ...stray(), vnet: PLAIN_VNET }),
      () => driver.feedTun(PLAIN_VNET, random.bytes(random.between(0, 200))),
      () => this.#toTun(driver, good, damage),
      () => {
        const vnet = vnetOf(random.pick([1, 4, 5]), 0, random.between(0, 60), 20, 16);
        this.#toTun(driver, { ...stray(), vnet });
      },
    ];
    random.pick(feeds)();
  }

  /** Feeds one spoiled input to the underlay side. */
  spoilWire(driver: FuzzDriver): void {
    const { random } = this;
    const good = this.#ingress.draw();
    const mutate = (bytes: Uint8Array) => mutated(random, bytes);
    const stray = () => this.#strayIn.draw();
    const lone = () => this.#lone.draw();
    const feed = (bytes: Uint8Array, meta: WireMeta) => this.#toWire(driver, bytes, meta);
    const damage: Damage = (view, at) => {
      const length = random.pick([0, 7, 8, 21, 22, 23, 41, 65_792, 70_000, 2 ** 32 - 1]);
      view.setUint32(at + random.pick([D_LENGTH, D_CAPACITY]), length, true);
    };
    const patched = (at: number, value: number) => {
      const copy = Uint8Array.from(good.bytes);
      copy[at] = value;
      return copy;
    };
    const feeds: (() => void)[] = [
      () => feed(mutate(good.bytes), good.meta),
      () => feed(good.bytes, { ...good.meta, tos: random.between(0, 255) }),
      () => {
        const segment = random.between(0, good.bytes.length + 9);
        feed(good.bytes, { ...good.meta, segment });
      },
      () => feed(good.bytes, { ...good.meta, segment: random.between(1, 60) }),
      () => feed(good.bytes, { ...good.meta, flags: 1 }),
      () => {
        const { before = random.bytes(20) } = good.meta;
        feed(good.bytes, { ...good.meta, before: mutate(before) });
      },
      () => feed(good.bytes, { ...good.meta, socket: random.between(1, 7) }),
      () => feed(good.bytes, { ...good.meta, from: random.bytes(16) }),
      () => feed(good.bytes, { ...good.meta, family: random.pick([0, 4, 6, 255]) }),
      () => feed(patched(random.between(4, 6), random.bits() & 255), good.meta),
      () => feed(patched(0, random.bits() & 255), good.meta),
      () => feed(patched(random.between(8, 21), random.bits() & 255), good.meta),
      () => {
        const { bytes, meta } = stray();
        feed(bytes, meta);
      },
      () => {
        const { bytes, meta } = stray();
        feed(concat(bytes, bytes, bytes), { ...meta, segment: bytes.length });
      },
      () => {
        const { question, probe, meta } = lone();
        const bytes = random.once(2) ? question : probe;
        feed(random.once(2) ? bytes : mutate(bytes), meta);
      },
      () => feed(random.bytes(random.between(0, 300)), good.meta),
      () => {
        const whole = this.#whole.draw();
        feed(whole.bytes, whole.meta);
      },
      () => this.#toWire(driver, good.bytes, good.meta, damage),
    ];
    random.pick(feeds)();
  }
}
