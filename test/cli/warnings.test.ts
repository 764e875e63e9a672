// Lines of the command line that need no mesh to be tried: what an administrator is warned of.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  ControlError,
  type MeshConfig,
  type NodeView,
  type PeerRecord,
} from "../../control/index.js";
import { askThrough } from "../../src/cli/bench.js";
import { insidePools } from "../../src/cli/peer.js";
import { settingNotes } from "../../src/cli/setting-notes.js";
import { tooLarge } from "../../src/cli/settings.js";
import { STATUS } from "./world.js";

/** Nodes by name, with what their agents say; null: it does not answer. */
function adminOf(nodes: Record<string, unknown>, offline: readonly string[] = []) {
  const list = async () =>
    Object.keys(nodes).map((name) => ({ name, nodeId: name, online: !offline.includes(name) }));
  const status = async (name: string) => {
    assert.not.ok(offline.includes(name), "who is away is not asked");
    if (nodes[name] === null) throw new ControlError("MESHD_TIMEOUT", "no answer");
    return nodes[name];
  };
  return { nodes: { list: list as unknown as () => Promise<NodeView[]>, status } };
}

test("an mtu that a node's underlay does not carry is said, node by node", async () => {
  const wide = { ...STATUS, mtuFits: 8950, underlay: { ...STATUS.underlay, mtu: 9000 } };
  const { mtuFits: _, ...older } = STATUS;
  const admin = adminOf({ n1: STATUS, n2: wide, n3: null, n4: older, n5: STATUS }, ["n5"]);
  const lineOf = (node: string, mtu: number) =>
    `${node}: eth0 (mtu 1500) carries 1450: full packets of ${mtu} get lost; set mtu auto`;
  assert.equal(await tooLarge(admin, 1500), [lineOf("n1", 1500)]);
  assert.equal((await tooLarge(admin, 9000)).length, 2);
  assert.equal(await tooLarge(admin, 1450), []);
  assert.equal(await tooLarge(admin, "auto"), []);
});

test("a setting without effect as the mesh is set is said, and a mode that cuts off peers", () => {
  const pptp: Partial<MeshConfig> = { pptpAuth: ["ms-chap-v2"], pptpEncryption: "required-128" };
  const tunnel = { routingMode: "tunnel", tunnelProtocol: "ipip", ...pptp } as MeshConfig;
  const notes = (name: keyof MeshConfig, changes: Partial<MeshConfig> = {}) =>
    settingNotes(name, { ...tunnel, ...changes }).join();
  for (const name of ["tunnelPort", "udpChecksum", "vni", "greKey", "greChecksum"] as const) {
    assert.match(notes(name), new RegExp(`^${name}: no effect with tunnelProtocol ipip: `));
  }
  assert.is(notes("greKey", { tunnelProtocol: "gre" }), "");
  assert.is(notes("vni", { tunnelProtocol: "geneve" }), "");
  assert.is(notes("tunnelPort", { tunnelProtocol: "udp" }), "");
  assert.match(notes("vni", { tunnelProtocol: "udp" }), /a network number is of vxlan and geneve/);
  assert.is(notes("encapMode"), "");
  assert.match(notes("autoDirectNodeRoutes"), /no effect with routingMode tunnel/);
  const nobody = { autoDirectNodeRoutes: false, ipv4NativeRoutingCIDR: null };
  const native = { ...nobody, routingMode: "native", ipv6NativeRoutingCIDR: null } as const;
  assert.match(notes("routingMode", native), /nobody routes their packets/);
  assert.match(notes("encapMode", native), /no effect with routingMode native/);
  const isAuto = { ...native, autoDirectNodeRoutes: true };
  assert.match(notes("routingMode", isAuto), /nodes on other subnets are not reached/);
  assert.is(notes("routingMode", { ...native, ipv4NativeRoutingCIDR: "10.0.0.0/8" }), "");
  assert.is(notes("dscp"), "");
  assert.match(notes("tunnelProtocol", { tunnelProtocol: "pptp" }), /PPTP is insecure/);
  assert.match(notes("pptpAuth"), /PPTP is insecure/);
  assert.not.match(notes("pptpAuth"), /nobody can dial in/);
  const unkeyed: Partial<MeshConfig> = { pptpAuth: ["chap-md5", "pap"] };
  assert.match(notes("pptpEncryption", unkeyed), /nobody can dial in .* chap-md5,pap/);
  assert.not.match(notes("pptpAuth", { ...unkeyed, pptpEncryption: "optional" }), /nobody/);
});

test("a static peer's networks inside the pools are said", () => {
  const config = {
    ...{ clusterPoolIPv4PodCIDR: "10.244.0.0/16", clusterPoolIPv6PodCIDR: null },
  } as MeshConfig;
  const peer = (...podCIDRs: string[]) => ({ podCIDRs }) as PeerRecord;
  assert.equal(insidePools(peer("10.9.0.0/24", "fd00:9::/64"), config), []);
  assert.equal(insidePools(peer("10.9.0.0/24", "10.244.7.0/24"), config), [
    "10.244.7.0/24 is inside the pool 10.244.0.0/16: no node gets it from now on",
  ]);
  const six = { ...config, clusterPoolIPv6PodCIDR: "fd00:10:244::/48" };
  assert.is(insidePools(peer("fd00:10:244:9::/64"), six).length, 1);
});

test("credentials without the right to a bench are said, and what gives it to them", async () => {
  const refusing = (code: "MESHD_PERMISSION" | "MESHD_TIMEOUT") => ({
    nodes: { bench: () => Promise.reject(new ControlError(code, "these credentials may not")) },
  });
  const refusal = async (code: "MESHD_PERMISSION" | "MESHD_TIMEOUT") => {
    try {
      await askThrough(refusing(code))("UNODE", {} as never);
    } catch (error) {
      return error as Error & { code: string };
    }
    throw new Error("it was not refused");
  };
  const old = await refusal("MESHD_PERMISSION");
  assert.is(old.code, "MESHD_PERMISSION");
  assert.match(old.message, /an earlier meshd made them; run 'meshd up' of this version/);
  assert.is((await refusal("MESHD_TIMEOUT")).message, "these credentials may not");
});

test.run();
