// Administration: as the command line does it, and as the stock NATS tools do.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { StringCodec } from "nats";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { serviceError } from "../../control/answer.js";
import { AdminClient, type ControlError, createMesh, natsClientHelp } from "../../control/index.js";
import { signingKey } from "../../control/nats/index.js";
import { clearDirectory, makeDirectory } from "../support/ends.js";
import { codeOf, eventually, factsOf, joinNode, withMesh } from "./fixture.js";
import { connectFile } from "./raw.js";

const codec = StringCodec();

test("nodes are listed, shown, drained, renamed and removed", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 2 });
    const [a] = [await joinNode(token, 1), await joinNode(token, 2)];
    const session = await mesh.session(a);
    await session.ready(10_000);
    await session.writeNode(factsOf(1));
    await eventually("heard", async () => (await admin.nodes.show("n1")).online);
    assert.equal(
      (await admin.nodes.list()).map((node) => node.name),
      ["n1", "n2"],
    );
    const shown = await admin.nodes.show(a.identity.nodeId);
    assert.is(shown.node?.mtu, 1450);
    assert.is((await admin.nodes.drain("n1")).state, "draining");
    assert.is((await admin.nodes.drain("n1", false)).state, "active");
    assert.is(await codeOf(admin.nodes.rename("n1", "n2")), "MESHD_NAME_TAKEN");
    assert.is(await codeOf(admin.nodes.rename("n1", "N!")), "MESHD_BAD_REQUEST");
    assert.is((await admin.nodes.rename("n1", "edge")).name, "edge");
    assert.is((await admin.nodes.rename("n2", "n1")).name, "n1", "the old name is free again");
    assert.is(await codeOf(admin.nodes.show("nobody")), "MESHD_NOT_FOUND");
    const routes = await admin.routes.list();
    assert.equal(
      routes.map(({ prefix, name, underlay }) => [prefix, name, underlay]),
      [
        ["10.244.0.0/24", "edge", "192.0.2.1"],
        ["10.244.1.0/24", "n1", null],
      ],
    );
    assert.is((await admin.nodes.remove("edge")).state, "removed");
    await eventually("it is cut off", () => !session.connected);
    assert.equal(
      (await admin.nodes.list()).map((node) => node.name),
      ["n1"],
    );
    assert.is(await codeOf(admin.nodes.drain(a.identity.nodeId)), "MESHD_CONFLICT");
  });
});

test("leases are audited, reclaimed and reserved", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create();
    await joinNode(token, 1);
    assert.equal(await admin.leases.audit(), []);
    assert.is(await codeOf(admin.leases.reserve("10.244.0.0/24")), "MESHD_CONFLICT");
    assert.is(await codeOf(admin.leases.reserve("10.99.0.0/24")), "MESHD_BAD_REQUEST");
    assert.is((await admin.leases.reserve("10.244.1.0/24")).state, "reserved");
    const { reclaimed } = await admin.leases.reclaim("10.244.0.0/24");
    assert.equal(reclaimed, ["10.244.0.0/24"]);
    assert.equal((await admin.nodes.show("n1")).podCIDRs, []);
    assert.equal(
      (await admin.leases.list()).map((lease) => lease.state),
      ["quarantined", "reserved"],
    );
    assert.is(await codeOf(admin.leases.reclaim("10.244.9.0/24")), "MESHD_NOT_FOUND");
    assert.equal(await admin.leases.reclaim(), { reclaimed: [], findings: [] });
  });
});

