// A member's session: the agent's side of the control plane. Follows the bucket, writes the node's
// own records, sends heartbeats, serves the agent's status, renews credentials; outlives every
// outage of NATS.
import { EventEmitter } from "node:events";
import { ask } from "../answer.js";
import { ControlError } from "../errors.js";
import { endsOf } from "../founding/index.js";
import { keyOf } from "../keys.js";
import { Ledger } from "../ledger.js";
import { type Membership, trustTaken, withServersOf, withTrustOf } from "../membership.js";
import { Bucket, type Link, signingKey } from "../nats/index.js";
import type { MeshSnapshot } from "../records.js";
import { inboxOf, subjectsOf } from "../subjects.js";
import { ranHere, Twins, thisPlace } from "../twins.js";
import type { PptpUser } from "./accounts.js";
import { Confidences } from "./confidences.js";
import { keepLink } from "./keep-link.js";
import { OwnRecords } from "./own-records.js";
import { type Presented, Presenter } from "./present.js";
import { nextSnapshot } from "./ready.js";
import { Renewal } from "./renewal.js";
import { serveAgent } from "./service.js";
import type { EndpointFacts, MemberSessionOptions, NodeFacts } from "./session-options.js";
import { feedOf } from "./source.js";
import { View } from "./view.js";

export type { EndpointFacts, MemberSessionOptions, NodeFacts };

const notMember = new Set(["MESHD_REMOVED", "MESHD_NOT_A_MEMBER"]);
const defaults = { heartbeat_ms: 5_000, relist_ms: 300_000, beatMissing_ms: 7_000 };

/**
 * Events: "snapshot" when what snapshot() gives is another; "connected"; "disconnected";
 * "refused" (Refusal); "membership" (Membership) when renewed credentials are to be kept on disk;
 * "removed" when this node is no member any more; "duplicate" (ControlError) when its key is in use
 * elsewhere: the session has ended then; "pptp-users" (readonly PptpUser[]) when accounts
 * of PPTP clients changed: that node alone hears it that may serve them.
 */
export class MemberSession extends EventEmitter {
  readonly #options: MemberSessionOptions;
  readonly #ledger: Ledger;
  readonly #view: View;
  readonly #own: OwnRecords;
  readonly #presenter: Presenter;
  readonly #confidences: Confidences;
  /** Whether another has this node's key, too; the session has ended then. */
  readonly twins: Twins;
  readonly #stop = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #membership: Membership;
  #link: Link | null = null;
  #stopService: (() => Promise<void>) | null = null;
  #known = false;
  #removed = false;
  #trouble: ControlError | null = null;
  readonly #renewal: Renewal;

