// Makes actual equal desired, again and again: snapshot -> plan -> tables, host, pods, own records.
// Applying what is already so changes nothing; the churn counters prove it.
import type { MemberSession } from "../../control/index.js";
import { type Datapath, rawProtocolsOf, type TableContents } from "../datapath/index.js";
import { replaceFile, type Underlay } from "../host/index.js";
import type { Pods } from "../pods/index.js";
import type { CallKeeper } from "./call-keeper.js";
import { codeOf, messageOf } from "./errors.js";
import { FilterKeeper, filterWish } from "./filter-keeper.js";
import { flipStateText } from "./flip-state.js";
import type { Flips } from "./flips.js";
import type { HostKeeper } from "./host-keeper.js";
import type { KeptView } from "./kept-view.js";
import { localFacts, nodeFacts, vtepMacOf } from "./local.js";
import { CHECKED } from "./plan/checksums.js";
import type { Form } from "./plan/forms.js";
import { Planner, poolsOf } from "./plan/plan.js";
import type { Plan } from "./plan/types.js";
import { pathPeers, withPathMtus } from "./pmtu/plan.js";
import type { PathProber } from "./pmtu/prober.js";
import type { Prober } from "./probes.js";
import { isTunnelProtocol, isUdp, type TunnelProtocol } from "./protocols.js";
import { RawGuard, type RawStatus } from "./raw-guard.js";
import { areSameTables } from "./same-tables.js";
import type { AgentLog, AgentOptions, AgentStatus } from "./types.js";

export interface EngineParts {
  options: AgentOptions;
  deviceName: string;
  session: MemberSession;
  datapath: Datapath;
  keeper: HostKeeper;
  pods: Pods;
  prober: Prober;
  pathProber: PathProber;
  flips: Flips;
  calls: CallKeeper;
  kept: KeptView;
  flipsPath: string;
  log: AgentLog;
}

/** The encapsulation whose datagrams come to the tunnel's port. */
export function protocolOf(made: Plan): TunnelProtocol {
  return isTunnelProtocol(made.tunnelProtocol) ? made.tunnelProtocol : "vxlan";
}

/** Tables of a node that may not carry anything. */
export function emptyTables(nodeId: string, made: Plan): TableContents {
  const self = { mac: vtepMacOf(nodeId), vni: 1, mtu: made.mtu, udpPort: made.port };
  return { self: { ...self, addresses: [], prefixes: [] }, peers: [] };
}

export class Engine {
  readonly churn: AgentStatus["churn"] = { published: 0, hostChanges: 0, reconciles: 0 };
  private readonly planner = new Planner();
  /** As planned from the records, before what probes found of the paths. */
  private planned: Plan;
  /** What is being applied. */
  private current: Plan;
  /** What was applied last: the one that status shows. */
  private applied: Plan;
  private published: TableContents | null = null;
  private hostText = "";
  private podsText = "";
  private savedFlips = "";
  /** The last round had nothing to go by. */
  private isHeld = true;
  private pools: string[] = [];
  private hostProblems: string[] = [];
  private readonly causes = new Map<string, unknown>();
  readonly filter: FilterKeeper;
  private readonly guard: RawGuard;
  private guardText = "";
  private filterText = "";

  constructor(
    private readonly parts: EngineParts,
    private underlayNow: Underlay,
    first: Plan,
  ) {
    this.planned = first;
    this.current = first;
    this.applied = first;
    this.guard = new RawGuard(parts.deviceName);
    this.filter = new FilterKeeper(parts.deviceName, filterWish(parts.options));
    parts.calls.onCallers = (addresses) => this.filter.setCallers(addresses);
  }

  /** The plan in force: its steps have been done, or are in `warnings`. */
  plan(): Plan {
    return this.applied;
  }

  underlay(): Underlay {
    return this.underlayNow;
  }

  /** Raw sockets that are open, and what of the kernel reads the same packets. */
  raw(): RawStatus | null {
    return this.guard.status();
  }

  /** What status should say: problems of records, of the host, and steps that failed last time. */
  warnings(): string[] {
    const failed = [...this.causes].map(([step, error]) => `${step}: ${messageOf(error)}`);
    return [...this.applied.problems.map((p) => p.message), ...this.hostProblems, ...failed];
  }

  /** Why a step failed last time, if it did. */
  failureOf(step: string): unknown {
    return this.causes.get(step);
  }

  /** Pools of the mesh and own PodCIDRs. */
  ownPools(): string[] {
    return [...this.pools];
  }

  /** True while something wanted could not be done: worth another try soon. */
  isTroubled(): boolean {
    return this.causes.size > 0;
  }

  /** The advertised address or its interface's MTU changed; takes effect with the next apply. */
  setUnderlay(underlay: Underlay): void {
    this.underlayNow = underlay;
  }

