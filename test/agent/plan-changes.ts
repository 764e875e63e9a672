// A mesh that changes at random, one record at a time, for suites that follow it: healthy changes,
// and everything that makes plan leave something out.
import type { MeshConfig, MeshSnapshot, NodeRecord } from "../../control/index.js";
import { Lineage } from "../../control/lineage.js";
import { type ChangeFacts, meshForm } from "../../src/agent/plan/forms.js";
import type { PlanInput } from "../../src/agent/plan/types.js";
import type { CallFact } from "../../src/calls/index.js";
import type { Random } from "../support/random.js";
import { facts, lease, member, mesh, node, nodeIdOf, staticPeer } from "./mesh-records.js";

const PREFIXES = ["10.9.0.0/16", "10.9.1.0/24", "10.244.3.0/25", "10.0.0.0/8", "192.168.77.0/28"];

const CALL: CallFact = {
  ...{ slot: 3, kind: "dial-in", nodeId: null, name: "alice", address: "203.0.113.9" },
  ...{ local: "10.244.1.0", remote: "10.244.1.254", routes: [], mtu: 1396 },
  ...{ encrypted: true, acfc: true, pfc: false },
};

/** Settings that members and peers are planned by, each with values to try. */
const SETTINGS: { [name in keyof MeshConfig]?: MeshConfig[name][] } = {
  tunnelProtocol: ["vxlan", "vxlan", "geneve", "gre", "ipip", "udp", "pptp"],
  routingMode: ["tunnel", "tunnel", "native"],
  encapMode: ["always", "crossSubnet"],
  autoDirectNodeRoutes: [false, true],
  ipv4NativeRoutingCIDR: [null, "10.244.0.0/16", "10.244.4.0/24"],
  vni: [1, 7, "identity"],
  mtu: ["auto", 1300, 9000],
  dscp: ["inherit", 46],
  udpChecksum: [true, false],
  masquerade: [true, false],
  tunnelPort: [0, 9999],
  greSequence: [false, true],
  clusterPoolIPv6PodCIDR: ["fd00:244::/48", null],
};

const mapKinds = ["members", "nodes", "leases", "claims", "peers"] as const;
type MapKind = (typeof mapKinds)[number];

export class ChangingMesh {
  readonly snapshot: MeshSnapshot = mesh(8);
  private local = facts(1);
  private change: ChangeFacts = { confirmed: new Map(), tries: new Map(), kept: [] };
  private up: CallFact[] = [];
  private isOpen = false;

  private readonly lines = new Map(mapKinds.map((kind) => [kind, new Lineage()]));
  private given: Partial<Record<string, ReadonlyMap<string, unknown>>> = {};

  /** `isTold`: the maps say what changed in them, as those of a ledger do. */
  constructor(
    private readonly random: Random,
    private readonly isTold = false,
  ) {}

  /** Nothing in it is changed later: each change makes new records and maps, as a ledger does. */
  input(): PlanInput {
    const { snapshot, local, change, up, isOpen } = this;
    const copy = { ...snapshot };
    for (const kind of mapKinds) {
      const map = new Map(snapshot[kind] as Map<string, unknown>);
      (copy as Record<string, unknown>)[kind] = map;
      if (this.isTold) this.tell(kind, map);
    }
    // As the engine makes it: equal, not the same.
    return {
      snapshot: copy,
      local: structuredClone(local),
      change: { ...change, confirmed: new Map(change.confirmed) },
      calls: { open: isOpen || up.some(({ kind }) => kind !== "pair"), up },
    };
  }

  /** What is another than last time, and now and then one that is not. */
  private tell(kind: MapKind, map: ReadonlyMap<string, unknown>): void {
    const before = this.given[kind] ?? new Map();
    const all = [...new Set([...before.keys(), ...map.keys()])];
    const changed = all.filter((name) => before.get(name) !== map.get(name));
    this.lines
      .get(kind)
      ?.add(map, this.random.once(3) ? [...changed, ...all.slice(0, 1)] : changed);
    this.given[kind] = map;
  }

  step(): void {
    this.random.pick([
      ...Array<() => void>(4).fill(() => this.changeNode()),
      ...Array<() => void>(3).fill(() => this.changeMember()),
      ...Array<() => void>(3).fill(() => this.changeLease()),
      ...Array<() => void>(2).fill(() => this.changeClaim()),
      ...Array<() => void>(2).fill(() => this.changePeer()),
      () => this.changeConfig(),
      () => this.changeLocal(),
      () => this.changeFacts(),
      () => this.changeCalls(),
    ])();
  }

  private index(): number {
    return this.random.between(1, 9);
  }

