// A mesh on three real nats-servers that are one cluster, on three addresses of loopback with ports
// of the kernel's choice; each can be killed, paused and started again.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { askServers } from "../../control/controller/server-views.js";
import { serverName } from "../../control/founding/cluster.js";
import { loadSecrets } from "../../control/founding/mesh.js";
import {
  AdminClient,
  type Cluster,
  type ClusterServer,
  Controller,
  type ControllerOptions,
  clientUrl,
  createMesh,
  MemberSession,
  type MemberSessionOptions,
  type Mesh,
  newClusterSecret,
  setMeshServers,
  writeCluster,
} from "../../control/index.js";
import { Bucket, Link, parseCredentials, signingKey, type User } from "../../control/nats/index.js";
import { inboxOf, subjectsOf } from "../../control/subjects.js";
import { type NatsServer, startNatsServer } from "../../src/natsd/index.js";
import { clearDirectory, makeDirectory } from "../support/ends.js";
import { freePorts } from "../support/ports.js";
import { eventually, type Joined, type LogLine } from "./fixture.js";

export const hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"] as const;

/** Three servers on loopback; `self` is to be said for each. */
export async function freeServers(): Promise<ClusterServer[]> {
  return Promise.all(
    hosts.map(async (host) => {
      const [port = 0, routePort = 0] = await freePorts(host, 2);
      return { host, port, routePort };
    }),
  );
}

export class TestCluster {
  readonly log: LogLine[] = [];
  readonly servers: NatsServer[] = [];
  readonly #closers: (() => Promise<unknown>)[] = [];
  private constructor(
    readonly dir: string,
    readonly mesh: Mesh,
    readonly cluster: Cluster,
  ) {}

  static async start(): Promise<TestCluster> {
    const dir = makeDirectory("cluster");
    const servers = await freeServers();
    const made = await createMesh(join(dir, "mesh"), { servers: [] });
    const mesh = await setMeshServers(made.dir, servers.map(clientUrl));
    const secret = newClusterSecret();
    const cluster: Cluster = { generation: 1, servers, self: hosts[0], state: "formed", secret };
    await writeCluster(mesh, cluster);
    const test = new TestCluster(dir, mesh, cluster);
    await Promise.all(servers.map((_, index) => test.startServer(index)));
    return test;
  }

  /** Starts the server of that index, or starts it again with the same store. */
  async startServer(index: number): Promise<void> {
    const own = this.cluster.servers[index] as ClusterServer;
    const cluster = { ...this.cluster, self: own.host };
    const place = { host: own.host, port: own.port, dir: join(this.dir, `nats${index}`) };
    this.servers[index] = await startNatsServer({ mesh: this.mesh, ...place, cluster });
  }

  /** At once, as by a host that loses its power. */
  async killServer(index: number): Promise<void> {
    const server = this.servers[index] as NatsServer;
    process.kill(server.pid, "SIGKILL");
    await eventually("it is gone", async () => !(await server.running()));
  }

  readonly #way = () => ({ servers: this.urls(0), ca: () => this.mesh.ca });

  async #asController<T>(use: (bucket: Bucket) => Promise<T>): Promise<T> {
    const user = parseCredentials(await readFile(this.mesh.controllerCredentials, "utf8"));
    const inbox = inboxOf.controller(signingKey(user.seed).publicKey);
    const link = await Link.open({ ...this.#way(), user: () => user, inbox, name: "test" });
    return use(new Bucket(link, this.mesh.name)).finally(() => link.close());
  }

  /** Index of the server that leads the members' bucket. */
  async leader(): Promise<number> {
    const name = await this.#asController(async (bucket) => (await bucket.copies()).leader);
    return this.cluster.servers.findIndex(({ host }) => serverName(this.mesh, host) === name);
  }

  /** Resolves when every server has all of JetStream's own state and of both buckets. */
  async healed(): Promise<void> {
    const { system } = await loadSecrets(this.mesh);
    const isHealed = async () => {
      const { secrets } = subjectsOf(this.mesh.name);
      const copies = await this.#asController(async (bucket) => {
        const both = [bucket, new Bucket(bucket.link, secrets)];
        return Promise.all(both.map((one) => one.copies()));
      });
      const { servers, leader } = await askServers(this.#way(), system as User);
      const current = servers.filter((one) => one.isCurrent);
      return copies.every((one) => one.current === 3) && current.length === 3 && leader !== null;
    };
    await eventually("all have all", () => isHealed().catch(() => false), 60_000);
  }

  /** URLs with that of one server first. */
  urls(first: number): string[] {
    const all = this.cluster.servers.map(clientUrl);
    return [...all.slice(first), ...all.slice(0, first)];
  }

  later(close: () => Promise<unknown>): void {
    this.#closers.push(close);
  }

  /** As on the host of that server. */
  async controller(index: number, options: Partial<ControllerOptions> = {}): Promise<Controller> {
    const log = (event: string, fields: Record<string, unknown>) =>
      void this.log.push({ event, fields });
    const starting = Controller.start({
      ...{ mesh: this.mesh, log, beat_ms: 500, replicas: 3 },
      ...{ servers: this.urls(index), host: hosts[index] ?? "", timeout_ms: 30_000, ...options },
    });
    this.later(async () => (await starting).close());
    return starting;
  }

  async admin(servers: string[] = this.urls(0)): Promise<AdminClient> {
    const { adminCredentials: credentials, name: mesh, ca } = this.mesh;
    const admin = await AdminClient.connect({ servers, ca, credentials, mesh, timeout_ms: 30_000 });
    this.later(() => admin.close());
    return admin;
  }

  async session(
    member: Joined,
    options: Partial<MemberSessionOptions> = {},
  ): Promise<MemberSession> {
    const session = await MemberSession.connect({ ...member, ...options });
    this.later(() => session.close());
    return session;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close().catch(() => undefined);
    await Promise.all(this.servers.map((server) => server.stop().catch(() => undefined)));
    clearDirectory(this.dir);
  }
}

/** Runs with a cluster and takes it down in any case. */
export async function withCluster(work: (cluster: TestCluster) => Promise<void>): Promise<void> {
  const cluster = await TestCluster.start();
  try {
    await work(cluster);
  } finally {
    await cluster.close();
  }
}