  /**
   * A new device (recreated after somebody deleted it) knows nothing: forget what was published.
   */
  forgetPublished(): void {
    this.published = null;
  }

  /**
   * One round. A step that fails is said and does not keep the others from theirs. `full` looks at
   * the host even when nothing else is wanted than last time: somebody may have changed it.
   */
  async apply(full: boolean): Promise<void> {
    const snapshot = this.parts.session.snapshot();
    if (snapshot === null) {
      return;
    }
    const { options, session, deviceName } = this.parts;
    const local = localFacts(options, session.nodeId, deviceName, this.underlayNow);
    const change = this.parts.flips.facts(snapshot, session.nodeId);
    const calls = this.parts.calls.input(snapshot);
    const { duplicate } = session.twins;
    const twin = duplicate === null ? {} : { duplicate: duplicate.message };
    const next = this.planner.plan({ snapshot, local, change, calls, ...twin });
    // Nothing is taken away because the store lost something: only what it says counts.
    this.planned = next.hold ? { ...this.planned, problems: next.problems } : next;
    this.current = this.fitToPaths(this.planned);
    this.pools = [...new Set([...this.pools, ...poolsOf(snapshot), ...this.ownCidrs()])];
    this.churn.reconciles++;
    await this.step("publish", () => this.publish());
    await this.step("underlay", () => this.rebind());
    await this.step("outer fragments", () => this.allowFragments());
    await this.step("raw sockets", () => this.guardRaw(full));
    await this.step("pptp filter", () => this.applyFilter(full));
    await this.step("host", () => this.applyHost(full));
    await this.step("pods", () => this.applyPods(full));
    await this.step("calls", () =>
      this.parts.calls.apply(this.current, this.underlayNow, snapshot),
    );
    this.parts.prober.setPeers(this.current.tables?.self.addresses ?? [], this.current.peers);
    await this.step("own record", () => this.writeOwn());
    this.applied = this.current;
    this.isHeld = next.hold;
    if (next.hold) {
      return;
    }
    if (!this.causes.has("publish")) {
      this.parts.flips.applied(this.current);
    }
    await this.step("state", () => this.save());
  }

  /** Tells the path probes what to ask, and takes what they know. */
  private fitToPaths(planned: Plan): Plan {
    const { pathProber } = this.parts;
    pathProber.setPeers(planned.tables?.self.addresses ?? [], pathPeers(planned));
    return withPathMtus(planned, (peer) => pathProber.mtuOf(peer));
  }

  private ownCidrs(): string[] {
    return this.current.member?.podCIDRs ?? [];
  }

  private async step(name: string, work: () => Promise<void> | void): Promise<void> {
    try {
      await work();
      this.causes.delete(name);
    } catch (error) {
      const before = this.causes.get(name);
      if (before === undefined || messageOf(before) !== messageOf(error)) {
        this.parts.log("agent.step.failed", { step: name, code: codeOf(error), error });
      }
      this.causes.set(name, error);
    }
  }

  private publish(): void {
    const { datapath, session } = this.parts;
    const tables = this.current.tables ?? emptyTables(session.nodeId, this.current);
    if (areSameTables(tables, this.published)) {
      return;
    }
    datapath.publish(tables);
    this.published = tables;
    this.churn.published++;
  }

  private async rebind(): Promise<void> {
    const { family, address } = this.underlayNow;
    const { port, otherPorts: others, ordered, checksums } = this.current;
    const protocol = protocolOf(this.current);
    const isOpen = this.parts.datapath.underlay().fragments === true;
    const fragments = isOpen && this.needsFragments();
    const more = { family, address, fragments, checksums, ...(ordered ? { ordered } : {}) };
    const { datapath } = this.parts;
    try {
      await datapath.rebind({ ...more, port, protocol, others });
    } catch (error) {
      // Without CAP_NET_RAW there are no raw sockets. Whatever comes by UDP comes all the same.
      const [own, ...rest] = [{ port, protocol }, ...others].filter((one) => isUdp(one.protocol));
      const isRefused = codeOf(error) === "MESHD_NOT_PERMITTED" && own !== undefined;
      if (isRefused) await datapath.rebind({ ...more, ...own, others: rest });
      throw error;
    }
  }

  private needsFragments(): boolean {
    return this.current.tables?.peers.some((peer) => peer.fragments) ?? false;
  }

  /** Apart from all else: without the permission for it the rest goes on. */
  private async allowFragments(): Promise<void> {
    const { datapath } = this.parts;
    if (this.needsFragments()) await datapath.rebind({ ...datapath.underlay(), fragments: true });
  }

