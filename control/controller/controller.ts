// A controller: answers joins, members and administrators, keeps the heartbeat key, follows claims,
// mends spoiled records. It keeps nothing of its own: everything is in the buckets, so several may
// run and any may die.
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { serviceError } from "../answer.js";
import { Refused } from "../check.js";
import { valueLength_max } from "../envelope.js";
import { ControlError } from "../errors.js";
import {
  hadStore,
  loadSecrets,
  type MeshSecrets,
  rememberStore,
  renewCredentials,
} from "../founding/index.js";
import { keyOf, parseKey } from "../keys.js";
import { Ledger } from "../ledger.js";
import { View } from "../member/index.js";
import { type Entry, Link, parseCredentials, serve, signingKey, type User } from "../nats/index.js";
import { inboxOf, isOwnReply, serviceName, subjectsOf } from "../subjects.js";
import { whoRuns } from "../twins.js";
import { Admins } from "./admins.js";
import { Admission } from "./admission.js";
import { catchUp } from "./catch-up.js";
import { type ClusterStatus, clusterStatus } from "./cluster-status.js";
import { Colleagues } from "./colleagues.js";
import { Confidant } from "./confidant.js";
import { type Core, configOf } from "./core.js";
import { ensureBuckets } from "./creation.js";
import { endpointsOf } from "./endpoints.js";
import { FeedServer } from "./feed.js";
import { type Handover, prepareStore, takeHandover } from "./handover.js";
import { Heart } from "./heart.js";
import { Housekeeping } from "./housekeeping.js";
import { Leases } from "./leases.js";
import { Losses } from "./losses.js";
import { Members } from "./members.js";
import { Memory } from "./memory.js";
import { Mending } from "./mending.js";
import type { ControllerOptions } from "./options.js";
import { owedRevocations } from "./owed.js";
import { Revocation } from "./revocation.js";
import { Servers } from "./servers.js";
import { bucketsOf, Store } from "./store.js";
import { Tokens } from "./tokens.js";
import { TrustKeeper } from "./trust.js";
import { Users } from "./users.js";
import { Roster } from "./views.js";

const relist_ms = 300_000;
const beatMissing_ms = 7_000;
const holdOff_ms = 60_000;
const handOver_ms = 500;

export class Controller {
  readonly controllerId: string;
  readonly #options: ControllerOptions;
  readonly #link: Link;
  readonly #views: { mesh: View; secrets: View };
  readonly #core: Core;
  readonly #members: Members;
  readonly #housekeeping: Housekeeping;
  readonly #feed: FeedServer;
  readonly #users: Users;
  readonly #admins: Admins;
  readonly #revocation: Revocation;
  readonly #servers: Servers;
  readonly #trust: TrustKeeper;
  readonly #roster = new Roster();
  readonly #colleagues: Colleagues;
  readonly #owed = new Set<string>();
  #configLater: NodeJS.Timeout | null = null;
  readonly #buckets: ReturnType<typeof bucketsOf>;
  readonly #memory: Memory;
  readonly #mending: Mending;
  readonly #heart: Heart;
  #stopService: (() => Promise<void>) | null = null;

