// The agent's part of calls: what plan, settings, accounts and saved dials ask for goes in, facts
// for plan come out. Knows the control plane and the host; src/calls knows neither.
import { createHash } from "node:crypto";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { MemberSession, MeshConfig, MeshSnapshot } from "../../control/index.js";
import {
  type Account,
  type CallPort,
  Calls,
  type CallsWanted,
  type ControlPort,
  type Dial,
  INSECURE,
  pptpPort,
  type SessionView,
  systemClock,
} from "../calls/index.js";
import type { Underlay } from "../host/index.js";
import type { Pods } from "../pods/index.js";
import { readDials, type SavedDial, writeDials } from "./dials.js";
import { AgentError, messageOf } from "./errors.js";
import type { CallsInput, Plan, PlannedPair } from "./plan/types.js";
import { containsAddress, firstAddress, parsePrefix } from "./prefix.js";
import type { AgentLog, AgentOptions, PptpStatus } from "./types.js";

/** Users of this mesh and secrets of pairs, as the control plane hands them to this node. */
export interface AccountSource {
  users(): readonly Account[];
  onUsers(handler: () => void): void;
  /** Whether an administrator lets this node serve users. */
  isAllowed(snapshot: MeshSnapshot | null): boolean;
  pairSecret(nodeId: string): Promise<string>;
}

export interface CallKeeperParts {
  options: AgentOptions;
  session: Pick<MemberSession, "nodeId" | "membership">;
  accounts: AccountSource;
  port: CallPort;
  pods: Pods;
  /** Where dials are kept. */
  path: string;
  log: AgentLog;
  /** For tests; src/pptp's sockets when left out. */
  control?: ControlPort;
}

/** How often a server's name is looked up while it is dialled by name. */
const LOOKUP_MS = 60_000;

export class CallKeeper {
  /** Called when a new plan would be another one. */
  onChange: () => void = () => undefined;
  /** Called with the addresses whose control connections are up, when they change. */
  onCallers: (addresses: readonly string[]) => Promise<void> | void = () => undefined;
  private readonly calls: Calls;
  private readonly secrets = new Map<string, string>();
  /** Members whose secret is asked for, and those for which that failed last time. */
  private readonly asking = new Set<string>();
  private readonly refused = new Set<string>();
  private readonly addresses = new Map<string, { address: string | null; asked_ms: number }>();
  private accounts = new Map<string, Account>();
  private applied: Plan | null = null;

  private constructor(
    private readonly parts: CallKeeperParts,
    private dials: SavedDial[],
  ) {
    const { session, port, log } = parts;
    this.calls = new Calls({
      ...{ port, log, clock: systemClock },
      control: parts.control ?? pptpPort(log, (addresses) => this.onCallers(addresses)),
      ...{ ownId: session.nodeId, ownName: session.membership.name },
      onChange: () => this.onChange(),
      account: (user) => this.accounts.get(user.toLowerCase()) ?? null,
      addresses: {
        take: (fixed) => this.takeAddress(fixed),
        release: (address) => parts.pods.releaseAddress(address),
      },
      secretOf: (nodeId) => this.secrets.get(nodeId) ?? null,
    });
    parts.accounts.onUsers(() => {
      this.readAccounts();
      this.calls.checkAccounts();
    });
    this.readAccounts();
  }

  static async open(parts: CallKeeperParts): Promise<CallKeeper> {
    const log: AgentLog = (event, fields) => parts.log(event, { ...fields, warning: INSECURE });
    return new CallKeeper({ ...parts, log }, await readDials(parts.path));
  }

  /** For plan. */
  input(snapshot: MeshSnapshot): CallsInput {
    const open = this.serves(snapshot) || this.dials.length > 0 || this.calls.isOpen;
    return { open, up: this.calls.facts() };
  }

  /** Takes a plan that is in force: its tables know the calls that are up. */
  async apply(plan: Plan, underlay: Underlay, snapshot: MeshSnapshot): Promise<void> {
    const { config } = snapshot;
    this.applied = plan;
    const canServe = this.serves(snapshot) && plan.tables !== null;
    this.askSecrets(plan.pairs ?? []);
    await this.calls.update(this.wanted(plan, underlay, config, canServe));
  }

