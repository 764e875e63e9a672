// Controllers at once under 500 simultaneous joins: one holder per CIDR, in both families, by
// compare-and-set alone; and into pools that are too small.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ensureBuckets } from "../../control/controller/creation.js";
import {
  type ControlError,
  createIdentity,
  joinMesh,
  type Membership,
  type MeshConfig,
} from "../../control/index.js";
import { type Bucket, Link, parseCredentials, signingKey } from "../../control/nats/index.js";
import { inboxOf, subjectsOf } from "../../control/subjects.js";
import { codeOf, eventually, type TestMesh, underlayOf, withMesh } from "./fixture.js";

const count = 500;
/** All share the machine. */
const timeout_ms = 60_000;

async function joinAll(token: string, wanted = count) {
  const one = async (index: number) => {
    const underlay = { address: underlayOf(index), port: 8472 };
    return joinMesh(token, { identity: createIdentity(), name: `n${index}`, underlay, timeout_ms });
  };
  const joins = Array.from({ length: wanted }, (_, index) => one(index + 1));
  return Promise.allSettled(joins);
}

/** One holder for each CIDR of the members, none beside them, and nothing that an audit finds. */
async function isOrdered(mesh: TestMesh, members: Membership[]): Promise<void> {
  const admin = await mesh.admin();
  const cidrs = members.flatMap((one) => one.podCIDRs);
  assert.is(new Set(cidrs).size, cidrs.length);
  // A request that was sent again may still be undone at another controller.
  const count = async () => (await admin.nodes.list()).length;
  await eventually("nobody else is a member", async () => (await count()) === members.length);
  const held = (await admin.leases.list()).filter((lease) => lease.state === "held");
  assert.is(held.length, cidrs.length);
  const holders = new Map(held.map((lease) => [lease.cidr, lease.nodeId]));
  for (const { nodeId, podCIDRs } of members) {
    for (const cidr of podCIDRs) assert.is(holders.get(cidr), nodeId);
  }
  assert.equal(await admin.leases.audit(), []);
}

test("500 joins at once through three controllers get 500 PodCIDRs of each family", async () => {
  const config = { clusterPoolIPv4PodCIDR: "10.0.0.0/12", clusterPoolIPv6PodCIDR: "fd00::/48" };
  await withMesh({ config }, async (mesh) => {
    await Promise.all([mesh.controller(), mesh.controller(), mesh.controller()]);
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: count });
    const begun = performance.now();
    const members = (await joinAll(token)).flatMap((one) => {
      if (one.status === "fulfilled") return [one.value];
      throw one.reason;
    });
    console.log(`${count} joins in ${Math.round(performance.now() - begun)} ms`);
    assert.is(members.length, count);
    assert.ok(members.every((one) => one.podCIDRs.length === 2));
    await isOrdered(mesh, members);
    const [view] = await admin.tokens.list();
    assert.is(view?.uses, count);
  });
});

interface Small {
  family: "IPv4" | "IPv6";
  config: Partial<MeshConfig>;
  room: number;
  wanted: number;
  pool: string;
}

const smalls: Small[] = [
  {
    ...{ family: "IPv4", room: 256, wanted: 320, pool: "10.244.0.0/16 has no free /24" },
    config: { clusterPoolIPv4PodCIDR: "10.244.0.0/16", clusterPoolIPv6PodCIDR: "fd00::/48" },
  },
  {
    ...{ family: "IPv6", room: 32, wanted: 60, pool: "fd00::/59 has no free /64" },
    config: { clusterPoolIPv4PodCIDR: "10.0.0.0/12", clusterPoolIPv6PodCIDR: "fd00::/59" },
  },
];

