// Bare packets on the underlay's interface, judged and counted by a real kernel's nftables:
//
//   outside (forges sources) --192.0.2.0/24-- host eth0 / veth -- pod 10.244.1.5
import { test } from "uvu";
import * as assert from "uvu/assert";
import { admissionChange, admissionText } from "../../src/host/admission.js";
import {
  type AdmissionOptions,
  applyAdmission,
  findFiltered,
  readAdmission,
  removeAdmission,
  run,
} from "../../src/host/index.js";
import { createNamespace, joinByVeth, pings, runSync, trySync, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const OPTIONS: AdmissionOptions = {
  overlay: "mesh0",
  device: "eth0",
  own: ["10.244.1.0/24", "fd00:244:0:1::/64"],
  peers: ["10.244.2.0/24", "10.99.0.0/16", "fd00:244:0:2::/64"],
  pools: ["10.244.0.0/16", "fd00:244::/48"],
};

const ip = (namespace: string, argv: string) => runSync(namespace, ["ip", ...argv.split(" ")]);

interface Scene {
  outside: string;
  host: string;
  pod: string;
}

async function makeScene(): Promise<Scene> {
  const [outside = "", host = "", pod = ""] = ["out", "host", "pod"].map(createNamespace);
  for (const namespace of [outside, host, pod]) {
    runSync(namespace, ["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"]);
  }
  joinByVeth(
    { namespace: host, device: "eth0", addresses: ["192.0.2.1/24", "fd99::1/64"] },
    { namespace: outside, device: "eth0", addresses: ["192.0.2.9/24", "fd99::9/64"] },
  );
  joinByVeth(
    { namespace: host, device: "pod0", addresses: ["10.244.1.1/24", "fd00:244:0:1::1/64"] },
    { namespace: pod, device: "eth0", addresses: ["10.244.1.5/24", "fd00:244:0:1::5/64"] },
  );
  for (const key of ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]) {
    runSync(host, ["sysctl", "-qw", key]);
  }
  ip(pod, "route add default via 10.244.1.1");
  ip(pod, "-6 route add default via fd00:244:0:1::1");
  ip(outside, "route add 10.244.1.0/24 via 192.0.2.1");
  ip(outside, "-6 route add fd00:244:0:1::/64 via fd99::1");
  // Answers to whatever source the outside takes.
  ip(host, "route add 10.0.0.0/8 via 192.0.2.9");
  ip(host, "-6 route add fd00::/16 via fd99::9");
  // Until its link-local addresses are settled a router asks for no neighbour.
  await until("IPv6 is forwarded", () => pings(outside, "fd00:244:0:1::5", 56, 1));
  return { outside, host, pod };
}

/** Three echoes from a source that is given to the outside for it; how many were answered. */
function answered({ outside }: Scene, source: string): number {
  trySync(outside, ["ip", "address", "add", source, "dev", "lo", "nodad"]);
  const target = source.includes(":") ? "fd00:244:0:1::5" : "10.244.1.5";
  const argv = ["ping", "-n", "-c", "3", "-i", "0.02", "-W", "0.3", "-I", source, target];
  return Number(/(\d+) received/.exec(trySync(outside, argv).stdout)?.[1] ?? -1);
}

rootTest(
  test,
  "bare packets come in from admitted prefixes alone, and all are counted",
  async () => {
    const scene = await makeScene();
    const where = { netns: scene.host };
    assert.is(answered(scene, "10.244.9.9"), 3, "without the table everything passes");
    assert.is(await applyAdmission(OPTIONS, where), true);
    assert.is(await applyAdmission(OPTIONS, where), false);
    for (const good of ["10.244.2.7", "10.99.3.3", "fd00:244:0:2::7", "192.0.2.9"]) {
      assert.is(answered(scene, good), 3, good);
    }
    // A source of nobody's in the pool, one of a peer behind the tunnel, one that is our own.
    for (const forged of ["10.244.9.9", "fd00:244:0:9::9", "10.244.1.77"]) {
      assert.is(answered(scene, forged), 0, forged);
    }
    const counted = await readAdmission("mesh0", where);
    assert.equal(counted?.spoofed, { packets: 9, bytes: 3 * (84 + 104 + 84) });
    assert.equal(counted?.foreign, { packets: 0, bytes: 0 });
    const three = { packets: 3, bytes: 252 };
    assert.equal(counted?.peers.get("10.244.2.0/24"), { ingress: three, egress: three });
    assert.equal(counted?.peers.get("fd00:244:0:2::/64")?.egress, { packets: 3, bytes: 312 });
    assert.is(counted?.peers.size, 3);
  },
);