  /** Once a second: accounts expire, names get other addresses. */
  readonly beat = (): void => {
    this.calls.checkAccounts();
    this.askSecrets(this.applied?.pairs ?? []);
    void this.lookUpNames();
  };

  list(): SessionView[] {
    return this.calls.list();
  }

  /** null: no calls are taken or made. */
  status(plan: Plan, snapshot: MeshSnapshot | null): PptpStatus | null {
    const sessions = this.calls.list();
    const serves = snapshot !== null && this.serves(snapshot);
    if (!serves && plan.pairs === null && this.dials.length === 0) return null;
    return {
      ...{ warning: INSECURE, serves, sessions },
      up: sessions.filter(({ state }) => state === "up").length,
      worker: "all packets of this node go to one worker, for calls are numbered",
    };
  }

  /** Why there is no call with a member with which there should be one; null: there is. */
  problemWith(nodeId: string): string | null {
    const pair = this.applied?.pairs?.find((one) => one.nodeId === nodeId);
    if (pair === undefined) return null;
    const session = this.calls.list().find((one) => one.nodeId === nodeId);
    if (session?.state === "up") return null;
    const waits =
      nodeId < this.parts.session.nodeId ? `${pair.name} is to dial` : "not dialled yet";
    const why = this.secrets.has(nodeId) ? waits : "no controller gave the secret for it";
    return `no PPTP call: ${session?.problem ?? why}`;
  }

  /** Lines for status. */
  problems(snapshot: MeshSnapshot | null): string[] {
    const { options, accounts } = this.parts;
    const isRefused = options.pptpServer === true && !accounts.isAllowed(snapshot);
    const why = "pptpServer: no administrator allows it: meshd node pptp NAME --allow";
    return [...(isRefused ? [why] : []), ...this.calls.problems()];
  }

  /** @throws AgentError MESHD_NOT_FOUND */
  disconnect(slot: number): void {
    if (this.calls.disconnect(slot)) return;
    throw new AgentError("MESHD_NOT_FOUND", `no session ${slot} here; see: meshd pptp list`);
  }

  /** Another one to the same host replaces it. */
  async dial(dial: SavedDial): Promise<void> {
    await this.lookUp(dial.host);
    if (this.addressOf(dial) === null) {
      const what = `${dial.host} has no IPv4 address here`;
      throw new AgentError("MESHD_BAD_REQUEST", `${what}: check the name, or give an address`);
    }
    await this.save([...this.dials.filter(({ host }) => host !== dial.host), dial], dial.host);
  }

  /** @throws AgentError MESHD_NOT_FOUND */
  async hangUp(host: string): Promise<void> {
    const left = this.dials.filter((dial) => dial.host !== host);
    if (left.length === this.dials.length) {
      const what = `this node does not dial ${JSON.stringify(host)}`;
      throw new AgentError("MESHD_NOT_FOUND", `${what}; see: meshd pptp list`);
    }
    await this.save(left, host);
  }

  /** Ends all calls in order, or within a second or two. */
  async stop(): Promise<void> {
    await this.calls.stop();
  }

  /** `changed`: the host whose call is over; lists must not show it as the new one's. */
  private async save(dials: SavedDial[], changed: string): Promise<void> {
    await writeDials(this.parts.path, dials);
    this.dials = dials;
    this.calls.dropDial(changed);
    this.onChange();
  }

  private serves(snapshot: MeshSnapshot): boolean {
    const { options, accounts } = this.parts;
    return options.pptpServer === true && accounts.isAllowed(snapshot);
  }

  private readAccounts(): void {
    const users = this.parts.accounts.users();
    this.accounts = new Map(users.map((account) => [account.user, account]));
    this.parts.pods.keepAddresses(users.flatMap(({ address }) => address ?? []));
  }

  private takeAddress(fixed: string | null): string {
    const { pods } = this.parts;
    if (fixed === null) return pods.takeAddress(null);
    const own = (this.applied?.tables?.self.prefixes ?? []).flatMap(
      (text) => parsePrefix(text) ?? [],
    );
    const isOurs = own.some((prefix) => containsAddress(prefix, fixed));
    const isNode = own.some((prefix) => firstAddress(prefix) === fixed);
    if (isOurs && !isNode) return pods.takeAddress(fixed);
    const what = `${fixed} is no address that this node can give`;
    throw new AgentError("MESHD_BAD_REQUEST", `${what}: choose one of its PodCIDR`);
  }