test("settings are checked, and kept when they cannot change live", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    await admin.config.set("clusterPoolIPv4PodCIDR", "10.200.0.0/16");
    await admin.config.set("tunnelProtocol", "geneve");
    const { token } = await admin.tokens.create();
    assert.equal((await joinNode(token, 1)).membership.podCIDRs, ["10.200.0.0/24"]);
    const refused = async (name: string, value: unknown) => {
      try {
        await admin.config.set(name, value);
        return "taken";
      } catch (error) {
        return `${(error as ControlError).code} ${(error as ControlError).message}`;
      }
    };
    assert.match(
      await refused("clusterPoolIPv4PodCIDR", "10.201.0.0/16"),
      /^MESHD_SETTING_NOT_LIVE clusterPoolIPv4PodCIDR cannot change .*nothing was changed/,
    );
    assert.match(await refused("workers", 4), /^MESHD_SETTING_NOT_LIVE workers/);
    assert.is(await refused("tunnelProtocol", "udp"), "taken");
    assert.is(await refused("tunnelProtocol", "pptp"), "taken");
    assert.match(await refused("tunnelProtocol", "l2tp"), /^MESHD_BAD_SETTING .*vxlan/);
    assert.is(await refused("vni", "identity"), "taken");
    assert.match(await refused("vni", "nobody"), /^MESHD_BAD_SETTING vni: .*use identity/);
    assert.match(await refused("underlayAddress", "192.0.2.1"), /^MESHD_BAD_SETTING .*one node/);
    for (const name of ["pptpServer", "pptpFilter"]) {
      assert.match(await refused(name, "eth0"), /^MESHD_BAD_SETTING .*one node/, name);
    }
    assert.is(await refused("pptpAuth", "ms-chap-v2,chap-md5"), "taken");
    assert.equal((await admin.config.get()).pptpAuth, ["ms-chap-v2", "chap-md5"]);
    assert.match(await refused("pptpAuth", []), /^MESHD_BAD_SETTING .*1 to 4 of ms-chap-v2/);
    assert.match(await refused("pptpDns", "::1"), /^MESHD_BAD_SETTING .*an IPv4 address/);
    assert.match(await refused("tunnelProtocol", "smoke"), /vxlan, geneve, ipip, gre, udp, pptp/);
    assert.match(await refused("mtu", 10), /^MESHD_BAD_SETTING mtu: 10 .*auto or a whole number/);
    assert.match(await refused("speed", 1), /^MESHD_BAD_SETTING speed is no setting/);
    for (const value of [-1, 2 ** 32, "seven"]) {
      assert.match(await refused("greKey", value), /^MESHD_BAD_SETTING greKey/);
    }
    assert.is((await admin.config.set("greKey", "4294967295")).greKey, 4294967295);
    assert.is((await admin.config.set("greKey", "null")).greKey, null);
    assert.is((await admin.config.set("greChecksum", true)).greChecksum, true);
    assert.is((await admin.config.set("greSequence", true)).greSequence, true);
    assert.is((await admin.config.set("mtu", "auto")).mtu, "auto");
    assert.is((await admin.config.set("masquerade", "false")).masquerade, false);
    assert.is((await admin.config.get()).clusterPoolIPv4PodCIDR, "10.200.0.0/16");
  });
});

test("a static peer must be whole and may not take a node's prefix", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    await joinNode((await admin.tokens.create()).token, 1);
    const peer = {
      name: "router",
      endpoint: "198.51.100.7",
      port: 8472,
      podCIDRs: ["10.250.0.0/24"],
      vtepMac: "0a:00:00:00:01:01",
      protocol: "vxlan" as const,
      vni: 1,
    };
    const clash = { ...peer, podCIDRs: ["10.244.0.0/16"] };
    assert.is(await codeOf(admin.peers.add(clash)), "MESHD_CONFLICT");
    assert.is(await codeOf(admin.peers.add({ ...peer, vtepMac: "x" })), "MESHD_BAD_REQUEST");
    assert.is(
      await codeOf(admin.peers.add({ ...peer, endpoint: "10.250.0.9" })),
      "MESHD_BAD_REQUEST",
    );
    const onNode = { ...peer, endpoint: "192.0.2.1" };
    assert.is(await codeOf(admin.peers.add(onNode)), "MESHD_ADDRESS_CLAIMED");
    await admin.peers.add(peer);
    const twin = { ...peer, name: "twin", podCIDRs: ["10.251.0.0/24"] };
    assert.is(await codeOf(admin.peers.add(twin)), "MESHD_ADDRESS_CLAIMED");
    const other = { ...peer, name: "v6", endpoint: "2001:DB8::7", podCIDRs: ["FD00:9::/48"] };
    const added = await admin.peers.add(other);
    assert.equal([added.endpoint, added.podCIDRs], ["2001:db8::7", ["fd00:9::/48"]]);
    await admin.peers.remove("v6");
    await admin.peers.add({ ...peer, vni: 7 });
    assert.equal(await admin.peers.list(), [{ ...peer, vni: 7 }]);
    const bare = { ...peer, protocol: "udp" as const, port: 8285, vtepMac: null, vni: null };
    await admin.peers.add(bare);
    assert.equal(await admin.peers.list(), [bare]);
    const portless = { ...bare, protocol: "ipip" as const, port: 0 };
    await admin.peers.add(portless);
    assert.equal(await admin.peers.list(), [portless]);
    assert.is(await codeOf(admin.peers.add({ ...portless, port: 8472 })), "MESHD_BAD_REQUEST");
    const gre = { ...bare, protocol: "gre" as const, port: 0 };
    for (const one of [
      gre,
      { ...gre, greKey: 0 },
      { ...gre, greKey: 2 ** 32 - 1 },
      { ...gre, vtepMac: "02:00:00:00:00:09" },
    ]) {
      await admin.peers.add(one);
      assert.equal(await admin.peers.list(), [one]);
    }
    for (const wrong of [
      { ...gre, port: 47 },
      { ...gre, greKey: 2 ** 32 },
      { ...gre, greKey: -1 },
      { ...gre, vtepMac: "03:00:00:00:00:09" },
    ]) {
      assert.is(await codeOf(admin.peers.add(wrong)), "MESHD_BAD_REQUEST");
    }
    const needsMac = { ...bare, protocol: "geneve" as const, vni: 1 };
    assert.is(await codeOf(admin.peers.add(needsMac)), "MESHD_BAD_REQUEST");
    assert.is(await codeOf(admin.peers.remove("other")), "MESHD_NOT_FOUND");
    await admin.peers.remove("router");
    assert.equal(await admin.peers.list(), []);
  });
});