  /**
   * What is planned to be received, and open in truth (tables that failed leave it as it was); and
   * how the sockets are.
   */
  private open(): Pick<Plan, "receives" | "checksums"> {
    const { protocol = "vxlan", port, others = [], checksums } = this.parts.datapath.underlay();
    const open = [{ protocol, port }, ...others];
    const isOpen = (form: Form) =>
      open.some((one) => one.protocol === form.protocol && one.port === form.port);
    const { receives } = this.causes.has("publish") ? this.applied : this.current;
    return { receives: receives.filter(isOpen), checksums: checksums ?? CHECKED };
  }

  /** What comes to our raw sockets is ours alone. */
  private async guardRaw(full: boolean): Promise<void> {
    const underlay = this.parts.datapath.underlay();
    const { family, address } = underlay;
    const traffic = { family, address, ipProtocols: rawProtocolsOf(underlay) };
    const statics = this.current.peers.filter(({ kind }) => kind === "static");
    const prefixes = [...this.pools, ...statics.flatMap((peer) => peer.prefixes)];
    const text = JSON.stringify([traffic, prefixes]);
    if (!full && text === this.guardText) {
      return;
    }
    this.guardText = "";
    this.churn.hostChanges += await this.guard.apply(traffic, prefixes);
    this.guardText = text;
  }

  /** Also where nothing is filtered: then a table that another process left goes. */
  private async applyFilter(full: boolean): Promise<void> {
    const { options, session, datapath } = this.parts;
    const underlay = datapath.underlay();
    const { protocol = "vxlan", port, others = [] } = underlay;
    const udp = [{ protocol, port }, ...others].filter((one) => isUdp(one.protocol));
    const mesh = {
      udpPorts: udp.map((one) => one.port),
      ipProtocols: rawProtocolsOf(underlay),
      members: this.current.peers.map(({ address }) => address),
      bare: this.current.admission?.peers ?? [],
    };
    const servers = options.servers ?? session.membership.servers;
    const facts = { underlayDevice: this.underlayNow.device, servers, mesh };
    const text = JSON.stringify(facts);
    if (!full && text === this.filterText) return;
    this.filterText = "";
    this.churn.hostChanges += await this.filter.apply(facts);
    this.filterText = text;
  }

  private async applyHost(full: boolean): Promise<void> {
    const { mtu, addresses, routes, masquerade, admission, callNat } = this.current;
    const wanted = { mtu, addresses, routes, masquerade, admission, callNat, pools: this.pools };
    const text = JSON.stringify(wanted);
    if (!full && text === this.hostText) {
      return;
    }
    this.hostText = "";
    const result = await this.parts.keeper.apply(wanted);
    this.churn.hostChanges += result.changes;
    this.hostProblems = result.problems;
    this.hostText = text;
  }

  private async applyPods(full: boolean): Promise<void> {
    const { pods } = this.parts;
    const { mtu } = this.current;
    const text = JSON.stringify([mtu, this.ownCidrs()]);
    if (!full && text === this.podsText) {
      return;
    }
    this.podsText = "";
    pods.setPodCidrs(this.ownCidrs());
    this.churn.hostChanges += await pods.setMtu(mtu);
    const { changes, failed } = await pods.restore();
    this.churn.hostChanges += changes;
    const first = failed[0];
    if (first !== undefined) {
      throw first.error;
    }
    this.podsText = text;
  }

  /** Own node record and endpoints; the session writes only what differs from the store. */
  private async writeOwn(): Promise<void> {
    const { session, pods, options } = this.parts;
    if (this.current.tables === null) {
      return;
    }
    const version = options.version ?? "unknown";
    await session.writeNode(
      nodeFacts(this.current, this.open(), this.underlayNow, session.nodeId, version),
    );
    await session.writeEndpoints(
      pods.list().map(({ name: pod, addresses, labels }) => ({
        ...{ pod, addresses, labels },
        identity: this.current.identity ?? 0,
      })),
    );
  }

  /** Tells the others soon; a pod's packets flow before anybody knows of it, also without NATS. */
  announce(): void {
    void this.step("own record", () => this.writeOwn());
  }

  private async save(): Promise<void> {
    const flips = flipStateText(this.parts.flips.state());
    if (flips !== this.savedFlips) {
      await replaceFile(this.parts.flipsPath, flips);
      this.savedFlips = flips;
    }
    await this.parts.kept.save(this.parts.session);
  }

  /** For the next start: the view as of now, unless the store lost what it is made of. */
  async keepView(): Promise<void> {
    if (!this.isHeld) await this.step("state", () => this.save());
  }

  /** Takes the node's marks off the host, except the device, which the datapath closes. */
  async remove(): Promise<void> {
    await this.guard.remove();
    await this.filter.remove();
    await this.parts.keeper.remove(this.pools);
  }
}