  private constructor(
    options: ControllerOptions,
    secrets: MeshSecrets,
    link: Link,
    user: User,
    id: string,
  ) {
    const { mesh, log = () => undefined } = options;
    this.#options = options;
    this.#link = link;
    this.controllerId = id;
    const trust = { meshId: mesh.meshId, grantKey: mesh.grantKey };
    const ledgers = { mesh: new Ledger(trust), secrets: new Ledger(trust) };
    const buckets = bucketsOf(link, mesh.name, secrets.grant);
    this.#buckets = buckets;
    const store = new Store(trust, secrets.grant, ledgers, buckets);
    const consumer = `${id}-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
    const view = { consumer, relist_ms, beatMissing_ms, isHasty: true };
    this.#views = {
      mesh: new View({ ...view, ledger: ledgers.mesh }),
      secrets: new View({ ...view, ledger: ledgers.secrets, hasBeat: false }),
    };
    this.#memory = new Memory(mesh, ledgers, log);
    const way = { servers: options.servers ?? mesh.servers, ca: () => options.ca ?? mesh.ca };
    this.#revocation = new Revocation(mesh, secrets, way, log);
    this.#core = {
      controllerId: id,
      mesh: { ...mesh },
      secrets,
      store,
      log,
      losses: new Losses(mesh, options.holdOff_ms ?? holdOff_ms, log),
      leases: new Leases(store, () => configOf(store)),
      revoke: (ended) => this.#revocation.add(ended),
      revokedAt: (key) => this.#revocation.at(key),
      whoRuns: (nodeId, asking) => whoRuns(link, mesh.name, nodeId, asking),
    };
    this.#mending = new Mending(this.#core, Object.values(this.#views));
    this.#heart = new Heart(this.#core, link);
    this.#servers = new Servers({
      store,
      buckets: Object.values(buckets),
      announce: options.announce ?? null,
      changed: (record) => {
        // From now on tokens and credentials name these.
        this.#core.mesh.servers = record.servers.map(({ url }) => url);
        options.onServers?.(record);
      },
      log,
    });
    this.#colleagues = new Colleagues(link, mesh.name, options.host ?? hostname());
    const { grant: signer } = secrets;
    this.#feed = new FeedServer({ controllerId: id, mesh, signer, link, log });
    this.#members = new Members(this.#core);
    const owe = () => this.#oweAgain();
    this.#housekeeping = new Housekeeping(this.#members, owe, log, options.tidy_ms);
    this.#users = new Users(this.#core);
    this.#admins = new Admins(this.#core);
    const parts = { core: this.#core, revocation: this.#revocation, admins: this.#admins };
    this.#trust = new TrustKeeper({ ...parts, mesh, user });
  }

  /**
   * Connects, makes the buckets when there are none, and serves; resolves when requests are
   * answered. MESHD_NO_NATS when no server answers, MESHD_NO_MESH when keys are missing,
   * MESHD_TIMEOUT.
   */
  static async start(options: ControllerOptions): Promise<Controller> {
    const { mesh, timeout_ms = 15_000 } = options;
    const secrets = await loadSecrets(mesh);
    await renewCredentials(mesh);
    const user = parseCredentials(await readFile(mesh.controllerCredentials, "utf8"));
    const id = signingKey(user.seed).publicKey;
    const link = await Link.open({
      servers: options.servers ?? mesh.servers,
      user: () => user,
      ca: () => options.ca ?? mesh.ca,
      inbox: inboxOf.controller(id),
      name: `meshd controller of ${mesh.name}`,
    });
    const controller = new Controller(options, secrets, link, user, id);
    try {
      await controller.#start(timeout_ms);
      return controller;
    } catch (error) {
      await controller.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#heart.close();
    this.#admins.close();
    this.#feed.close();
    if (this.#configLater) clearTimeout(this.#configLater);
    this.#revocation.close();
    this.#housekeeping.close();
    this.#servers.close();
    const { mesh, secrets } = this.#views;
    await this.#link.close(() =>
      Promise.all([this.#stopService?.(), mesh.close(), secrets.close()]),
    );
    await Promise.all([this.#memory.close(), this.#core.losses.close()]);
  }

  async #start(timeout_ms: number): Promise<void> {
    await prepareStore(this.#options, this.#core.store.ledgers, this.#buckets);
    await Promise.all([this.#memory.load(), this.#core.losses.load()]);
    await this.#ensureBuckets();
    // A server may come back without its store or with an older one: what this controller remembers
    // is then put back.
    this.#link.on("connected", () => {
      this.#mending.doubt();
      this.#ensureBuckets().catch((error) =>
        this.#log("buckets-missing", { reason: String(error) }),
      );
    });
    await this.#follow(timeout_ms);
    await this.#beginConfig();
    await this.#servers.begin();
    await this.#heart.begin(this.#options.beat_ms ?? 5_000);
    await this.#admins.start();
    await this.#serve();
    await this.#housekeeping.begin();
    await this.#oweAgain();
  }

  /** Answers nobody any more, and gives all records as they are then: for another store. */
  async handOver(): Promise<Handover> {
    await this.#stopService?.();
    // What was asked before is done by then, and seen.
    await sleep(handOver_ms);
    await this.#caughtUp();
    return takeHandover(this.#core.store.ledgers);
  }

  async #ensureBuckets(): Promise<void> {
    const { creation } = subjectsOf(this.#core.mesh.name);
    const { replicas = 1 } = this.#options;
    const buckets = Object.values(this.#buckets);
    const options = { replicas, value_max: valueLength_max };
    // Asked first: of two controllers that begin a mesh together, neither is to think it lost.
    const had = await hadStore(this.#core.mesh);
    const isNew = await ensureBuckets(this.#link, creation, buckets, options);
    for (const bucket of isNew ? [] : buckets) {
      if (await bucket.harden()) this.#log("bucket-hardened", { bucket: bucket.name });
    }
    // Who ran until then remembers all of it.
    if (had && isNew) this.#core.losses.found("empty", !this.#mending.isListed);
    await rememberStore(this.#core.mesh);
  }

  /**
   * The settings the mesh began with, unless there are others. After a lost store nodes hand back
   * those in force first.
   */
  async #beginConfig(): Promise<void> {
    const wait_ms = this.#core.losses.holdOff_ms;
    if (wait_ms > 0) {
      // An administrator may end it earlier.
      const look_ms = Math.min(wait_ms, 1_000);
      this.#configLater = setTimeout(() => {
        this.#beginConfig().catch((error) => this.#log("config-failed", { reason: String(error) }));
      }, look_ms);
      return;
    }
    const { config } = this.#core.mesh;
    await this.#core.store.change<"config">(keyOf.config(), (now) =>
      now === null ? config : undefined,
    );
  }

  /** Another controller may have ended between a change and what follows from it. */
  async #oweAgain(): Promise<void> {
    if (!this.#link.connected) return;
    await this.#users.announce();
    await this.#trust.follow();
    // Each once: of a time that lies ahead, as a wrong clock wrote it, nothing is ever enough.
    const all = owedRevocations(this.#core, this.#admins, this.#members);
    const owed = all.filter(({ key, since_s }) => {
      const one = `${key} ${since_s}`;
      return !this.#owed.has(one) && this.#owed.add(one);
    });
    if (owed.length > 0) this.#revocation.ensure(owed);
    for (const member of this.#members.all()) await this.#followNode(member.nodeId);
  }

  /** Both views are listed before anything is answered. */
  async #follow(timeout_ms: number): Promise<void> {
    const { mesh, secrets } = this.#views;
    for (const view of [mesh, secrets]) {
      view.on("trouble", (reason) => this.#log("watch-lost", { reason }));
      view.on("entry", ({ key }: { key: string }) => this.#memory.notice(key));
    }
    mesh.on("entry", (entry: Entry, applied: string) => {
      this.#core.leases.rests.heard(entry);
      if (entry.key === keyOf.servers()) this.#servers.follow();
      if (entry.key === keyOf.trust()) void this.#trust.follow();
      const place = applied === "changed" ? parseKey(entry.key) : null;
      if (place?.kind === "nodes" && place.writer) void this.#followNode(place.writer);
    });
    this.#feed.follow(mesh);
    const listed = [mesh, secrets].map(
      (view) => new Promise<void>((resolve) => view.once("listed", resolve)),
    );
    const buckets = this.#buckets;
    mesh.attach(this.#link, buckets.mesh);
    secrets.attach(this.#link, buckets.secrets);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const what = "the buckets could not be read in time; check the NATS server's JetStream";
      timer = setTimeout(() => reject(new ControlError("MESHD_TIMEOUT", what)), timeout_ms);
    });
    await Promise.race([Promise.all(listed), late]).finally(() => clearTimeout(timer));
    this.#mending.isListed = true;
  }

  async #serve(): Promise<void> {
    const tokens = new Tokens(this.#core);
    const { credentials_s = 30 * 86_400 } = this.#options;
    const admission = new Admission(this.#core, this.#members, tokens, credentials_s);
    const { name, meshId } = this.#core.mesh;
    this.#link.subscribe(subjectsOf(name).heartbeat("*"), ({ subject, reply, text }) => {
      const nodeId = subject.split(".").at(-1) ?? "";
      // The server delivers here what any member says, but under reply subjects of its own.
      if (isOwnReply(reply, inboxOf.node(nodeId))) this.#roster.hear(nodeId, text);
    });
    this.#colleagues.begin();
    this.#stopService = await serve(this.#link, {
      name: serviceName,
      version: this.#options.version ?? "0.1.0",
      description: `controller of mesh ${name}`,
      metadata: { mesh: name, meshId },
      endpoints: endpointsOf(this.#core, {
        admission,
        members: this.#members,
        tokens,
        admins: this.#admins,
        users: this.#users,
        confidant: new Confidant(this.#core, this.#users),
        feed: this.#feed,
        roster: this.#roster,
        clusterStatus: () => this.#clusterStatus(),
        caughtUp: () => this.#caughtUp(),
      }),
      toError: (error) =>
        serviceError(
          error instanceof Refused ? new ControlError("MESHD_BAD_REQUEST", error.message) : error,
        ),
    });
  }

  #clusterStatus(): Promise<ClusterStatus> {
    return clusterStatus({
      ...{ mesh: this.#core.mesh, link: this.#link, colleagues: this.#colleagues },
      buckets: Object.values(this.#buckets),
      record: () => this.#servers.record,
    });
  }

  async #caughtUp(): Promise<void> {
    const { mesh, secrets } = this.#buckets;
    await Promise.all([catchUp(mesh, this.#views.mesh), catchUp(secrets, this.#views.secrets)]);
  }

  /** Beats in a row that the store did not take, though its server is connected. */
  get failedBeats(): number {
    return this.#heart.failedBeats;
  }

  async #followNode(nodeId: string): Promise<void> {
    try {
      await this.#members.followNode(nodeId);
    } catch (error) {
      this.#log("claim-failed", { nodeId, reason: String(error) });
    }
  }

  #log(event: string, fields: Record<string, unknown>): void {
    this.#options.log?.(event, fields);
  }
}