/** One pool is too small, the other large: the error is clear, and nothing is left half-done. */
async function exhaust(mesh: TestMesh, { family, room, wanted, pool }: Small): Promise<void> {
  await Promise.all([mesh.controller(), mesh.controller()]);
  const admin = await mesh.admin();
  const { token, view } = await admin.tokens.create({ uses: wanted });
  const results = await joinAll(token, wanted);
  const members = results.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const refusals = results.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
  const codes = new Set(refusals.map(({ code }: ControlError) => code));
  assert.equal([...codes], ["MESHD_POOL_EXHAUSTED"]);
  const { message } = refusals[0] as ControlError;
  assert.match(message, `the pool ${pool}`);
  assert.match(message, "remove nodes, reclaim leases");
  assert.equal([members.length, refusals.length], [room, wanted - room]);
  await isOrdered(mesh, members);
  await eventually("what was refused spent nothing", async () => {
    const all = await admin.tokens.list();
    return all.find((one) => one.tokenId === view.tokenId)?.uses === room;
  });
  const rests = (await admin.leases.list()).filter((one) => one.state === "quarantined");
  assert.ok(
    rests.every(({ cidr }) => isFour(cidr) !== (family === "IPv4")),
    "what was given of the other family is given back",
  );
}

for (const small of smalls) {
  const { family, room, wanted } = small;
  const what = `${wanted} joins at once where ${family} has room for ${room}`;
  test(`${what}: so many get in, the others leave nothing`, () =>
    withMesh({ config: small.config }, (mesh) => exhaust(mesh, small)));
}

const isFour = (cidr: string) => cidr.includes(".");

async function winnersOf(mesh: TestMesh, wish: (index: number) => { name: string; host: number }) {
  const admin = await mesh.admin();
  const { token } = await admin.tokens.create({ uses: null });
  const joins = Array.from({ length: 20 }, (_, index) => {
    const { name, host } = wish(index);
    const underlay = { address: underlayOf(host), port: 8472 };
    return codeOf(joinMesh(token, { identity: createIdentity(), name, underlay }));
  });
  const codes = await Promise.all(joins);
  assert.is((await admin.nodes.list()).length, codes.filter((code) => code === "").length);
  return codes.sort();
}

test("of twenty nodes that join at once under one name, one gets it", async () => {
  await withMesh({}, async (mesh) => {
    await Promise.all([mesh.controller(), mesh.controller()]);
    const codes = await winnersOf(mesh, (index) => ({ name: "web", host: index + 1 }));
    assert.equal(codes, ["", ...new Array(19).fill("MESHD_NAME_TAKEN")]);
  });
});

test("of twenty nodes that join at once with one underlay address, one gets it", async () => {
  await withMesh({}, async (mesh) => {
    await Promise.all([mesh.controller(), mesh.controller()]);
    const codes = await winnersOf(mesh, (index) => ({ name: `n${index}`, host: 1 }));
    assert.equal(codes, ["", ...new Array(19).fill("MESHD_ADDRESS_CLAIMED")]);
  });
});

test("of eight controllers that find no buckets at once, one makes them", async () => {
  await withMesh({}, async (mesh) => {
    const user = parseCredentials(await readFile(mesh.mesh.controllerCredentials, "utf8"));
    const inbox = inboxOf.controller(signingKey(user.seed).publicKey);
    let there = false;
    let made = 0;
    const bucket = {
      exists: async () => there,
      make: async () => {
        made++;
        await sleep(100);
        there = true;
      },
    } as unknown as Bucket;
    const begin = async () => {
      const link = await Link.open({
        servers: [mesh.server.url],
        ca: () => mesh.mesh.ca,
        user: () => user,
        inbox,
        name: "",
      });
      mesh.later(() => link.close());
      await sleep(Math.random() * 100);
      return ensureBuckets(link, subjectsOf("mesh").creation, [bucket], {
        replicas: 1,
        value_max: 1,
      });
    };
    const results = await Promise.all(Array.from({ length: 8 }, begin));
    assert.is(made, 1);
    assert.is(results.filter((isMaker) => isMaker).length, 1);
  });
});

test.run();