test("a prefix is granted to a node, seen by all, kept from others, and taken away", async () => {
  const config = { clusterPoolIPv6PodCIDR: "fd00:1::/48" };
  await withMesh({ config }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: 3 });
    const [a] = [await joinNode(token, 1), await joinNode(token, 2)];
    const session = await mesh.session(a);
    await session.ready(10_000);
    const granted = () => session.snapshot()?.members.get(session.nodeId)?.grantedPrefixes;
    const { grantedPrefixes } = await admin.nodes.grant("n1", "10.250.0.0/24");
    assert.equal(grantedPrefixes, ["10.250.0.0/24"]);
    await admin.nodes.grant("n1", "FD00:2:0::/48");
    await admin.nodes.grant("n1", "10.250.0.0/24");
    await eventually("both are seen", () => granted()?.length === 2);
    assert.equal(granted(), ["10.250.0.0/24", "fd00:2::/48"]);
    const routes = (await admin.routes.list()).filter((one) => one.name === "n1");
    assert.ok(routes.some((one) => one.prefix === "10.250.0.0/24"));
    const refused = [
      ["10.250.0.0/25", "overlaps another's"],
      ["10.244.1.0/25", "a held lease"],
      ["10.240.0.0/12", "a whole pool"],
      ["192.0.2.0/28", "an underlay address"],
    ] as const;
    for (const [cidr, why] of refused) {
      assert.is(await codeOf(admin.nodes.grant("n2", cidr)), "MESHD_CONFLICT", why);
    }
    assert.is(await codeOf(admin.nodes.grant("n2", "10.1.1.1/24")), "MESHD_BAD_REQUEST");
    assert.is(await codeOf(admin.nodes.grant("n2", "10.1.1.0/24", false)), "MESHD_NOT_FOUND");
    await admin.nodes.grant("n1", "10.244.2.0/24");
    assert.equal((await joinNode(token, 3)).membership.podCIDRs[0], "10.244.3.0/24");
    assert.equal((await admin.nodes.grant("n1", "10.250.0.0/24", false)).grantedPrefixes, [
      "fd00:2::/48",
      "10.244.2.0/24",
    ]);
    await eventually("its end is seen", () => granted()?.includes("10.250.0.0/24") === false);
    await admin.nodes.remove("n1");
    assert.is(await codeOf(admin.nodes.grant(session.nodeId, "10.9.0.0/24")), "MESHD_REMOVED");
  });
});

test("a lease that rests inside a granted prefix is not given any more", async () => {
  const config = { clusterPoolIPv4PodCIDR: "10.9.0.0/22", leaseQuarantine: 0 };
  await withMesh({ config }, async (mesh) => {
    await mesh.controller();
    const admin = await mesh.admin();
    const { token } = await admin.tokens.create({ uses: null });
    await admin.leases.reserve("10.9.0.0/24");
    await joinNode(token, 1);
    await admin.nodes.grant("n1", "10.9.0.0/24");
    await admin.leases.reclaim("10.9.0.0/24");
    await joinNode(token, 2);
    await joinNode(token, 3);
    assert.is(await codeOf(joinNode(token, 4)), "MESHD_POOL_EXHAUSTED");
  });
});