  private changeNode(): void {
    const index = this.index();
    const { random } = this;
    const id = nodeIdOf(index);
    const known = this.snapshot.nodes.get(id) ?? node(index);
    const { underlay } = known;
    const other = this.index();
    const wishes: Partial<NodeRecord>[] = [
      {},
      { underlay: { ...underlay, addresses: [`192.168.77.${other}`, `fd77::${other}`] } },
      { underlay: { ...underlay, addresses: [`192.168.78.${index}`] } },
      { underlay: { ...underlay, addresses: [`10.244.9.${index}`] } },
      { underlay: { ...underlay, port: 8472 + random.between(0, 1) } },
      { epoch: random.between(1, 2) },
      { mtu: 1400 + index },
      { protocols: random.pick([["vxlan"], ["vxlan", "geneve", "gre", "ipip", "udp"]]) },
      { receives: [{ protocol: random.pick(["vxlan", "geneve", "pptp"]), port: 8472, vni: 1 }] },
      { capabilities: random.pick([[], ["takes-zero-udp-checksums"]]) },
    ];
    if (random.once(6)) this.snapshot.nodes.delete(id);
    else this.snapshot.nodes.set(id, { ...node(index), ...known, ...random.pick(wishes) });
  }

  private changeMember(): void {
    const index = this.index();
    const { random } = this;
    const id = nodeIdOf(index);
    const known = this.snapshot.members.get(id) ?? member(index);
    const wishes = [
      {},
      { name: `n${index}-${random.between(0, 2)}` },
      { state: random.pick(["active", "draining", "removed", "quarantined"] as const) },
      { epoch: random.between(1, 2) },
      { podCIDRs: [`10.244.${this.index()}.0/24`] },
      { podCIDRs: member(index).podCIDRs },
      { grantedPrefixes: [random.pick(PREFIXES)] },
      { grantedPrefixes: [random.pick(PREFIXES), random.pick(PREFIXES)] },
    ];
    if (random.once(8) && index !== 1) this.snapshot.members.delete(id);
    else this.snapshot.members.set(id, { ...known, ...random.pick(wishes) } as typeof known);
  }

  private changeLease(): void {
    const { random } = this;
    const cidr = random.pick(member(this.index()).podCIDRs);
    const wishes = [
      {},
      { epoch: random.between(1, 2) },
      { state: random.pick(["held", "held", "quarantined"] as const) },
      { since: `2026-01-0${random.between(1, 3)}T00:00:00Z` },
    ];
    if (random.once(8)) this.snapshot.leases.delete(cidr);
    else this.snapshot.leases.set(cidr, lease(cidr, this.index(), random.pick(wishes)));
  }

  private changeClaim(): void {
    const address = `192.168.77.${this.index()}`;
    const port = 8472 + this.random.between(0, 1);
    const claim = { address, port, nodeId: nodeIdOf(this.index()) };
    if (this.random.once(3)) this.snapshot.claims.delete(`${address}:${port}`);
    else this.snapshot.claims.set(`${address}:${port}`, claim);
  }

  private changePeer(): void {
    const { random } = this;
    const name = `p${random.between(1, 3)}`;
    const peer = staticPeer(name, {
      endpoint: `192.168.77.${random.pick([3, 200, 201])}`,
      podCIDRs: [random.pick(PREFIXES), `10.250.${random.between(0, 2)}.0/24`],
      protocol: random.pick(["vxlan", "geneve", "udp"]),
      port: 8472 + random.between(0, 2),
    });
    if (random.once(3)) this.snapshot.peers.delete(name);
    else this.snapshot.peers.set(name, peer);
  }

  private changeConfig(): void {
    const name = this.random.pick(Object.keys(SETTINGS) as (keyof typeof SETTINGS)[]);
    const value = this.random.pick((SETTINGS[name] ?? []) as unknown[]);
    this.snapshot.config = { ...this.snapshot.config, [name]: value };
  }

  private changeLocal(): void {
    const { underlay } = this.local;
    this.local = this.random.pick([
      facts(1),
      { ...this.local, underlay: { ...underlay, address: `192.168.77.${this.index()}` } },
      { ...this.local, underlay: { ...underlay, mtu: this.random.pick([1500, 1400, 9000]) } },
      { ...this.local, underlay: { ...underlay, family: 6 as const, address: "fd77::1" } },
    ]);
  }

  private changeFacts(): void {
    const { config } = this.snapshot;
    const form = meshForm(config, this.random.pick(["vxlan", "geneve"]), 8472);
    const confirmed = new Map(this.change.confirmed);
    confirmed.set(nodeIdOf(this.index()), form);
    const tries = new Map([[nodeIdOf(this.index()), this.random.between(0, 7)]]);
    const kept = this.random.pick([[], [form]]);
    this.change = { confirmed: this.random.once(4) ? new Map() : confirmed, tries, kept };
  }

  private changeCalls(): void {
    const index = this.index();
    const pair = { ...CALL, kind: "pair" as const, slot: index, nodeId: nodeIdOf(index) };
    const dialled = { ...CALL, kind: "dial-out" as const, local: "10.20.0.7", routes: PREFIXES };
    this.up = this.random.pick([[], [CALL], [pair], [dialled, pair]]);
    this.isOpen = this.random.once(3);
  }
}
