// A request that came twice, the second time late: by then somebody changed what it did. It must
// not be undone, as when two controllers of a cluster are asked during an election.
import { readFile } from "node:fs/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FIRST_ADMIN } from "../../control/founding/credentials.js";
import { createIdentity } from "../../control/index.js";
import { joinRequest } from "../../control/join.js";
import { Link, newAsk, parseCredentials, signingKey } from "../../control/nats/index.js";
import { inboxOf, subjectsOf } from "../../control/subjects.js";
import { openToken } from "../../control/token.js";
import { codeOf, joinNode, type TestMesh, underlayOf, withMesh } from "./fixture.js";

/** Asks once more under the same id. "": it was done. */
type Again = () => Promise<string>;

const codeIn = (error: string) => error.split(":")[0];

function asking(link: Link, subject: string, request: object): Again {
  const ask = newAsk();
  return async () => {
    const { error } = await link.request(subject, JSON.stringify(request), 5_000, ask);
    return error?.error ?? "";
  };
}

/** A join as `meshd join` asks it. */
async function joining(mesh: TestMesh, text: string, index: number, identity = createIdentity()) {
  const token = openToken(text);
  const underlay = { address: underlayOf(index), port: 8472 };
  const request = joinRequest(token, { identity, name: `n${index}`, underlay });
  const inbox = inboxOf.token(token.tokenId);
  const way = { servers: token.servers, ca: () => mesh.mesh.ca, name: "test" };
  const link = await Link.open({ ...way, inbox, user: () => token.bootstrap });
  mesh.later(() => link.close());
  const again = asking(link, subjectsOf(token.mesh).join(token.tokenId), request);
  return { identity, nodeId: identity.nodeId, again };
}

/** What the first administrator asks. */
async function administering(mesh: TestMesh): Promise<(path: string, request: object) => Again> {
  const { adminCredentials, ca, name, servers } = mesh.mesh;
  const user = parseCredentials(await readFile(adminCredentials, "utf8"));
  const inbox = inboxOf.admin(signingKey(user.seed).publicKey);
  const link = await Link.open({ servers, ca: () => ca, name: "test", inbox, user: () => user });
  mesh.later(() => link.close());
  return (path, request) => asking(link, subjectsOf(name).adminAs(FIRST_ADMIN, path), request);
}

test("a join that comes once more is answered alike, and undoes no rename or removal", async () => {
  await withMesh({ tls: false }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const { nodeId, again } = await joining(mesh, token, 1);
    assert.is(await again(), "");
    assert.is(await again(), "");
    await admin.nodes.rename(nodeId, "m1");
    assert.is(codeIn(await again()), "MESHD_CONFLICT");
    assert.is((await admin.nodes.show(nodeId)).name, "m1");
    // Both names are as the rename left them.
    const other = createIdentity();
    await joinNode(token, 2, other);
    assert.is(await codeOf(admin.nodes.rename(other.nodeId, "m1")), "MESHD_NAME_TAKEN");
    await admin.nodes.rename(other.nodeId, "n1");
    await admin.nodes.remove(nodeId);
    assert.is(codeIn(await again()), "MESHD_CONFLICT");
    assert.is((await admin.nodes.show(nodeId)).state, "removed");
    assert.equal(await admin.leases.audit(), []);
  });
});

test("a join of a member that changed nothing is known when it comes late, too", async () => {
  await withMesh({ tls: false }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const first = await joining(mesh, token, 1);
    assert.is(await first.again(), "");
    const { nodeId, again } = await joining(mesh, token, 1, first.identity);
    assert.is(await again(), "");
    await admin.nodes.rename(nodeId, "m1");
    assert.is(codeIn(await again()), "MESHD_CONFLICT");
    assert.is((await admin.nodes.show(nodeId)).name, "m1");
    // Asked anew it is what it says.
    const anew = await joining(mesh, token, 1, first.identity);
    assert.is(await anew.again(), "");
    assert.is((await admin.nodes.show(nodeId)).name, "n1");
  });
});

test("an administrator's change that comes once more undoes no later one", async () => {
  await withMesh({ tls: false }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    const member = await joinNode(token, 1);
    const { nodeId } = member.identity;
    const asks = await administering(mesh);
    await admin.users.add("kim", { ntHash: "01".repeat(16) });
    const changes: [Again, () => Promise<unknown>][] = [
      [asks("config.set", { name: "mtu", value: 1300 }), () => admin.config.set("mtu", 1350)],
      [asks("nodes.rename", { node: nodeId, name: "a" }), () => admin.nodes.rename(nodeId, "b")],
      [asks("nodes.drain", { node: nodeId, on: true }), () => admin.nodes.drain(nodeId, false)],
      [
        asks("users.set", { name: "kim", disabled: true }),
        () => admin.users.set("kim", { disabled: false }),
      ],
      [
        asks("nodes.remove", { node: nodeId }),
        async () => assert.is(await (await joining(mesh, token, 1, member.identity)).again(), ""),
      ],
    ];
    for (const [again, later] of changes) {
      assert.is(await again(), "");
      assert.is(await again(), "");
      await later();
      assert.is(codeIn(await again()), "MESHD_CONFLICT");
    }
    const [node] = await admin.nodes.list();
    assert.equal([node?.name, node?.state], ["n1", "active"]);
    assert.is((await admin.config.get()).mtu, 1350);
    assert.is((await admin.users.list())[0]?.disabled, false);
    assert.equal(await admin.leases.audit(), []);
  });
});

test.run();
