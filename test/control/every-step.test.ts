// A controller that ends at any of its writes, before or after the store has it: for every write of
// every request. Another one starts; nothing is given twice, the request asked again succeeds, and
// where nobody asks again nothing stays half-done.
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type AdminClient,
  type Controller,
  createIdentity,
  type Identity,
  joinMesh,
  type Membership,
} from "../../control/index.js";
import { moveClock, trueClock } from "./clock.js";
import { codeOf, TestMesh } from "./fixture.js";
import { Knife } from "./knife.js";

const config = { clusterPoolIPv4PodCIDR: "10.0.0.0/8", clusterPoolIPv6PodCIDR: "fd00:10:244::/48" };
/** More writes than any request has. */
const writes_max = 40;

class World {
  readonly cuts: string[] = [];
  readonly later: { what: string; asked: Promise<unknown>; check: () => Promise<void> }[] = [];
  #controller: Controller | null = null;
  #serial = 0;
  private constructor(
    readonly mesh: TestMesh,
    readonly admin: AdminClient,
    readonly token: string,
  ) {}

  static async start(): Promise<World> {
    const mesh = await TestMesh.start({ config });
    const first = await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const world = new World(mesh, admin, token);
    world.#controller = first;
    return world;
  }

  /** The one that ended gives its timers back; another begins. */
  async another(tidy_ms = 60_000): Promise<void> {
    await this.#controller?.close();
    this.#controller = await this.mesh.controller({ tidy_ms });
  }

  next(): number {
    return ++this.#serial;
  }

  knife(at: number, after: boolean): Knife {
    return new Knife(new URL(this.mesh.server.url).host, at, after);
  }
}

/** A node with a name and an address of its own. */
interface Node {
  identity: Identity;
  name: string;
  address: string;
}

function newNode(world: World, prefix = "n"): Node {
  const index = world.next();
  const address = `192.0.${2 + (index >> 8)}.${index & 255}`;
  return { identity: createIdentity(), name: `${prefix}${index}`, address };
}

function join(world: World, { identity, name, address }: Node): Promise<Membership> {
  const underlay = { address, port: 8472 };
  return joinMesh(world.token, { identity, name, underlay, timeout_ms: 8_000 });
}

async function joined(world: World): Promise<Node> {
  const node = newNode(world);
  await join(world, node);
  return node;
}

async function isFree(world: World, name: string, address: string): Promise<void> {
  const node = { ...newNode(world), name, address };
  assert.is(await codeOf(join(world, node)), "", `${name} and ${address} are free`);
  await world.admin.nodes.remove(name);
}

async function living(world: World, identity: Identity) {
  const all = await world.admin.nodes.list();
  return all.find(({ nodeId }) => nodeId === identity.nodeId);
}

/** A living member is whole: a PodCIDR of each family, its name and address its own. */
async function isWhole(world: World, { identity, ...wished }: Node): Promise<void> {
  const member = await living(world, identity);
  if (member === undefined) return isFree(world, wished.name, wished.address);
  assert.is(member.podCIDRs.length, 2, `${member.name} has its PodCIDRs`);
  const thief = { ...newNode(world), name: member.name };
  assert.is(await codeOf(join(world, thief)), "MESHD_NAME_TAKEN");
}

interface Act<T> {
  name: string;
  prepare: (world: World) => Promise<T>;
  run: (world: World, subject: T) => Promise<unknown>;
  /** After the request was asked again. */
  done: (world: World, subject: T) => Promise<void>;
  /** Where nobody asked again, some time later. */
  whole: (world: World, subject: T) => Promise<void>;
}