test("the stock client finds the service and reads its answers and errors", async () => {
  await withMesh({}, async (mesh) => {
    await mesh.controller();
    const help = natsClientHelp(mesh.mesh);
    assert.ok(help.examples[1]?.includes("mesh.admin.nodes.list"));
    const { connection } = await connectFile(mesh, help.credentials, "_INBOX");
    const services = [];
    for await (const one of await connection.services.client().ping()) services.push(one.name);
    assert.equal(services, ["meshd"]);
    const answer = await connection.request("mesh.admin.nodes.list", codec.encode(""));
    assert.equal(JSON.parse(codec.decode(answer.data)), []);
    const refused = await connection.request("mesh.admin.nodes.show", codec.encode('{"node":"x"}'));
    assert.is(refused.headers?.get("Nats-Service-Error-Code"), "404");
    assert.match(refused.headers?.get("Nats-Service-Error") ?? "", /^MESHD_NOT_FOUND: /);
    const damaged = await connection.request("mesh.admin.nodes.show", codec.encode("{"));
    assert.is(damaged.headers?.get("Nats-Service-Error-Code"), "400");
    const value = await connection
      .jetstreamManager()
      .then((manager) =>
        manager.streams.getMessage("KV_mesh", { last_by_subj: "$KV.mesh.config" }),
      );
    assert.is(JSON.parse(value.string()).record.vni, 1);
  });
});

test("a fault of the program itself is told as such, in one line", () => {
  const { code, text } = serviceError(new TypeError("x is\nundefined"));
  assert.equal([code, text], [500, "MESHD_INTERNAL: x is undefined"]);
});

test("without a controller and without a server the client says so", async () => {
  await withMesh({}, async (mesh) => {
    const admin = await mesh.admin();
    assert.is(await codeOf(admin.nodes.list()), "MESHD_NO_CONTROLLER");
    await mesh.server.stop();
    assert.is(await codeOf(AdminClient.forMesh(mesh.mesh)), "MESHD_NO_NATS");
    const foreign = { ...mesh.mesh, adminCredentials: "/nonexistent" };
    assert.is(await codeOf(AdminClient.forMesh(foreign)), "MESHD_PERMISSION");
  });
});

test("a mesh of settings that no agent can carry out is not begun", async () => {
  const dir = makeDirectory("test");
  try {
    const config = { underlayAddress: "192.0.2.1" } as const;
    const made = createMesh(join(dir, "mesh"), { servers: [], config });
    assert.is(await codeOf(made), "MESHD_BAD_SETTING");
    assert.equal(await readdir(dir), [], "no key was written");
  } finally {
    clearDirectory(dir);
  }
});

test("of two meshes made at once in one directory one stands, whole", async () => {
  const dir = makeDirectory("test");
  try {
    const make = () => createMesh(join(dir, "mesh"), { servers: [] });
    const [one, two] = await Promise.allSettled([make(), make()]);
    const made = [one, two].flatMap((each) => (each?.status === "fulfilled" ? [each.value] : []));
    assert.is(made.length, 1);
    assert.equal(await readdir(dir), ["mesh"]);
    const grant = await readFile(join(dir, "mesh", "grant.nk"), "utf8");
    assert.is(signingKey(grant.trim()).publicKey, made[0]?.grantKey);
  } finally {
    clearDirectory(dir);
  }
});

test("a mesh is made once per directory, its files readable by their owner alone", async () => {
  await withMesh({}, async (mesh) => {
    const again = createMesh(mesh.mesh.dir, { servers: ["nats://127.0.0.1:1"] });
    assert.is(await codeOf(again), "MESHD_MESH_EXISTS");
    const names = ["mesh.json", "operator.nk", "account.nk", "grant.nk", "admin.creds"];
    for (const name of names) {
      const { mode } = await stat(`${mesh.mesh.dir}/${name}`);
      assert.is(mode & 0o777, 0o600, name);
    }
    assert.is(
      await codeOf(createMesh(mesh.dir, { name: "No.Good", servers: [] })),
      "MESHD_BAD_SETTING",
    );
  });
});

test.run();
