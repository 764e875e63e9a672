// The administrators' client: what the command line calls. Each method is one request to a
// controller.
import { readFile } from "node:fs/promises";
import { ask } from "./answer.js";
import type { MadeToken, TokenOptions, TokenView } from "./controller/tokens.js";
import type { LeaseFinding, LeaseView, NodeView, RouteView } from "./controller/views.js";
import { ControlError } from "./errors.js";
import type { Mesh } from "./mesh.js";
import { createKey, Link, parseCredentials, signingKey } from "./nats/index.js";
import type { PeerRecord, Refusal } from "./records.js";
import type { MeshConfig } from "./settings.js";
import { inboxOf, subjectsOf } from "./subjects.js";
import { formatToken } from "./token.js";

export interface AdminOptions {
  servers: string[];
  /** Path of a credentials file. */
  credentials: string;
  /** Mesh name. */
  mesh: string;
  timeout_ms?: number;
}

/**
 * A node is named by its name or nodeId. Every method may fail with MESHD_NO_NATS,
 * MESHD_NO_CONTROLLER, MESHD_TIMEOUT, MESHD_PERMISSION and with the errors of the controller's part
 * that does it.
 */
export class AdminClient {
  readonly #link: Link;
  readonly #mesh: string;
  readonly #timeout_ms: number;

  private constructor(link: Link, options: AdminOptions) {
    this.#link = link;
    this.#mesh = options.mesh;
    this.#timeout_ms = options.timeout_ms ?? 10_000;
  }

  static async connect(options: AdminOptions): Promise<AdminClient> {
    const user = await readFile(options.credentials, "utf8")
      .then(parseCredentials)
      .catch((cause: unknown) => {
        const what =
          `credentials ${options.credentials} cannot be read; run this on the mesh's first ` +
          "host, or name others";
        throw new ControlError("MESHD_PERMISSION", what, { cause });
      });
    const link = await Link.open({
      servers: options.servers,
      user: () => user,
      inbox: inboxOf.admin(signingKey(user.seed).publicKey),
      name: "meshd admin",
    });
    return new AdminClient(link, options);
  }

  /** As on the host of a controller: with the admin credentials of the mesh directory. */
  static forMesh(mesh: Mesh): Promise<AdminClient> {
    const { servers, adminCredentials, name } = mesh;
    return AdminClient.connect({ servers, credentials: adminCredentials, mesh: name });
  }

  async #ask<T>(path: string, request: object = {}): Promise<T> {
    const subject = subjectsOf(this.#mesh).admin(path);
    return (await ask(this.#link, subject, request, this.#timeout_ms)) as T;
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
    revoke: (tokenId: string) => this.#ask<TokenView>("tokens.revoke", { tokenId }),
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

  readonly routes = { list: () => this.#ask<RouteView[]>("routes.list") };

  /** Records that the answering controller refused. */
  refused(): Promise<Refusal[]> {
    return this.#ask<Refusal[]>("records.refused");
  }

  close(): Promise<void> {
    return this.#link.close();
  }
}
