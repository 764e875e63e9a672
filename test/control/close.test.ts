// Ending while the server is dying: nobody waits for an answer that cannot come.
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Controller, MemberSession } from "../../control/index.js";
import { joinNode, type TestMesh, withMesh } from "./fixture.js";
import { connectFile } from "./raw.js";

/** Far more than an end may take, far less than a request's time-out. */
const deadline_ms = 2_500;

async function endsInTime(work: Promise<unknown>): Promise<boolean> {
  return Promise.race([work.then(() => true), sleep(deadline_ms, false, { ref: false })]);
}

async function withBoth(
  work: (mesh: TestMesh, session: MemberSession, controller: Controller) => Promise<void>,
): Promise<void> {
  await withMesh({}, async (mesh) => {
    const controller = await Controller.start({ mesh: mesh.mesh });
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    await admin.close();
    const session = await MemberSession.connect(await joinNode(token, 1));
    await session.ready(10_000);
    await work(mesh, session, controller);
  });
}

test("sessions and controllers end at once though the server just died", async () => {
  await withBoth(async (mesh, session, controller) => {
    process.kill(mesh.server.pid, "SIGKILL");
    const ends = Promise.all([session.close(), controller.close()]);
    assert.ok(await endsInTime(ends));
  });
});

test("sessions and controllers end at once though the server answers no more", async () => {
  await withBoth(async (mesh, session, controller) => {
    process.kill(mesh.server.pid, "SIGSTOP");
    try {
      const ends = Promise.all([session.close(), controller.close()]);
      assert.ok(await endsInTime(ends));
    } finally {
      process.kill(mesh.server.pid, "SIGCONT");
    }
  });
});

test("an end in order leaves no consumer behind", async () => {
  await withBoth(async (mesh, session, controller) => {
    await session.close();
    await controller.close();
    const raw = await connectFile(mesh, mesh.mesh.adminCredentials, "_INBOX");
    const manager = await raw.connection.jetstreamManager({ checkAPI: false });
    assert.is((await manager.streams.info("KV_mesh")).state.consumer_count, 0);
  });
});

test.run();
