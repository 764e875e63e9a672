// The administrators' client: what the command line calls. Each method is one request to a
// controller.
import { readFile } from "node:fs/promises";
import { ask } from "./answer.js";
import type { GivenAdmin } from "./controller/admin-list-requests.js";
import type { AdminView } from "./controller/admins.js";
import type { ClusterStatus } from "./controller/cluster-status.js";
import type { RevokedToken } from "./controller/requests.js";
import type { StoreView } from "./controller/store-view.js";
import type { MadeToken, TokenOptions, TokenView } from "./controller/tokens.js";
import type { TrustReport } from "./controller/trust.js";
import {
  boxKeyProof,
  USER_SECRET_CONTEXT,
  type UserChange,
  type UserView,
} from "./controller/users.js";
import type { LeaseFinding, LeaseView, NodeView, RouteView } from "./controller/views.js";
import { open } from "./envelope.js";
import { ControlError } from "./errors.js";
import { writeSecretFile } from "./files.js";
import {
  adminCredentials,
  createAdminKey,
  grantText,
  isHalfOver,
  type Mesh,
  type MeshPlace,
  placeBlock,
  readPlace,
  seedIn,
} from "./founding/index.js";
import { keyOf } from "./keys.js";
import {
  Bucket,
  createKey,
  credentialsText,
  Link,
  parseCredentials,
  readUserJwt,
  signingKey,
  type User,
  verifySignature,
} from "./nats/index.js";
import type { PeerRecord, Refusal, TrustRecord } from "./records.js";
import { type AdminRole, leastRoleOf } from "./roles.js";
import { isBoxPublicKey, sealFor } from "./secrets.js";
import type { MeshConfig } from "./settings.js";
import { inboxOf, subjectsOf } from "./subjects.js";
import type { TrustedAuthorities } from "./tls/index.js";
import { formatToken } from "./token.js";
import type { UserSecret } from "./user-secret.js";

export interface AdminOptions {
  servers: string[];
  /** Path of a credentials file. */
  credentials: string;
  /** Whose servers are believed; default: none is known. */
  ca?: TrustedAuthorities;
  /** Mesh name. */
  mesh: string;
  /** The mesh's own keys, where they are known: answers of another mesh are not believed then. */
  trust?: { meshId: string; grantKey: string };
  timeout_ms?: number;
}

/** The server holds an administrator to the subjects of his role. */
function isRefusedSubject(error: unknown): boolean {
  // Credentials that are refused altogether have no such cause.
  const isRefused = error instanceof ControlError && error.code === "MESHD_PERMISSION";
  return isRefused && error.cause !== undefined;
}

/** An administrator to be. */
export interface AdminChoice {
  name: string;
  role: AdminRole;
  /** Seconds that the credentials last; null = for ever; default 90 days. */
  expires_s?: number | null;
}

/** Requests that a second time do something else, or are refused: never sent twice. */
const once = new Set([
  "tokens.revoke",
  "leases.reclaim",
  "leases.reserve",
  "peers.add",
  "peers.remove",
  "users.add",
  "users.remove",
  "admins.add",
  "admins.remove",
]);

/**
 * A node is named by its name or nodeId. Every method may fail with MESHD_NO_NATS,
 * MESHD_NO_CONTROLLER, MESHD_TIMEOUT, MESHD_PERMISSION and with the errors of the controller's part
 * that does it.
 */
export class AdminClient {
  readonly #link: Link;
  readonly #mesh: string;
  /** The administrator's, as his credentials say it: his requests go out under it. */
  readonly #name: string;
  readonly #timeout_ms: number;
  readonly #trust: AdminOptions["trust"];

  private constructor(link: Link, options: AdminOptions, name: string) {
    this.#link = link;
    this.#name = name;
    this.#mesh = options.mesh;
    this.#trust = options.trust;
    this.#timeout_ms = options.timeout_ms ?? 10_000;
  }

