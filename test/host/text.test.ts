// Names, batch lines, rule text and the answers of other programs, without root.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { namespacePath } from "../../src/host/command.js";
import { legacyObstacles, rulesetObstacles } from "../../src/host/firewall.js";
import { diffAddresses, nftTable } from "../../src/host/index.js";
import { checkDeviceName, type Link, linkChanges } from "../../src/host/links.js";
import { isAsWanted, masqueradeText } from "../../src/host/masquerade.js";
import { sysctlPath } from "../../src/host/sysctl.js";

const LINK: Link = {
  index: 7,
  name: "mesh0",
  kind: "tun",
  mtu: 1500,
  up: false,
  operState: "DOWN",
  mac: undefined,
  gsoMaxSize: 65_536,
  queueLength: 500,
  peerIndex: undefined,
  addressMode: "eui64",
};
const TRAFFIC = { device: "mesh0", pools: ["10.244.0.0/16"], udpPort: 8472 };

test("names that a program could take for something else are refused", () => {
  for (const name of ["", "-x", "a b", "a/b", ".", "..", "sixteen-letters-", "a\n", "ü"]) {
    assert.throws(() => checkDeviceName(name), /refused/, name);
  }
  assert.is(checkDeviceName("eth0.100"), "eth0.100");
  for (const name of ["", "..", "a b", "a\0", "\n"]) {
    assert.throws(() => namespacePath(name), /refused/);
  }
  assert.is(namespacePath("lab-n1"), "/run/netns/lab-n1");
  assert.is(namespacePath("/proc/12/ns/net"), "/proc/12/ns/net");
  for (const key of ["ipv4", "ipv4/../../kernel/x", "ipv4//x", "ipv4/conf/a b/x", "/etc/x"]) {
    assert.throws(() => sysctlPath(key), /no path below/, key);
  }
  assert.is(sysctlPath("ipv4/conf/eth0.1/proxy_arp"), "/proc/sys/net/ipv4/conf/eth0.1/proxy_arp");
});

test("a link that is as wanted needs no command", () => {
  assert.equal(linkChanges(LINK, {}), []);
  assert.equal(linkChanges(LINK, { up: false, mtu: 1500, addressMode: "eui64" }), []);
  assert.equal(linkChanges(LINK, { up: true, mtu: 1450 }), [
    "link set dev mesh0 mtu 1450",
    "link set dev mesh0 up",
  ]);
  assert.throws(() => linkChanges(LINK, { mtu: 70_000 }), /mtu 70000 refused/);
});

test("addresses are compared by value and the kernel's link-local one stays", () => {
  const have = (address: string, length: number) => ({
    device: "mesh0",
    family: address.includes(":") ? (6 as const) : (4 as const),
    address,
    length,
    scope: 0,
    tentative: false,
    peer: undefined,
  });
  const actual = [have("10.244.1.0", 32), have("fe80::1234", 64), have("10.9.9.9", 24)];
  assert.equal(diffAddresses(["10.244.1.0/32", "FD00::0/128"], actual), {
    add: ["fd00::/128"],
    delete: ["10.9.9.9/24"],
  });
  assert.equal(diffAddresses(["10.244.1.0"], actual.slice(0, 2)), { add: [], delete: [] });
});

test("rule text does not depend on the order of options, and refuses what is no prefix", () => {
  const one = masqueradeText({
    device: "mesh0",
    sources: ["10.244.1.0/24", "fd00:244:0:1::/64"],
    pools: ["10.244.0.0/16", "10.244.3.0/24", "fd00:244::/48"],
  });
  const two = masqueradeText({
    device: "mesh0",
    sources: ["fd00:244:0:1::/64", "10.244.1.0/24"],
    pools: ["fd00:244::/48", "10.244.0.0/16"],
  });
  assert.is(one, two);
  assert.match(one, "masquerade fully-random");
  assert.throws(() => masqueradeText({ device: "m", sources: ["1.1.1.1 }"], pools: [] }), /prefix/);
  assert.is(nftTable("mesh0"), "meshd_mesh0");
  assert.is.not(nftTable("a.b"), nftTable("a-b"));
});

