// `meshd up --nats`: a mesh on a nats-server of somebody else, from the first refusal to a node
// that is removed and stays out, also after that server started again.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  type ClusterStatus,
  createIdentity,
  joinMesh,
  type Membership,
} from "../../control/index.js";
import { Link } from "../../control/nats/index.js";
import { inboxOf } from "../../control/subjects.js";
import { atEnd } from "../support/ends.js";
import { freePort } from "../support/ports.js";
import { codeOf, until } from "../support/wait.js";
import { ask, meshd } from "./real.js";
import { makeWorld, type World } from "./world.js";

/** A nats-server as somebody runs it: his own file, his own folder. */
class TheirServer {
  #process: ChildProcess | null = null;
  constructor(
    readonly dir: string,
    readonly port: number,
  ) {
    this.configure("");
    atEnd(() => void this.#process?.kill("SIGKILL"));
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  configure(more: string): void {
    const store = JSON.stringify(join(this.dir, "store"));
    const own = `listen: "127.0.0.1:${this.port}"\njetstream { store_dir: ${store} }\n`;
    writeFileSync(join(this.dir, "nats-server.conf"), own + more);
  }

  async start(): Promise<void> {
    const log = openSync(join(this.dir, "nats-server.log"), "a");
    const path = `${process.env.PATH}:/usr/sbin:/usr/local/bin`;
    const options = { cwd: this.dir, env: { ...process.env, PATH: path } };
    const argv = ["-c", join(this.dir, "nats-server.conf")];
    this.#process = spawn("nats-server", argv, { ...options, stdio: ["ignore", log, log] });
    await once(this.#process, "spawn");
  }

  async stop(): Promise<void> {
    if (this.#process === null || this.#process.exitCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    await ended;
  }
}

interface Given {
  world: World;
  server: TheirServer;
}

const test = suite<Given>("nats-servers of somebody else");
const identity = createIdentity();
let membership: Membership;

test.before(async (given) => {
  given.world = makeWorld();
  given.server = new TheirServer(given.world.dir, await freePort());
  await given.server.start();
});

test.after(async ({ world, server }) => {
  await meshd(world, "down", "--all");
  await server.stop();
  world.remove();
});

/** Whether the server takes the node's credentials. */
async function isTaken({ server }: Given): Promise<boolean> {
  const user = () => ({ jwt: membership.jwt, seed: identity.seed });
  const inbox = inboxOf.node(identity.nodeId);
  const opened = Link.open({ servers: [server.url], user, inbox, name: "n1" });
  const code = await codeOf(opened);
  if (code === "") await (await opened).close();
  assert.ok(["", "MESHD_PERMISSION"].includes(code), code);
  return code === "";
}

test("a server that does not know the mesh is refused, with what it is to include", async ({
  world,
  server,
}) => {
  const up = async () => meshd(world, "up", "--name", "theirs", "--nats", server.url, "--json");
  await until("it runs", async () => !/MESHD_NO_NATS/.test((await up()).err));
  const { code, err } = await up();
  assert.is(code, 1);
  assert.match(err, /do not know mesh theirs: copy (\S+) to each of them/);
  const text = readFileSync(join(world.stateDir, "theirs.nats.conf"), "utf8");
  assert.match(text, /^operator: "eyJ/m);
  assert.not.match(text, /\bS[OAU][A-Z2-7]{50,}/);
});

test("once it includes that, the mesh is there: controller, tokens, joins", async (given) => {
  const { world, server } = given;
  copyFileSync(join(world.stateDir, "theirs.nats.conf"), join(server.dir, "theirs.nats.conf"));
  server.configure('include "theirs.nats.conf"\n');
  await server.stop();
  await server.start();
  const up = async () => (await meshd(world, "up", "--nats", server.url)).code === 0;
  await until("the controller answers", up);
  const { token } = await ask<{ token: string }>(world, "token", "create");
  const underlay = { address: "192.0.2.1", port: 8472 };
  membership = await joinMesh(token, { identity, name: "n1", underlay });
  assert.equal(membership.servers, [server.url]);
  assert.ok(await isTaken(given));
  const status = await ask<{ controller: { natsPid: number | null } }>(world, "status");
  assert.is(status.controller.natsPid, null);
  const { servers, problems } = await ask<ClusterStatus>(world, "cluster", "status");
  assert.equal([servers.length, problems], [1, []]);
});

test("controller and server start again, and the mesh goes on as it was", async (given) => {
  const { world, server } = given;
  await ask(world, "down");
  assert.match((await meshd(world, "status")).err, /'meshd controller' starts it/);
  await server.stop();
  await server.start();
  const started = async () => (await meshd(world, "controller")).code === 0;
  await until("the controller answers", started);
  const nodes = await ask<{ name: string; podCIDRs: string[] }[]>(world, "node", "list");
  assert.equal(
    nodes.map(({ name, podCIDRs }) => ({ name, podCIDRs })),
    [{ name: "n1", podCIDRs: membership.podCIDRs }],
  );
});

test("a node that is removed is refused by their server, also after its restart", async (given) => {
  const { world, server } = given;
  await ask(world, "node", "remove", "n1");
  await until("it is refused", async () => !(await isTaken(given)));
  await server.stop();
  await server.start();
  await until("it runs", async () => (await meshd(world, "node", "list")).code === 0);
  assert.not.ok(await isTaken(given));
});

test.run();