const acts: Act<Node>[] = [
  {
    name: "join",
    prepare: async (world) => newNode(world),
    run: join,
    done: async (world, node) => assert.ok(await living(world, node.identity)),
    whole: isWhole,
  },
  {
    name: "join again with another name and address",
    prepare: joined,
    run: (world, node) => join(world, moved(node)),
    done: async (world, node) => {
      assert.is((await living(world, node.identity))?.name, moved(node).name);
      await isFree(world, node.name, node.address);
    },
    whole: isWhole,
  },
  {
    name: "join of a removed node",
    prepare: async (world) => {
      const node = await joined(world);
      await world.admin.nodes.remove(node.name);
      return node;
    },
    run: join,
    done: async (world, node) => assert.is((await living(world, node.identity))?.epoch, 2),
    whole: isWhole,
  },
  {
    name: "remove",
    prepare: joined,
    run: (world, node) => world.admin.nodes.remove(node.identity.nodeId),
    done: async (world, node) => {
      assert.is(await living(world, node.identity), undefined);
      await isFree(world, node.name, node.address);
    },
    whole: isWhole,
  },
  {
    name: "rename",
    prepare: joined,
    run: (world, node) => world.admin.nodes.rename(node.identity.nodeId, moved(node).name),
    done: async (world, node) => {
      assert.is((await living(world, node.identity))?.name, moved(node).name);
    },
    whole: async (world, node) => {
      await isWhole(world, node);
      const now = (await living(world, node.identity))?.name;
      const other = now === node.name ? moved(node).name : node.name;
      await isFree(world, other, newNode(world).address);
    },
  },
  {
    name: "reclaim",
    prepare: joined,
    run: async (world, { identity }) => {
      const all = await world.admin.leases.list();
      const own = all.filter((one) => one.nodeId === identity.nodeId && one.state === "held");
      for (const { cidr } of own) await world.admin.leases.reclaim(cidr);
    },
    done: async (world, { identity }) => {
      assert.equal((await living(world, identity))?.podCIDRs, []);
    },
    whole: async () => undefined,
  },
  {
    name: "grant",
    prepare: joined,
    run: (world, node) => world.admin.nodes.grant(node.name, grantOf(node)),
    done: async (world, node) => {
      assert.equal((await living(world, node.identity))?.grantedPrefixes, [grantOf(node)]);
    },
    whole: isWhole,
  },
];

const moved = (node: Node): Node => ({
  ...node,
  name: `${node.name}-b`,
  address: node.address.replace("192.0", "198.18"),
});
const grantOf = (node: Node) => node.address.replace("192.0", "172.16").concat("/32");

/** Requests of one write, with their keys as what they are about. */
const small: Act<string>[] = [
  {
    name: "reserve",
    prepare: async (world) => `10.200.${world.next()}.0/24`,
    run: (world, cidr) => world.admin.leases.reserve(cidr),
    done: async (world, cidr) => {
      const found = (await world.admin.leases.list()).find((one) => one.cidr === cidr);
      assert.is(found?.state, "reserved");
    },
    whole: async () => undefined,
  },
  {
    name: "peer add",
    prepare: async (world) => `p${world.next()}`,
    run: (world, name) => {
      const index = name.slice(1);
      const rest = { port: 8472, vtepMac: null, protocol: "vxlan" as const, vni: 1 };
      const podCIDRs = [`172.20.${index}.0/24`];
      return world.admin.peers.add({
        ...{ name, endpoint: `198.51.100.${index}`, podCIDRs, ...rest },
        vtepMac: "0a:00:00:00:01:01",
      });
    },
    done: async (world, name) => {
      assert.ok((await world.admin.peers.list()).some((one) => one.name === name));
    },
    whole: async () => undefined,
  },
  {
    name: "token revoke",
    prepare: async (world) => (await world.admin.tokens.create()).view.tokenId,
    run: (world, tokenId) => world.admin.tokens.revoke(tokenId),
    done: async (world, tokenId) => {
      const all = await world.admin.tokens.list();
      assert.ok(all.find((one) => one.tokenId === tokenId)?.revoked);
    },
    whole: async () => undefined,
  },
  {
    name: "token create",
    prepare: async () => "",
    run: (world) => world.admin.tokens.create({ description: "made" }),
    done: async (world) => {
      const all = await world.admin.tokens.list();
      assert.ok(all.some((one) => one.description === "made"));
    },
    whole: async () => undefined,
  },
];