test("a listed table that lost a rule, a set element or its hook is not as wanted", () => {
  assert.not.ok(isAsWanted({ device: "mesh0", sources: [], pools: [] }, []));
});

const drop = (hook: string) => ({
  chain: { family: "ip", table: "filter", name: "C", type: "filter", hook, policy: "drop" },
});
const rule = (expr: unknown[]) => ({
  rule: { family: "ip", table: "filter", chain: "C", expr },
});

test("a base chain that drops by policy or by its last rule is an obstacle", () => {
  const found = rulesetObstacles([drop("forward")], TRAFFIC);
  assert.is(found.length, 1);
  assert.is(found[0]?.hook, "forward");
  assert.match(found[0]?.message ?? "", "nftables ip filter C drops forwarded packets");
  const open = { chain: { ...drop("forward").chain, policy: "accept" } };
  assert.is(rulesetObstacles([open], TRAFFIC).length, 0);
  assert.is(rulesetObstacles([open, rule([{ reject: null }])], TRAFFIC).length, 1);
  const some = rule([{ match: { right: 22 } }, { drop: null }]);
  assert.is(rulesetObstacles([open, some], TRAFFIC).length, 0);
  assert.is(rulesetObstacles([drop("output")], TRAFFIC).length, 0);
});

test("a rule that accepts our device, pool or port answers the obstacle", () => {
  const iif = { match: { op: "==", left: { meta: { key: "iifname" } }, right: "mesh0" } };
  const accepts = rule([iif, { accept: null }]);
  assert.is(rulesetObstacles([drop("forward"), accepts], TRAFFIC).length, 0);
  assert.is(rulesetObstacles([drop("forward"), rule([iif, { drop: null }])], TRAFFIC).length, 1);
  const port = rule([{ match: { op: "==", right: 8472 } }, { accept: null }]);
  assert.is(rulesetObstacles([drop("input")], TRAFFIC).length, 1);
  assert.is(rulesetObstacles([drop("input"), port], TRAFFIC).length, 0);
});

test("the older iptables' listing is understood too", () => {
  const text = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n";
  const found = legacyObstacles("iptables-legacy", text, TRAFFIC);
  assert.equal(
    found.map((item) => [item.hook, item.chain]),
    [["forward", "iptables-legacy FORWARD"]],
  );
  const answered = `${text}-A FORWARD -i mesh0 -j ACCEPT\n`;
  assert.equal(legacyObstacles("iptables-legacy", answered, TRAFFIC), []);
  const jumps = `${text}-A FORWARD -j USER\n-A USER -d 10.244.0.0/16 -j ACCEPT\n`;
  assert.equal(legacyObstacles("iptables-legacy", jumps, TRAFFIC), []);
  const worse = `${text}-A FORWARD -i mesh0 -j DROP\n`;
  assert.is(legacyObstacles("iptables-legacy", worse, TRAFFIC).length, 1);
  const last = "-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-port-unreachable\n";
  assert.is(legacyObstacles("iptables-legacy", last, TRAFFIC).length, 1);
});

test("a tunnel that is not UDP is let in by the name or number of its IP protocols", () => {
  const { udpPort: _none, ...rest } = TRAFFIC;
  const raw = { ...rest, ipProtocols: [4, 41] };
  const text = "-P INPUT DROP\n-P FORWARD ACCEPT\n";
  const [found] = legacyObstacles("iptables-legacy", text, raw);
  assert.match(found?.message ?? "", /accept IP protocol 4, 41 from the other nodes/);
  for (const name of ["4", "ipencap", "ipv6", "41"]) {
    const answered = `${text}-A INPUT -p ${name} -j ACCEPT\n`;
    assert.equal(legacyObstacles("iptables-legacy", answered, raw), []);
  }
  const other = `${text}-A INPUT -p gre -j ACCEPT\n-A INPUT -p udp --dport 8472 -j ACCEPT\n`;
  assert.is(legacyObstacles("iptables-legacy", other, raw).length, 1);
});

test.run();