rootTest(test, "a pod's forged source does not leave by the underlay", async () => {
  const scene = await makeScene();
  const where = { netns: scene.host };
  await applyAdmission(OPTIONS, where);
  ip(scene.pod, "address add 10.244.200.1/32 dev lo");
  ip(scene.pod, "-6 address add fd00:244:0:200::1/128 dev lo nodad");
  for (const [source, target] of [
    ["10.244.200.1", "192.0.2.9"],
    ["fd00:244:0:200::1", "fd99::9"],
  ] as const) {
    trySync(scene.pod, ["ping", "-n", "-c", "2", "-i", "0.02", "-W", "1", "-I", source, target]);
  }
  const counted = await readAdmission("mesh0", where);
  assert.is(counted?.foreign.packets, 4);
  assert.ok(pings(scene.pod, "192.0.2.9"), "its own passes");
});

rootTest(test, "counts go on while peers come and go, and what was spoiled is mended", async () => {
  const scene = await makeScene();
  const where = { netns: scene.host };
  await applyAdmission(OPTIONS, where);
  assert.is(answered(scene, "10.244.2.7"), 3);
  const other = { ...OPTIONS, peers: ["10.244.2.0/24", "10.244.3.0/24"] };
  assert.is(await applyAdmission(other, where), true);
  assert.is(answered(scene, "10.244.3.7"), 3);
  assert.is(answered(scene, "10.99.3.3"), 3, "outside of the pools nobody asks");
  const counted = await readAdmission("mesh0", where);
  assert.equal([...(counted?.peers.keys() ?? [])].sort(), other.peers);
  assert.is(counted?.peers.get("10.244.2.0/24")?.ingress.packets, 3);
  // A wider prefix in place of two that lie in it: sets take no overlap on the way.
  const wider = { ...OPTIONS, peers: ["10.244.2.0/23"] };
  assert.is(await applyAdmission(wider, where), true);
  assert.is(answered(scene, "10.244.3.7"), 3);
  for (const spoil of [
    "add element inet meshd_mesh0_direct from4 { 10.244.9.0/24 }\n",
    "flush chain inet meshd_mesh0_direct admit\n",
    "add rule inet meshd_mesh0_direct guard accept\n",
    "delete chain inet meshd_mesh0_direct count\n",
    "delete table inet meshd_mesh0_direct\n",
  ]) {
    await run(["nft", "-f", "-"], { ...where, input: spoil });
    assert.is(await applyAdmission(wider, where), true, spoil);
    assert.is(await applyAdmission(wider, where), false, spoil);
    assert.is(answered(scene, "10.244.9.9"), 0, spoil);
  }
  assert.is(await removeAdmission("mesh0", where), true);
  assert.is(await removeAdmission("mesh0", where), false);
  assert.is(await readAdmission("mesh0", where), undefined);
});

test("the table's text is of its options alone, and refuses what is no prefix or device", () => {
  const turned = { ...OPTIONS, peers: [...OPTIONS.peers].reverse() };
  assert.is(admissionText(OPTIONS), admissionText(turned));
  assert.is(admissionChange(OPTIONS, undefined), admissionText(OPTIONS));
  assert.throws(() => admissionText({ ...OPTIONS, peers: ["1.1.1.1 }"] }), /prefix/);
  assert.throws(() => admissionText({ ...OPTIONS, device: 'eth0" drop' }), /device/);
});

rootTest(test, "a strict filter is said for prefixes whose way back is another", async () => {
  const { host } = await makeScene();
  const where = { netns: host };
  const look = () => findFiltered("eth0", ["10.244.2.0/24", "10.99.0.0/16"], where);
  ip(host, "route add 10.99.0.0/16 dev pod0");
  assert.equal(await look(), [], "not strict");
  runSync(host, ["sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=1"]);
  const [line = "", ...more] = await look();
  assert.equal(more, []);
  assert.match(line, /eth0 drops packets from 10\.99\.0\.0\/16, .*rp_filter to 0 or 2/);
  ip(host, "route delete 10.99.0.0/16 dev pod0");
  assert.equal(await look(), []);
});

test.run();