  private wanted(
    plan: Plan,
    { address, mtu: underlayMtu }: Underlay,
    config: MeshConfig,
    canServe: boolean,
  ): CallsWanted {
    const { pptpWindow: windowMode, pptpStateful: stateful, pptpEncryption: encryption } = config;
    const local = plan.tables?.self.addresses.find((text) => isIP(text) === 4) ?? null;
    const { pptpAuth: methods, pptpDns: dns, pptpNbns: nbns } = config;
    const rules = { methods, encryption, stateful, dns, nbns };
    return {
      ...{ address, underlayMtu, windowMode, stateful },
      users: canServe && local !== null ? { rules, local } : null,
      pairs: plan.pairs?.map((pair) => this.pairEnd(pair)) ?? null,
      // A node that may not forward has no calls either.
      dials: plan.tables === null ? [] : this.dials.flatMap((dial) => this.dialOf(dial) ?? []),
    };
  }

  private pairEnd({ nodeId, name, address, local, remote, ipv6 }: PlannedPair) {
    const own = this.parts.session.nodeId;
    const interfaceId = ipv6 ? interfaceIdOf(own, nodeId) : null;
    return { nodeId, name, address, local, remote, interfaceId };
  }

  private dialOf(dial: SavedDial): Dial | null {
    const { host, user, ntHash, clear, auth: methods, encryption, routes } = dial;
    const address = this.addressOf(dial);
    if (address === null) return null;
    const secret =
      clear === null ? { ntHash: new Uint8Array(Buffer.from(ntHash ?? "", "hex")) } : { clear };
    return { host, address, user, secret, routes, methods, encryption };
  }

  private addressOf({ host }: SavedDial): string | null {
    return isIP(host) === 4 ? host : (this.addresses.get(host)?.address ?? null);
  }

  private async lookUpNames(): Promise<void> {
    const due = (host: string) =>
      performance.now() - (this.addresses.get(host)?.asked_ms ?? -LOOKUP_MS) >= LOOKUP_MS;
    const names = this.dials.map(({ host }) => host).filter((host) => isIP(host) === 0);
    for (const host of names.filter(due)) {
      const before = this.addresses.get(host)?.address;
      await this.lookUp(host);
      if (this.addresses.get(host)?.address !== before) this.onChange();
    }
  }

  /** A name that is not found keeps the address that it had. */
  private async lookUp(host: string): Promise<void> {
    if (isIP(host) !== 0) return;
    const before = this.addresses.get(host)?.address ?? null;
    this.addresses.set(host, { address: before, asked_ms: performance.now() });
    const found = await lookup(host, { family: 4 }).catch(() => null);
    const address = found?.address ?? before;
    this.addresses.set(host, { address, asked_ms: performance.now() });
  }

  /** A call waits until its secret is here; what failed is asked for again with the next beat. */
  private askSecrets(pairs: readonly PlannedPair[]): void {
    for (const { nodeId } of pairs) {
      if (!this.secrets.has(nodeId) && !this.asking.has(nodeId)) void this.askSecret(nodeId);
    }
  }

  private async askSecret(nodeId: string): Promise<void> {
    const { accounts, log } = this.parts;
    this.asking.add(nodeId);
    try {
      this.secrets.set(nodeId, await accounts.pairSecret(nodeId));
      this.refused.delete(nodeId);
      this.onChange();
    } catch (error) {
      if (!this.refused.has(nodeId)) log("pptp.secret.failed", { nodeId, error: messageOf(error) });
      this.refused.add(nodeId);
    } finally {
      this.asking.delete(nodeId);
    }
  }
}

/** Different at both ends, and the same after a restart (RFC 5072 section 4.1: not zero). */
function interfaceIdOf(own: string, other: string): bigint {
  const bytes = createHash("sha256").update(`pptp ${own} ${other}`).digest();
  return bytes.readBigUInt64BE(0) | 1n;
}