  static async connect(options: AdminOptions): Promise<AdminClient> {
    const [user, place] = await readFile(options.credentials, "utf8")
      .then((text) => [parseCredentials(text), readPlace(text)] as const)
      .catch((cause: unknown) => {
        const what =
          `credentials ${options.credentials} cannot be read; run this on the mesh's first ` +
          "host, or name others";
        throw new ControlError("MESHD_PERMISSION", what, { cause });
      });
    const link = await Link.open({
      servers: options.servers,
      user: () => user,
      ca: () => options.ca ?? null,
      inbox: inboxOf.admin(signingKey(user.seed).publicKey),
      name: "meshd admin",
    });
    const name = readUserJwt(user.jwt)?.name ?? "";
    const client = new AdminClient(link, options, name);
    const isOld = isHalfOver(user.jwt) || (place && (await client.#isSuperseded(user.jwt, place)));
    if (isOld) await client.#renew(options.credentials, user);
    return client;
  }

  /** As on the host of a controller: with the admin credentials of the mesh directory. */
  static forMesh(mesh: Mesh): Promise<AdminClient> {
    const { servers, ca, adminCredentials: credentials, name, meshId, grantKey } = mesh;
    const trust = { meshId, grantKey };
    return AdminClient.connect({ servers, ca, credentials, mesh: name, trust });
  }

  /** Whether keys of the mesh changed since the file was written. */
  async #isSuperseded(jwt: string, { meshId, grantKey, ca }: MeshPlace): Promise<boolean> {
    const bucket = new Bucket(this.#link, subjectsOf(this.#mesh).bucket);
    const entry = await bucket.get(keyOf.trust()).catch(() => null);
    const trust = entry && open({ meshId, grantKey }, keyOf.trust(), entry.value);
    if (trust === null || typeof trust === "string" || trust.record === null) return false;
    const { authorities, signers } = trust.record as TrustRecord;
    const isOther = ca !== undefined && ca !== authorities.join("");
    return isOther || readUserJwt(jwt)?.issuer !== signers[0];
  }

  /** Credentials past half of their time are renewed in their file; what fails is tried again. */
  async #renew(path: string, { seed }: User): Promise<void> {
    try {
      const { jwt, place } = await this.#ask<GivenAdmin>("admins.renew");
      await writeSecretFile(path, credentialsText(jwt, seed) + placeBlock(place));
    } catch (error) {
      // They are good for as long again: the next command may find a controller.
      if (!(error instanceof Error)) throw error;
    }
  }

  async #ask<T>(path: string, request: object = {}): Promise<T> {
    const subject = subjectsOf(this.#mesh).adminAs(this.#name, path);
    const again = !once.has(path);
    const done = new AbortController();
    try {
      const answer = ask(this.#link, subject, request, this.#timeout_ms, { again });
      return (await Promise.race([answer, this.#link.whenRefused(done.signal)])) as T;
    } catch (error) {
      throw isRefusedSubject(error) ? this.#mayNot(path, error) : error;
    } finally {
      done.abort();
    }
  }

  #mayNot(path: string, cause: unknown): ControlError {
    const what =
      `${this.#name} may not ask for ${path}: it needs role ${leastRoleOf(path)}; ` +
      '"meshd admin list" shows who has it';
    return new ControlError("MESHD_PERMISSION", what, { cause });
  }

  readonly nodes = {
    list: () => this.#ask<NodeView[]>("nodes.list"),
    show: (node: string) => this.#ask<NodeView>("nodes.show", { node }),
    /** `on` false ends it. */
    drain: (node: string, on = true) => this.#ask<NodeView>("nodes.drain", { node, on }),
    remove: (node: string) => this.#ask<NodeView>("nodes.remove", { node }),
    rename: (node: string, name: string) => this.#ask<NodeView>("nodes.rename", { node, name }),
    /** Routes a prefix to a node beside its PodCIDRs; `on` false ends it. */
    grant: (node: string, cidr: string, on = true) =>
      this.#ask<NodeView>("nodes.grant", { node, cidr, on }),
    /** Whether a node may serve PPTP accounts. */
    pptp: (node: string, on: boolean) => this.#ask<NodeView>("nodes.pptp", { node, on }),
    /**
     * What the agent itself says of its state; MESHD_NO_CONTROLLER or MESHD_TIMEOUT when it is
     * away.
     */
    status: async (node: string): Promise<unknown> => {
      const { nodeId } = await this.nodes.show(node);
      const subject = subjectsOf(this.#mesh).agent(nodeId, "status");
      return ask(this.#link, subject, {}, this.#timeout_ms);
    },
    /** A request of a bench to the agent itself; its refusals have the agent's code. */
    bench: (nodeId: string, request: object): Promise<unknown> => {
      const subject = subjectsOf(this.#mesh).agent(nodeId, "bench");
      return ask(this.#link, subject, request, this.#timeout_ms);
    },
  };

  readonly leases = {
    list: () => this.#ask<LeaseView[]>("leases.list"),
    audit: () => this.#ask<LeaseFinding[]>("leases.audit"),
    /**
     * One lease: a held one ends and rests, a resting or reserved one is free at once. None: mends
     * what audit finds.
     */
    reclaim: (cidr?: string) =>
      this.#ask<{ reclaimed: string[]; findings: LeaseFinding[] }>("leases.reclaim", { cidr }),
    /** Keeps a CIDR from being given. */
    reserve: (cidr: string) => this.#ask<LeaseView>("leases.reserve", { cidr }),
  };

  readonly tokens = {
    /** The seed is made here and stays here: it does not cross the wire. */
    create: async (options: TokenOptions = {}): Promise<{ token: string; view: TokenView }> => {
      const { seed, publicKey } = createKey("user");
      const request = { ...options, bootstrapKey: publicKey };
      const { contents, jwt, view } = await this.#ask<MadeToken>("tokens.create", request);
      return { token: formatToken({ ...contents, bootstrap: { jwt, seed } }), view };
    },
    list: () => this.#ask<TokenView[]>("tokens.list"),
    /** With `nodes` those that joined with it are removed, too; without, they are named. */
    revoke: (tokenId: string, nodes = false) =>
      this.#ask<RevokedToken>("tokens.revoke", { tokenId, nodes }),
  };

  readonly config = {
    get: () => this.#ask<MeshConfig>("config.get"),
    /** MESHD_BAD_SETTING, MESHD_SETTING_NOT_LIVE: nothing was changed. */
    set: (name: string, value: unknown) => this.#ask<MeshConfig>("config.set", { name, value }),
  };

  readonly peers = {
    add: (peer: PeerRecord) => this.#ask<PeerRecord>("peers.add", peer),
    list: () => this.#ask<PeerRecord[]>("peers.list"),
    remove: (name: string) => this.#ask<{ removed: string }>("peers.remove", { name }),
  };

  readonly admins = {
    list: () => this.#ask<AdminView[]>("admins.list"),
    /** The seed is made here and stays here. `text`: the credentials file, which is secret. */
    add: async (wish: AdminChoice): Promise<{ text: string; view: AdminView }> => {
      const { publicKey, text } = createAdminKey();
      const given = await this.#ask<GivenAdmin>("admins.add", { ...wish, key: publicKey });
      const granted = grantText(given.jwt, given.place);
      return { text: adminCredentials(seedIn(text, "the key"), granted), view: given.view };
    },
    /** For a public key that was made elsewhere. `text` is no secret. */
    addKey: async (wish: AdminChoice, key: string): Promise<{ text: string; view: AdminView }> => {
      const { jwt, place, view } = await this.#ask<GivenAdmin>("admins.add", { ...wish, key });
      return { text: grantText(jwt, place), view };
    },
    remove: (name: string) => this.#ask<{ removed: string }>("admins.remove", { name }),
  };

  /** Accounts of PPTP clients. A secret is put in a box here: it does not cross the wire bare. */
  readonly users = {
    list: () => this.#ask<UserView[]>("users.list"),
    add: async (name: string, secret: UserSecret, wishes: UserChange = {}) =>
      this.#ask<UserView>("users.add", { ...wishes, name, secret: await this.#boxed(secret) }),
    passwd: async (name: string, secret: UserSecret) =>
      this.#ask<UserView>("users.passwd", { name, secret: await this.#boxed(secret) }),
    set: (name: string, change: UserChange) =>
      this.#ask<UserView>("users.set", { ...change, name }),
    remove: (name: string) => this.#ask<{ removed: string }>("users.remove", { name }),
  };

  async #boxed(secret: UserSecret): Promise<string> {
    const { key, signature } = await this.#ask<{ key: string; signature: string }>("users.key");
    const trust = this.#trust;
    const isOurs = () =>
      trust === undefined ||
      verifySignature(
        trust.grantKey,
        boxKeyProof(trust.meshId, key),
        Buffer.from(String(signature), "base64url"),
      );
    if (!isBoxPublicKey(key) || !isOurs()) {
      const what = "who answered is no controller of this mesh; no password was sent";
      throw new ControlError("MESHD_PROOF_INVALID", what);
    }
    return sealFor(key, JSON.stringify(secret), USER_SECRET_CONTEXT);
  }

  /** What the store lacked when it came back empty or older, and who put it back. */
  readonly store = {
    report: () => this.#ask<StoreView>("store.report"),
    /** Ends the time in which nothing new is given. */
    accept: () => this.#ask<StoreView>("store.accept"),
  };

  /** Which servers and controllers live. */
  readonly cluster = { status: () => this.#ask<ClusterStatus>("cluster.status") };

  /** How far a change of the mesh's keys has come. */
  readonly keys = { report: () => this.#ask<TrustReport>("keys.report") };

  readonly routes = { list: () => this.#ask<RouteView[]>("routes.list") };

  /** Records that the answering controller refused. */
  refused(): Promise<Refusal[]> {
    return this.#ask<Refusal[]>("records.refused");
  }

  close(): Promise<void> {
    return this.#link.close();
  }
}
