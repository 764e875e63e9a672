// One node key in two places, as a copied disk makes it: the one that was there first goes on, the
// other is refused by name, whenever it comes.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type ControlError,
  joinMesh,
  type MemberSession,
  type MemberSessionOptions,
  type MeshSnapshot,
  serializeSnapshot,
} from "../../control/index.js";
import {
  codeOf,
  eventually,
  factsOf,
  type Joined,
  joinNode,
  type TestMesh,
  underlayOf,
  withMesh,
} from "./fixture.js";

/** A process on host h<index>. `home`: its address is the one that the node's record says. */
function at(index: number, home: boolean, away_ms = 500): Partial<MemberSessionOptions> {
  const run = `${index}${Math.random().toString(16).slice(2, 10)}`;
  const place = { run, host: `h${index}`, bootId: `boot-${index}`, address: underlayOf(index) };
  return { twins: { place: () => place, home: () => home, away_ms } };
}

interface Scene {
  mesh: TestMesh;
  member: Joined;
  first: MemberSession;
  /** The first one's last good state, as it is on the copied disk. */
  saved: string;
  /** What the store has under the node's key. */
  record(): Promise<string>;
}

async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const member = await joinNode(token, 1);
    const first = await mesh.session(member, at(1, true));
    await first.ready(10_000);
    await first.writeNode(factsOf(1));
    await eventually("its record is seen", () => first.snapshot()?.nodes.size === 1);
    const saved = serializeSnapshot(first.snapshot() as MeshSnapshot);
    const record = async () => JSON.stringify((await admin.nodes.show("n1")).node);
    await work({ mesh, member, first, saved, record });
  });
}

function isNamed(error: ControlError | null): void {
  assert.is(error?.code, "MESHD_DUPLICATE_NODE");
  const message = error?.message ?? "";
  assert.match(message, "host h1 (192.0.2.1, boot boot-1)");
  assert.match(message, "host h2 (192.0.2.2, boot boot-2)");
}

test("a copy that starts beside the node is refused by name, and the node goes on", async () => {
  await withScene(async ({ mesh, member, first, saved, record }) => {
    const before = await record();
    const copy = await mesh.session(member, { ...at(2, false), saved });
    void copy.writeNode(factsOf(2));
    await eventually("the copy is refused", () => copy.twins.duplicate !== null);
    isNamed(copy.twins.duplicate);
    assert.is(await codeOf(copy.leave()), "MESHD_DUPLICATE_NODE", "the membership is not its own");
    assert.is(await record(), before, "the copy wrote nothing");
    assert.is(first.twins.duplicate, null);
    await first.writeNode(factsOf(1, { mtu: 1400 }));
    await eventually("the first still writes", async () => (await record()).includes("1400"));
  });
});

test("a copy that starts while NATS is away is found when it is back, without a flap", async () => {
  await withScene(async ({ mesh, member, first, saved, record }) => {
    const before = await record();
    let copy: MemberSession | undefined;
    await mesh.restartServer(async () => {
      copy = await mesh.session(member, { ...at(2, false, 6_000), saved });
      void copy.writeNode(factsOf(2));
      assert.is((await copy.ready(1_000)).leases.size, 1, "it has the last good state");
    });
    await eventually("the copy is refused", () => copy?.twins.duplicate != null);
    isNamed(copy?.twins.duplicate ?? null);
    await eventually("the first is back", () => first.connected);
    assert.is(first.twins.duplicate, null);
    assert.is(await record(), before, "the copy wrote nothing, so nothing went to and fro");
  });
});

test("of three copies that start at once beside the node none gets through", async () => {
  await withScene(async ({ mesh, member, saved, record }) => {
    const begin = (index: number) => mesh.session(member, { ...at(index, false), saved });
    const all = await Promise.all([2, 3, 4].map(begin));
    await eventually("all copies are refused", () =>
      all.every((one) => one.twins.duplicate !== null),
    );
    assert.match(await record(), "192.0.2.1");
  });
});

test("a node whose disk moved to another host goes on there when the old one is off", async () => {
  await withScene(async ({ mesh, member, first, saved, record }) => {
    await first.close();
    const moved = await mesh.session(member, { ...at(2, false), saved });
    await moved.ready(10_000);
    await moved.writeNode(factsOf(2));
    await eventually("it is where it is now", async () => (await record()).includes("192.0.2.2"));
    assert.is(moved.twins.duplicate, null);
    // And the old host, switched on again, is the copy now.
    const old = await mesh.session(member, { ...at(1, false), saved });
    await eventually("the old one is refused", () => old.twins.duplicate !== null);
    assert.match(await record(), "192.0.2.2");
  });
});

test("of two that begin in one moment exactly one goes on, each time", async () => {
  await withScene(async ({ mesh, member, first }) => {
    await first.close();
    for (let round = 0; round < 8; round++) {
      const pair = await Promise.all([1, 2].map((index) => mesh.session(member, at(index, true))));
      const refused = () => pair.filter((one) => one.twins.duplicate !== null).length;
      await eventually("one is refused", () => refused() > 0);
      const rest = pair.filter((one) => one.twins.duplicate === null);
      await Promise.all(rest.map((one) => one.ready(5_000)));
      assert.is(refused(), 1, `round ${round}`);
      for (const one of pair) await one.close();
    }
  });
});

test("joining with the key of a node that runs elsewhere takes nothing", async () => {
  await withScene(async ({ mesh, member: { identity }, first, record }) => {
    const admin = await mesh.admin();
    const before = await record();
    const { token, view } = await admin.tokens.create();
    const { tokenId } = view;
    const { twins } = at(2, false);
    const place = twins?.place?.();
    const underlay = { address: underlayOf(2), port: 8472 };
    const wishes = { identity, name: "copy", underlay, ...(place ? { place } : {}) };
    const refusal = await joinMesh(token, wishes).catch((error: unknown) => error);
    isNamed(refusal as ControlError);
    assert.is((await admin.tokens.list()).find((one) => one.tokenId === tokenId)?.uses, 0);
    assert.equal(
      (await admin.nodes.list()).map(({ name, podCIDRs }) => [name, podCIDRs]),
      [["n1", ["10.244.0.0/24"]]],
    );
    assert.is(await record(), before);
    await first.close();
    const joined = await joinMesh(token, wishes);
    assert.equal(joined.podCIDRs, ["10.244.0.0/24"], "once the first is off it has its lease");
  });
});

test.run();