/** Whatever happened: one holder for each CIDR, and no route without its lease. */
async function isSound(world: World, what: string): Promise<void> {
  const leases = (await world.admin.leases.list()).filter(({ state }) => state === "held");
  const holders = new Map(leases.map((one) => [one.cidr, one.nodeId]));
  assert.is(holders.size, leases.length, what);
  const shares = leases.map(({ cidr, nodeId }) => `${nodeId} ${cidr.includes(":")}`);
  assert.is(new Set(shares).size, shares.length, `${what}: no node has two of a family`);
  const audit = await world.admin.leases.audit();
  assert.equal(
    audit.filter(({ kind }) => kind === "overlap" || kind === "epoch"),
    [],
    what,
  );
  const unheld = new Set(audit.filter(({ kind }) => kind === "unheld").map(({ cidr }) => cidr));
  for (const { prefix, nodeId } of await world.admin.routes.list()) {
    const isLeased = prefix.startsWith("10.") || prefix.startsWith("fd00:");
    if (!isLeased || unheld.has(prefix)) continue;
    assert.is(holders.get(prefix), nodeId, `${what}: ${prefix}`);
  }
}

interface Cut {
  at: number;
  after: boolean;
  /** Whether the request is asked again. */
  again: boolean;
}

/** False when the request has no such write. */
async function cutAt<T>(world: World, act: Act<T>, { at, after, again }: Cut): Promise<boolean> {
  const subject = await act.prepare(world);
  const knife = world.knife(at, after);
  const asked = act.run(world, subject).then(
    () => "done",
    (error: Error) => error.message,
  );
  const came = await Promise.race([knife.cut, asked]);
  knife.drop();
  const what = `${act.name}, ${after ? "after" : "before"} write ${at} (${knife.keys.at(-1)})`;
  if (came !== "cut") {
    assert.is(came, "done", what);
    return false;
  }
  world.cuts.push(what);
  await world.another();
  await isSound(world, what);
  if (!again) {
    world.later.push({ what, asked, check: () => act.whole(world, subject) });
    return true;
  }
  const answered = await codeOf(act.run(world, subject));
  assert.is(answered, "", `${what}, asked again`);
  await act.done(world, subject);
  await isSound(world, what);
  return true;
}

/** After a write is before the next one, but for the last, whose answer nobody hears. */
async function cutEverywhere<T>(world: World, act: Act<T>): Promise<void> {
  for (const again of [true, false]) {
    let at = 1;
    while (await cutAt(world, act, { at, after: false, again })) at++;
    assert.ok(at > 1 && at < writes_max, `${act.name} writes`);
    // On a slow machine a request that is sent again may have had writes more than this one.
    await cutAt(world, act, { at: at - 1, after: true, again });
  }
}

/** Time passes, by the clock and for the controller that is there now; an administrator mends. */
async function afterwards(world: World): Promise<void> {
  await Promise.all(world.later.map(({ asked }) => asked));
  await world.another(300);
  // Two looks of its housekeeping.
  await sleep(1_500);
  const { findings } = await world.admin.leases.reclaim();
  assert.equal(findings, [], "reclaim mends what the audit found");
  for (const { what, check } of world.later) {
    await check().catch((error: Error) => {
      throw new Error(`${what}, some time later: ${error.message}`);
    });
  }
  await isSound(world, "at the end");
  assert.equal(await world.admin.leases.audit(), []);
}

test("a controller that ends at any write of any request leaves nothing half-done", async () => {
  const shares = [acts.slice(0, 1), acts.slice(1, 2), acts.slice(2, 3), acts.slice(3)];
  const worlds = await Promise.all(shares.map(begin));
  try {
    await Promise.all(worlds.map(({ work }) => work()));
    moveClock(600_000);
    await Promise.all(worlds.map(({ world }) => afterwards(world)));
    const cuts = worlds.flatMap(({ world }) => world.cuts);
    console.log(`${cuts.length} controllers ended`);
    assert.ok(cuts.length > 60);
  } finally {
    trueClock();
    await Promise.all(worlds.map(({ world }) => world.mesh.close()));
  }
});

async function begin(mine: Act<Node>[], index: number) {
  const world = await World.start();
  const work = async () => {
    for (const act of mine) await cutEverywhere(world, act);
    if (index === 3) for (const act of small) await cutEverywhere(world, act);
  };
  return { world, work };
}

test.run();