  private constructor(options: MemberSessionOptions) {
    super();
    this.#options = options;
    this.#membership = options.membership;
    const { meshId, grantKey, nodeId, mesh } = options.membership;
    this.#ledger = new Ledger({ meshId, grantKey });
    const log = this.#log.bind(this);
    this.#own = new OwnRecords(meshId, signingKey(options.identity.seed), this.#ledger, (reason) =>
      log("own-record-not-written", { reason }),
    );
    this.#renewal = new Renewal({
      identity: options.identity,
      servers: options.servers,
      ca: options.ca,
      membership: () => this.#membership,
      link: () => this.#link,
      take: (renewed) => this.#take(renewed),
      log,
    });
    this.#presenter = new Presenter(this.#ledger, (batch) => this.#present(batch));
    this.#confidences = new Confidences({
      asker: () => ({ link: this.#link, membership: this.#membership, identity: options.identity }),
      dir: options.secretsDir ?? null,
      ledger: this.#ledger,
      renew: async () => {
        await this.renew();
        await this.reconnect();
      },
      present: (records) => this.#present(records),
      changed: (users) => this.emit("pptp-users", users),
      log,
    });
    this.twins = new Twins({
      ...{ mesh, nodeId, log },
      place: () => thisPlace(),
      home: () => ranHere(this.#ledger, nodeId),
      ...options.twins,
      name: () => this.#membership.name,
      onDuplicate: (error) => this.#endAsDuplicate(error),
    });
    this.#view = new View({
      ledger: this.#ledger,
      consumer: nodeId,
      ...(options.feed === false ? {} : { feed: feedOf(options.membership) }),
      relist_ms: options.relist_ms ?? defaults.relist_ms,
      beatMissing_ms: options.beatMissing_ms ?? defaults.beatMissing_ms,
    });
  }

  /**
   * Resolves at once, also while no server answers: it goes on trying for ever, with jittered
   * back-off.
   */
  static async connect(options: MemberSessionOptions): Promise<MemberSession> {
    const session = new MemberSession(options);
    await session.#confidences.load();
    session.#start();
    return session;
  }

  get nodeId(): string {
    return this.#membership.nodeId;
  }
  get membership(): Membership {
    return this.#membership;
  }
  get connected(): boolean {
    return this.#link?.connected ?? false;
  }
  /** Why there is no connection, as far as the last try tells; null while there is one. */
  get trouble(): ControlError | null {
    return this.connected ? null : this.#trouble;
  }
  /** host:port of the server in use, or null. */
  get server(): string | null {
    return this.#link?.server ?? null;
  }
  /** Whether TLS protects the connection to that server. */
  get encrypted(): boolean {
    return this.#link?.encrypted ?? false;
  }
  /** When credentials and certificates end. */
  get ends(): ReturnType<typeof endsOf> {
    return endsOf(this.#membership, this.#link);
  }
  /** The view as of now; null before the first complete one. */
  snapshot(): MeshSnapshot | null {
    return this.#known ? this.#ledger.snapshot() : null;
  }
  /** Milliseconds since the view was last known to be current; Infinity before that. */
  viewAge_ms(): number {
    return this.#view.age_ms();
  }

  /** Whether the view comes by a controller's feed; else by a watch of its own, or not at all. */
  get isFed(): boolean {
    return this.#view.isFeed;
  }

  /** First complete view, a saved one counts. MESHD_TIMEOUT. */
  async ready(timeout_ms: number): Promise<MeshSnapshot> {
    return this.snapshot() ?? nextSnapshot(this, timeout_ms);
  }

  /** Accounts of PPTP clients, also while NATS is away; [] when this node may not serve them. */
  pptpUsers(): readonly PptpUser[] {
    return this.#confidences.users();
  }

  /**
   * What this node and another member prove themselves with in PPTP calls, the same at both; kept
   * once known. MESHD_NO_NATS, MESHD_NO_CONTROLLER, MESHD_NOT_A_MEMBER.
   */
  async pairSecret(nodeId: string): Promise<string> {
    return this.#confidences.pairSecret(nodeId);
  }

  /**
   * Wanted own node record: written when the store has another, now or once connected. Resolves
   * when written or kept for later.
   */
  writeNode(facts: NodeFacts): Promise<void> {
    return this.#own.setNode({ ...facts, nodeId: this.nodeId });
  }

  /** Wanted own endpoints, all of them; only differences are written. */
  writeEndpoints(endpoints: EndpointFacts[]): Promise<void> {
    return this.#own.setEndpoints(endpoints.map((one) => ({ ...one, nodeId: this.nodeId })));
  }

  /**
   * Gives the leases back and ends the membership. MESHD_NO_NATS, MESHD_NO_CONTROLLER: nothing was
   * done.
   */
  async leave(): Promise<void> {
    const link = this.#link;
    if (this.twins.duplicate) throw this.twins.duplicate;
    if (!link?.connected) {
      const what =
        "no NATS server is connected, so nobody can take the lease back; try again later";
      throw new ControlError("MESHD_NO_NATS", what);
    }
    const subject = subjectsOf(this.#membership.mesh).member(this.nodeId, "leave");
    this.#removed = true;
    try {
      await ask(link, subject, {}, 10_000);
      await this.#confidences.forget();
    } catch (error) {
      this.#removed = false;
      throw error;
    }
    await this.close();
  }

  /** New credentials with the key alone; also done by itself at half-life. */
  renew(): Promise<Membership> {
    return this.#renewal.renew();
  }

  /**
   * To be called when this host's address changed: the connection from the old one would hang until
   * its pings time out. Nothing happens while there is no connection.
   */
  async reconnect(): Promise<void> {
    if (this.#link?.connected) await this.#link.reconnect();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers) clearInterval(timer);
    this.#own.detach();
    this.twins.close();
    this.#presenter.close();
    await this.#confidences.close();
    const link = this.#link;
    this.#link = null;
    // The other's consumer has the same name: it must not be taken away in the goodbye.
    if (this.twins.duplicate) await link?.close();
    const goodbye = () => Promise.all([this.#view.close(), this.#stopService?.()]);
    await (link ? link.close(goodbye) : this.#view.close());
  }

  #log(event: string, fields: Record<string, unknown>): void {
    this.#options.log?.(event, fields);
  }

  #start(): void {
    const { saved, heartbeat_ms = defaults.heartbeat_ms } = this.#options;
    this.#view.on("changed", () => this.#changed());
    this.#view.on("listed", () => this.#listed());
    this.#view.on("refused", (refusal) => {
      this.#log("record-refused", { ...refusal });
      this.emit("refused", refusal);
      if (this.connected) void this.#own.restore(refusal.key);
      this.#presenter.notice(refusal.key);
      if (refusal.key === keyOf.accounts()) this.#confidences.refresh();
    });
    this.#view.on("entry", ({ key }: { key: string }) => {
      if (key === keyOf.servers()) this.#take(withServersOf(this.#ledger, this.#membership));
      if (key === keyOf.trust()) this.#followTrust();
      if (key === keyOf.accounts()) this.#confidences.follow();
      if (key === keyOf.heartbeat() && !this.#view.isListing) this.#hearBeat();
    });
    this.#view.on("trouble", (reason) => this.#log("watch-lost", { reason }));
    if (saved !== undefined) {
      if (!this.#ledger.load(saved)) this.#log("saved-state-refused", {});
      if (this.#ledger.complete) setImmediate(() => this.#changed());
      this.#known = this.#ledger.complete;
    }
    this.#timers.push(setInterval(() => this.#beat(), heartbeat_ms));
    void this.#run();
  }

  #run(): Promise<void> {
    return keepLink({
      options: () => ({
        servers: this.#options.servers ?? this.#membership.servers,
        user: () => ({ jwt: this.#membership.jwt, seed: this.#options.identity.seed }),
        ca: () => this.#options.ca ?? this.#membership.ca ?? null,
        inbox: inboxOf.node(this.nodeId),
        name: `meshd ${this.#membership.name}`,
      }),
      signal: this.#stop.signal,
      isWanted: () => !this.#removed,
      failed: (error) => this.#connectFailed(error),
      begin: (link) => this.#linked(link),
      notBegun: (reason) => this.#log("session-not-begun", { reason }),
    });
  }

  async #linked(link: Link): Promise<void> {
    this.#link = link;
    this.#trouble = null;
    link.on("connected", () => {
      this.emit("connected");
      this.#confidences.follow();
    });
    link.on("disconnected", () => {
      this.emit("disconnected");
      this.#confidences.follow();
    });
    link.on("permission", (operation, subject) =>
      this.#log("permission-refused", { operation, subject }),
    );
    this.emit("connected");
    if (!(await this.twins.admit(link))) return;
    this.#confidences.follow();
    this.#view.attach(link, new Bucket(link, subjectsOf(this.#membership.mesh).bucket));
    this.#beat();
    try {
      this.#stopService = await serveAgent(link, this.#membership, this.#options);
    } catch (error) {
      this.#log("status-not-served", { reason: String(error) });
    }
  }

  #endAsDuplicate(error: ControlError): void {
    this.#log("duplicate-node", { reason: error.message });
    this.emit("duplicate", error);
    void this.close();
  }

  /** Hands signed records back to a store that lost them. */
  async #present(records: Presented[]): Promise<void> {
    const link = this.#link;
    if (!link?.connected) throw new ControlError("MESHD_NO_NATS", "not connected");
    const subject = subjectsOf(this.#membership.mesh).member(this.nodeId, "present");
    const answer = await ask(link, subject, { records }, 10_000, { again: true });
    this.#log("records-presented", { count: records.length, ...(answer as object) });
  }

  #connectFailed(error: ControlError): void {
    this.#log("nats-unreachable", { code: error.code, reason: error.message });
    if (error.code !== "MESHD_PERMISSION") this.#trouble = error;
    else this.renew().catch((refusal) => this.#refused(error, refusal));
  }

  /** A controller's word on this node says more than that its credentials are of no use. */
  #refused(error: ControlError, refusal: unknown): void {
    const isWord = refusal instanceof ControlError && notMember.has(refusal.code);
    this.#trouble = isWord ? refusal : error;
  }

  #beat(): void {
    if (!this.#link?.connected) return;
    const subject = subjectsOf(this.#membership.mesh).heartbeat(this.nodeId);
    const trust = trustTaken(this.#ledger, this.#membership);
    const beat = { time: new Date(), ...(trust > 0 ? { trust } : {}) };
    this.#link.publish(subject, JSON.stringify(beat), `${this.#link.inbox}.beat`);
    this.#renewal.check();
  }

  /** Keys of the mesh change: the CAs at once, credentials in a while. */
  #followTrust(): void {
    this.#take(this.#membership);
    const [signer] = this.#ledger.get<"trust">(keyOf.trust())?.record?.signers ?? [];
    const { heartbeat_ms = defaults.heartbeat_ms } = this.#options;
    if (signer !== undefined) this.#renewal.follow(signer, 4 * heartbeat_ms);
  }

  #hearBeat(): void {
    const beat = this.#ledger.get<"heartbeat">(keyOf.heartbeat())?.record;
    if (beat) this.#renewal.hear(beat.time);
  }

  #listed(): void {
    const link = this.#link;
    if (!link) return;
    if (!this.#known && this.#ledger.complete) this.#changed();
    void this.#own.verify(new Bucket(link, subjectsOf(this.#membership.mesh).bucket));
  }

  #changed(): void {
    if (!this.#ledger.complete) return;
    this.#known = true;
    // It is made for who asks: while a thousand nodes join, that is far less often.
    this.emit("snapshot");
    this.#confidences.follow();
    const member = this.#ledger.get<"members">(keyOf.member(this.nodeId))?.record;
    if (member?.state === "removed" && !this.#removed) {
      this.#removed = true;
      void this.#confidences.forget();
      this.emit("removed");
    }
  }

  #take(given: Membership): void {
    const renewed = withTrustOf(this.#ledger, given);
    if (renewed === this.#membership) return;
    if (`${renewed.servers}` !== `${this.#membership.servers}`) this.#link?.endSoon();
    this.#membership = renewed;
    // A member that left has taken its file away: it must not come back.
    if (!this.#stop.signal.aborted) this.emit("membership", renewed);
  }
}
