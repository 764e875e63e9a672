// A mesh of probers on a clock of its own: what the hot paths of the nodes would do with their
// questions and with data, and ways between them that can be cut, each direction by itself.
import { PROBE_HEARD_AT, PROBE_KIND_AT, PROBE_REPLY } from "../../assembly/shared/layout.js";
import type { PlannedPeer } from "../../src/agent/plan/types.js";
import { type PeerHealth, Prober } from "../../src/agent/probes.js";
import type { PeerSign } from "../../src/datapath/index.js";

/** Underlay and overlay address end in the node's number. */
const tail = (index: number) => `${index >> 8}.${index & 255}`;
export const overlayOf = (index: number) => `10.200.${tail(index)}`;
const PAYLOAD = 28;
/** Turns of nodes are no more at one time than those of real ones. */
export const STEP_MS = 50;
const TURN_STEPS = 1000 / STEP_MS;

export function member(index: number): PlannedPeer {
  return {
    name: `n${index}`,
    nodeId: `U${index}`,
    kind: "member",
    identity: null,
    address: `10.1.${tail(index)}`,
    form: { protocol: "vxlan", port: 8472, vni: 1 },
    prefixes: [`10.${index & 127}.0.0/24`],
    prefixWays: ["tunnel"],
    podCIDRs: [`10.${index & 127}.0.0/24`],
    probeAddresses: [overlayOf(index)],
    ways: { ipv4: "tunnel", ipv6: null },
  };
}

/** What the far node's hot path sends back: addresses swapped, kind set. */
export function answer(request: Uint8Array): Uint8Array {
  const reply = request.slice();
  const [at, size, start] = (request[0] ?? 0) >> 4 === 4 ? [12, 4, 20] : [8, 16, 40];
  reply.set(request.subarray(at + size, at + 2 * size), at);
  reply.set(request.subarray(at, at + size), at + size);
  const protocol = request[at === 12 ? 9 : 6];
  if (protocol === 17) reply[start + 8 + PROBE_KIND_AT] = PROBE_REPLY;
  else reply[start] = protocol === 1 ? 0 : 129;
  return reply;
}

/** What a hot path counted of each peer since it was read, by place in the tables. */
export class Signs {
  addresses: readonly string[];
  private noted = new Map<number, PeerSign>();

  constructor(peers: readonly PlannedPeer[]) {
    this.addresses = peers.map(({ address }) => address);
  }

  note(index: number | undefined, what: Partial<PeerSign>): void {
    if (index === undefined) return;
    const address = this.addresses[index] ?? "";
    const nothing = { index, address, isSent: false, isHeard: false, isAsked: false, said: null };
    this.noted.set(index, { ...nothing, ...this.noted.get(index), ...what });
  }

  read(): PeerSign[] {
    const signs = [...this.noted.values()];
    this.noted.clear();
    return signs;
  }
}

interface Node {
  prober: Prober;
  signs: Signs;
  /** Where a node stands among this one's peers. */
  places: Map<number, number>;
  asked: number;
  answered: number;
  events: string[];
}

export class World {
  now = 1000;
  readonly nodes = new Map<number, Node>();
  private readonly broken = new Set<string>();
  private readonly dead = new Set<number>();
  private readonly flows: [number, number][] = [];
  private readonly answers: [Prober, Uint8Array][] = [];
  private step = 0;

  /** `probing` of these nodes ask; the others answer alone. Older nodes say nothing of hearing. */
  constructor(
    private readonly count: number,
    private readonly probing = count,
    private readonly older: ReadonlySet<number> = new Set(),
  ) {
    for (let index = 0; index < count; index++) this.start(index);
  }

  /** The node begins anew, and knows nothing. */
  start(index: number): void {
    this.dead.delete(index);
    const others = [...Array(this.count).keys()].filter((one) => one !== index);
    const isAsking = index < this.probing;
    const peers = isAsking ? others.map(member) : [];
    const signs = new Signs(peers);
    const events: string[] = [];
    const prober = new Prober({
      inject: (packet) => this.carry(index, packet),
      signs: () => signs.read(),
      log: (event, { peer, toPeer, fromPeer } = {}) =>
        events.push(`${event} ${peer}: ${toPeer} ${fromPeer}`),
      now: () => this.now,
    });
    const places = new Map(isAsking ? others.map((one, at) => [one, at]) : []);
    this.nodes.set(index, { prober, signs, places, asked: 0, answered: 0, events });
    prober.setPeers([overlayOf(index)], peers);
  }

  node(index: number): Node {
    const node = this.nodes.get(index);
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }

  private passes(from: number, to: number): boolean {
    const isDead = this.dead.has(from) || this.dead.has(to);
    return !isDead && !this.broken.has(`${from} ${to}`);
  }

  private carry(from: number, packet: Uint8Array): boolean {
    const sender = this.node(from);
    sender.asked++;
    if (this.older.has(from)) packet[PAYLOAD + PROBE_HEARD_AT] = 0;
    const to = ((packet[18] ?? 0) << 8) | (packet[19] ?? 0);
    if (!this.passes(from, to)) return true;
    const there = this.node(to);
    const place = there.places.get(from);
    const said = packet[PAYLOAD + PROBE_HEARD_AT] ?? 0;
    there.signs.note(place, { isAsked: true, ...(said === 0 ? {} : { said }) });
    there.answered++;
    if (this.passes(to, from)) this.answers.push([sender.prober, answer(packet)]);
    return true;
  }

  /** Packets from host to host, ten times a second from now on, or no more. */
  flow(from: number, to: number, isOn = true): void {
    const at = this.flows.findIndex(([a, b]) => a === from && b === to);
    if (isOn && at < 0) this.flows.push([from, to]);
    if (!isOn && at >= 0) this.flows.splice(at, 1);
  }

  cut(from: number, to: number, isCut = true): void {
    if (isCut) this.broken.add(`${from} ${to}`);
    else this.broken.delete(`${from} ${to}`);
  }

  /** Neither says nor hears anything from now on, or does again; it knows what it knew. */
  kill(index: number, isDead = true): void {
    if (isDead) this.dead.add(index);
    else this.dead.delete(index);
  }

  /** Lets time pass. Each node has its turn once a second, not all at once. */
  run(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += STEP_MS;
      this.step++;
      for (const [from, to] of this.step % 2 === 0 ? this.flows : []) this.carryData(from, to);
      for (const [index, { prober }] of this.nodes) {
        const isTurn = (this.step + index * 7) % TURN_STEPS === 0;
        if (isTurn && index < this.probing && !this.dead.has(index)) prober.tick();
      }
      for (const [prober, packet] of this.answers.splice(0)) prober.onPunt(packet);
    }
  }

  private carryData(from: number, to: number): void {
    const [here, there] = [this.node(from), this.node(to)];
    if (this.dead.has(from)) return;
    here.signs.note(here.places.get(to), { isSent: true });
    if (this.passes(from, to)) there.signs.note(there.places.get(from), { isHeard: true });
  }

  health(at: number, of: number): PeerHealth {
    return this.node(at).prober.health(member(of));
  }

  /** What a node knows of another: reachable, to it, from it. */
  state(at: number, of: number): string {
    const { reachable, path } = this.health(at, of);
    return `${reachable} ${path.toPeer} ${path.fromPeer}`;
  }

  /** Milliseconds until it is so; fails after `most_ms`. */
  until(what: string, isSo: () => boolean, most_ms: number): number {
    const from = this.now;
    while (!isSo()) {
      if (this.now - from >= most_ms) throw new Error(`${what}: not within ${most_ms} ms`);
      this.run(STEP_MS);
    }
    return this.now - from;
  }
}
