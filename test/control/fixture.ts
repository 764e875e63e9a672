// A mesh with a real nats-server on a free port of loopback, in a directory of its own; taken down
// by close(), and at the latest when the process ends.
import { join } from "node:path";
import {
  AdminClient,
  Controller,
  type ControllerOptions,
  type CreateMeshOptions,
  createIdentity,
  createMesh,
  type Identity,
  joinMesh,
  MemberSession,
  type MemberSessionOptions,
  type Membership,
  type Mesh,
  type NodeFacts,
  setMeshServers,
} from "../../control/index.js";
import { type NatsServer, startNatsServer } from "../../src/natsd/index.js";
import { clearDirectory, makeDirectory } from "../support/ends.js";
import { codeOf, until } from "../support/wait.js";

export type LogLine = { event: string; fields: Record<string, unknown> };

export class TestMesh {
  readonly log: LogLine[] = [];
  readonly #controllers: Promise<Controller>[] = [];
  readonly #closers: (() => Promise<unknown>)[] = [];
  private constructor(
    readonly dir: string,
    readonly mesh: Mesh,
    public server: NatsServer,
  ) {}

  static async start(options: Partial<CreateMeshOptions> = {}): Promise<TestMesh> {
    const dir = makeDirectory("test");
    const made = await createMesh(join(dir, "mesh"), { servers: [], ...options });
    const server = await startNatsServer({ mesh: made, dir: join(dir, "nats"), port: 0 });
    const mesh = await setMeshServers(made.dir, [server.url]);
    return new TestMesh(dir, mesh, server);
  }

  /** Stops the server and starts it again on the same port with the same store. */
  async restartServer(whileDown: () => Promise<void> = async () => undefined): Promise<void> {
    const { port } = this.server;
    await this.server.stop();
    await whileDown();
    this.server = await startNatsServer({ mesh: this.mesh, dir: join(this.dir, "nats"), port });
  }

  later(close: () => Promise<unknown>): void {
    this.#closers.push(close);
  }

  async controller(options: Partial<ControllerOptions> = {}): Promise<Controller> {
    const log = (event: string, fields: Record<string, unknown>) =>
      void this.log.push({ event, fields });
    const starting = Controller.start({ mesh: this.mesh, log, beat_ms: 500, ...options });
    this.#controllers.push(starting);
    // Also when the test ends before it is ready.
    this.later(async () => (await starting).close());
    return starting;
  }

  /** All that were started until now. */
  async closeControllers(): Promise<void> {
    for (const one of this.#controllers.splice(0)) await (await one).close();
  }

  async admin(): Promise<AdminClient> {
    const admin = await AdminClient.forMesh(this.mesh);
    this.later(() => admin.close());
    return admin;
  }

  async session(
    member: Joined,
    options: Partial<MemberSessionOptions> = {},
  ): Promise<MemberSession> {
    const session = await MemberSession.connect({
      // Its addresses are made up, and no host has them.
      ...{ ...member, twins: { home: () => true } },
      ...options,
    });
    this.later(() => session.close());
    return session;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close().catch(() => undefined);
    await this.server.stop();
    clearDirectory(this.dir);
  }
}

export interface Joined {
  identity: Identity;
  membership: Membership;
}

/** A node n<index> with underlay address 192.0.2.<index> (RFC 5737) joins. */
export async function joinNode(
  token: string,
  index: number,
  identity = createIdentity(),
): Promise<Joined> {
  const underlay = { address: underlayOf(index), port: 8472 };
  const membership = await joinMesh(token, { identity, name: `n${index}`, underlay });
  return { identity, membership };
}

export function underlayOf(index: number): string {
  return `192.0.${2 + (index >> 8)}.${index & 255}`;
}

export function factsOf(index: number, change: Partial<NodeFacts> = {}): NodeFacts {
  return {
    underlay: { addresses: [underlayOf(index)], interfaceAddresses: [], port: 8472 },
    vtepMac: `0a:00:00:00:00:${(index & 255).toString(16).padStart(2, "0")}`,
    protocols: ["vxlan"],
    mtu: 1450,
    version: "0.1.0",
    bootId: "boot-1",
    epoch: 1,
    capabilities: [],
    ...change,
  };
}

export { codeOf };

/** As `until`, with the patience that servers and leases want. */
export function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  deadline_ms = 15_000,
): Promise<void> {
  return until(what, holds, deadline_ms);
}

/** Runs with a mesh and takes it down in any case. */
export async function withMesh(
  options: Partial<CreateMeshOptions>,
  work: (mesh: TestMesh) => Promise<void>,
): Promise<void> {
  const mesh = await TestMesh.start(options);
  try {
    await work(mesh);
  } finally {
    await mesh.close();
  }
}
