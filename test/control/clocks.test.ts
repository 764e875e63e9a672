// Members that were away for months, and clocks that are days wrong or jump, of nodes, controllers
// and the server: a member renews with its key and needs no token.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type Controller,
  type MemberSession,
  type Membership,
  type MeshSnapshot,
  serializeSnapshot,
} from "../../control/index.js";
import { DAY_MS, type Shift, withClock } from "../support/clock.js";
import { codeOf, eventually, factsOf, type Joined, joinNode, withMesh } from "./fixture.js";

const view = (session: MemberSession) => session.snapshot() as MeshSnapshot;

test("a member that was away until its credentials had ended needs its key alone", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller({ credentials_s: 2 });
    const admin = await mesh.admin();
    const { token, view: made } = await admin.tokens.create({ uses: 2 });
    const away = await joinNode(token, 1);
    const first = await mesh.session(away);
    await first.ready(10_000);
    await first.writeNode(factsOf(1));
    const saved = serializeSnapshot(view(first));
    await first.close();
    // Meanwhile the mesh goes on without it, its token ends, and all is restarted.
    await joinNode(token, 2);
    await admin.tokens.revoke(made.tokenId);
    await admin.nodes.rename("n1", "moved");
    await admin.config.set("mtu", 1400);
    const end = first.credentialsEnd?.getTime() ?? 0;
    await eventually("its credentials have ended", () => Date.now() > end + 1_000);
    await mesh.restartServer();
    let renewed: Membership | null = null;
    const back = await mesh.session(away, { saved });
    back.on("membership", (membership: Membership) => {
      renewed = membership;
    });
    assert.is(view(back).members.get(back.nodeId)?.name, "n1", "its last good state");
    await eventually("it is up to date", () => {
      const { members, config } = view(back);
      return members.get(back.nodeId)?.name === "moved" && config.mtu === 1400;
    });
    const { podCIDRs, epoch } = renewed as unknown as Membership;
    assert.equal({ podCIDRs, epoch }, { podCIDRs: ["10.244.0.0/24"], epoch: 1 });
    await back.writeNode(factsOf(1, { bootId: "boot-2" }));
    await eventually("its record is taken", async () => {
      return (await admin.nodes.show("moved")).node?.bootId === "boot-2";
    });
  });
});

/** A member whose host's clock is off from the start; counts its renewals. */
async function shifted(
  connect: () => Promise<MemberSession>,
  shift: Shift,
): Promise<{ session: MemberSession; renewals: () => number }> {
  return withClock(shift, async () => {
    let renewals = 0;
    const session = await connect();
    session.on("membership", () => renewals++);
    await session.ready(10_000);
    return { session, renewals: () => renewals };
  });
}

test("a member whose clock is wrong or jumps is one as any other, and renews seldom", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 3 });
    const nodes = [await joinNode(token, 1), await joinNode(token, 2)] as const;
    const shifts: [Shift, Shift] = [{ ms: 400 * DAY_MS }, { ms: -400 * DAY_MS }];
    const open = (at: 0 | 1) =>
      shifted(() => mesh.session(nodes[at], { heartbeat_ms: 50 }), shifts[at]);
    const [ahead, behind] = await Promise.all([open(0), open(1)]);
    await ahead.session.writeNode(factsOf(1));
    await behind.session.writeNode(factsOf(2));
    const sees = (one: MemberSession, other: MemberSession, bootId: string) =>
      eventually("its record is seen", () => view(one).nodes.get(other.nodeId)?.bootId === bootId);
    await sees(behind.session, ahead.session, "boot-1");
    await sees(ahead.session, behind.session, "boot-1");
    // Both clocks jump to the other side.
    for (const shift of shifts) shift.ms = -shift.ms;
    await ahead.session.writeNode(factsOf(1, { bootId: "boot-2" }));
    await behind.session.writeNode(factsOf(2, { bootId: "boot-2" }));
    await sees(behind.session, ahead.session, "boot-2");
    await sees(ahead.session, behind.session, "boot-2");
    // Heartbeats of both kinds go on for a while.
    const { revision } = view(ahead.session);
    await eventually("beats come", () => view(ahead.session).revision > revision + 4);
    for (const { session, renewals } of [ahead, behind]) {
      assert.ok(session.connected && session.viewAge_ms() < 3_000);
      assert.ok(renewals() <= 2, `${renewals()} renewals`);
    }
    assert.equal(
      (await admin.nodes.list()).map(({ online }) => online),
      [true, true],
    );
  });
});

/** A controller whose host's clock is off. */
const controllerAt = (start: () => Promise<Controller>, shift: Shift) => withClock(shift, start);

test("a controller whose clock is months behind cuts no member off for good", async () => {
  await withMesh({}, async (mesh) => {
    const shift: Shift = { ms: -100 * DAY_MS };
    const first = await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    const member = await joinNode(token, 1);
    const session = await mesh.session(member);
    await session.ready(10_000);
    // The only one is replaced by one that lives in the past.
    await first.close();
    await controllerAt(() => mesh.controller(), shift);
    assert.is(await codeOf(session.renew()), "MESHD_BAD_RECORD");
    assert.is(session.membership.jwt, member.membership.jwt, "what works is kept");
    await admin.config.set("mtu", 1400);
    await eventually("its changes are taken", () => view(session).config.mtu === 1400);
    const ended: Joined = { ...member, membership: damaged(member.membership) };
    const cut = await mesh.session(ended);
    await eventually(
      "it asks for new ones in vain",
      () => cut.membership.jwt !== ended.membership.jwt,
    );
    assert.not.ok(cut.connected);
    shift.ms = 0;
    await eventually("the clock is right again, and it is in", () => cut.connected, 30_000);
  });
});

/** Credentials that no server takes, as ended ones. */
function damaged(membership: Membership): Membership {
  return { ...membership, jwt: `${membership.jwt.slice(0, -4)}AAAA` };
}

test("a controller whose clock is months ahead does no harm when it is set right", async () => {
  await withMesh({}, async (mesh) => {
    const shift: Shift = { ms: 100 * DAY_MS };
    await controllerAt(() => mesh.controller(), shift);
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const member = await joinNode(token, 1);
    const session = await mesh.session(member, { heartbeat_ms: 3_000 });
    await session.ready(10_000);
    await session.writeNode(factsOf(1));
    await eventually("it is heard", async () => (await admin.nodes.show("n1")).online);
    shift.ms = 0;
    // What was written in the future is no obstacle to what is written now.
    await admin.config.set("mtu", 1400);
    await admin.nodes.rename("n1", "renamed");
    await eventually("changes are seen", () => {
      const { config, members } = view(session);
      return config.mtu === 1400 && members.get(session.nodeId)?.name === "renamed";
    });
    shift.ms = 300 * DAY_MS;
    assert.is((await admin.nodes.show("renamed")).online, true, "a jump makes nobody offline");
    shift.ms = 0;
    assert.equal((await joinNode(token, 2)).membership.podCIDRs, ["10.244.1.0/24"]);
    const fresh = await mesh.session(member);
    await fresh.ready(10_000);
    assert.equal(view(fresh).refused, []);
  });
});

test.run();
