// The operator's and the account's own seed are somewhere else: everything works without them.
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createMesh, moveOfflineKeys, offlineKeysHere } from "../../control/index.js";
import { codeOf, eventually, joinNode, withMesh } from "./fixture.js";
import { connectAs } from "./raw.js";

test("join, revoke, remove, restart, a second controller: none needs an offline key", async () => {
  await withMesh({}, async (mesh) => {
    const seeds = await Promise.all(
      (await offlineKeysHere(mesh.mesh)).map((path) => readFile(path, "utf8")),
    );
    assert.is(seeds.length, 2);
    const moved = await moveOfflineKeys(mesh.mesh, join(mesh.dir, "safe"));
    assert.equal(await offlineKeysHere(mesh.mesh), []);
    for (const [index, path] of moved.entries()) {
      assert.is(await readFile(path, "utf8"), seeds[index]);
      assert.is((await stat(path)).mode & 0o777, 0o600);
    }
    // No other file has them either.
    for (const file of await readdir(mesh.mesh.dir)) {
      const text = await readFile(join(mesh.mesh.dir, file), "utf8");
      assert.not(
        seeds.some((seed) => text.includes(seed.trim())),
        file,
      );
    }
    await mesh.restartServer();
    await mesh.controller();
    await mesh.controller();
    const admin = await mesh.admin();
    const { token, view } = await admin.tokens.create({ uses: null });
    const [a, b] = [await joinNode(token, 1), await joinNode(token, 2)];
    const raw = await connectAs(mesh, a);
    await admin.admins.add({ name: "anna", role: "observer" });
    await admin.nodes.remove("n1");
    await eventually("the removed one is cut", () => raw.connection.isClosed());
    await admin.tokens.revoke(view.tokenId);
    await eventually("the token ends", async () =>
      /TOKEN_REVOKED|PERMISSION/.test(await codeOf(joinNode(token, 3))),
    );
    await mesh.restartServer();
    await eventually("a controller is back", async () => (await codeOf(admin.nodes.list())) === "");
    assert.match(await codeOf(connectAs(mesh, a)), /AUTHORIZATION/);
    await (await connectAs(mesh, b)).connection.close();
  });
});

test("keys are not moved over those of another mesh, nor into the mesh's own folder", async () => {
  await withMesh({}, async (mesh) => {
    const other = await createMesh(join(mesh.dir, "other"), { servers: [] });
    const safe = join(mesh.dir, "safe");
    await moveOfflineKeys(other, safe);
    assert.is(await codeOf(moveOfflineKeys(other, safe)), "MESHD_NOT_FOUND");
    assert.is(await codeOf(moveOfflineKeys(mesh.mesh, safe)), "MESHD_CONFLICT");
    assert.is(await codeOf(moveOfflineKeys(mesh.mesh, mesh.mesh.dir)), "MESHD_CONFLICT");
    assert.is((await offlineKeysHere(mesh.mesh)).length, 2, "nothing is lost");
    // A crash between writing and removing: the next try ends it.
    const half = join(mesh.dir, "half");
    await mkdir(half);
    const [first = ""] = await offlineKeysHere(mesh.mesh);
    await writeFile(join(half, "operator.nk"), await readFile(first, "utf8"));
    assert.is((await moveOfflineKeys(mesh.mesh, half)).length, 2);
  });
});

test.run();
