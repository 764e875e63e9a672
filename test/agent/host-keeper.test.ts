// The host kept as planned, in a namespace of its own: what is set, that nothing is set twice,
// and that remove leaves no trace.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { HostResult, HostWanted } from "../../src/agent/host-keeper.js";
import { createNamespace, deleteNamespace, runSync, spawnIn, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const driver = fileURLToPath(new URL("./host-driver.js", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "meshd-host-"));
test.after(() => rmSync(directory, { recursive: true, force: true }));

const wanted: HostWanted = {
  mtu: 1450,
  addresses: ["10.244.1.0/32", "fd00:244:0:1::/128"],
  routes: [
    { destination: "10.244.2.0/24", kind: "peer", source: "10.244.1.0", via: "n2" },
    { destination: "fd00:244:0:2::/64", kind: "peer", source: "fd00:244:0:1::", via: "n2" },
    { destination: "10.244.0.0/16", kind: "unreachable", source: null, via: "pool" },
    { destination: "fd00:244::/48", kind: "unreachable", source: null, via: "pool" },
  ],
  masquerade: {
    sources: ["10.244.1.0/24", "fd00:244:0:1::/64"],
    except: ["10.244.0.0/16", "fd00:244::/48"],
  },
  admission: null,
  callNat: { sources: [], calls: [] },
  pools: ["10.244.0.0/16", "fd00:244::/48"],
};

function keep(namespace: string, ...calls: (HostWanted | { remove: string[] })[]): HostResult[] {
  const path = join(directory, `${namespace}.json`);
  const argv = [process.execPath, driver, path, ...calls.map((call) => JSON.stringify(call))];
  const lines = runSync(namespace, argv).trim().split("\n");
  return lines.map((line) => JSON.parse(line) as HostResult);
}

/** A namespace with a device mesh0 and, where said, routes of somebody else. */
function host(...commands: string[]): string {
  const namespace = createNamespace("host");
  runSync(namespace, ["ip", "tuntap", "add", "mesh0", "mode", "tun"]);
  for (const command of commands) runSync(namespace, ["ip", ...command.split(" ")]);
  return namespace;
}

const show = (namespace: string, ...words: string[]) => runSync(namespace, ["ip", ...words]);

rootTest(test, "the host becomes what the plan wants, and a second time nothing is written", () => {
  const namespace = host();
  const [first, second] = keep(namespace, wanted, wanted);
  assert.equal(first?.problems, []);
  assert.ok((first?.changes ?? 0) > 8);
  assert.equal(second, { changes: 0, problems: [] });
  const four = show(namespace, "route");
  assert.match(four, /10\.244\.2\.0\/24 dev mesh0 proto 157 scope link src 10\.244\.1\.0/);
  assert.match(four, /unreachable 10\.244\.0\.0\/16 proto 157/);
  assert.match(show(namespace, "-6", "route"), /fd00:244:0:2::\/64 dev mesh0 proto 157/);
  assert.match(show(namespace, "link", "show", "mesh0"), /mtu 1450/);
  const filter = "/proc/sys/net/ipv4/conf/mesh0/rp_filter";
  assert.is(runSync(namespace, ["cat", filter]).trim(), "2", "never strict, whatever all says");
  const rules = runSync(namespace, ["nft", "list", "ruleset"]);
  assert.match(rules, /masquerade fully-random/);
  deleteNamespace(namespace);
});

rootTest(test, "routes and rules of others are never touched, not even by remove", () => {
  const namespace = host(
    "tuntap add other0 mode tun",
    "link set other0 up",
    "route add 10.99.0.0/16 dev other0 proto static",
    "route add unreachable 10.98.0.0/16 proto static",
  );
  runSync(namespace, ["nft", "add", "table", "inet", "other"]);
  const routes = () => show(namespace, "route") + show(namespace, "-6", "route");
  const before = routes();
  keep(namespace, wanted, { remove: [...wanted.pools] });
  assert.is(routes(), before);
  assert.is(runSync(namespace, ["nft", "list", "tables"]).trim(), "table inet other");
  assert.not.match(show(namespace, "address", "show", "dev", "mesh0"), /inet 10/);
  deleteNamespace(namespace);
});

rootTest(test, "what somebody took away or spoiled is mended, and counted", () => {
  const namespace = host();
  keep(namespace, wanted);
  show(namespace, "route", "delete", "10.244.2.0/24");
  show(namespace, "link", "set", "mesh0", "mtu", "1280");
  const [mended, still] = keep(namespace, wanted, wanted);
  assert.is(mended?.changes, 2);
  assert.is(still?.changes, 0);
  deleteNamespace(namespace);
});

rootTest(test, "a setting below /proc/sys gets its old value back, also after a restart", () => {
  const namespace = host();
  const read = () => runSync(namespace, ["cat", "/proc/sys/net/ipv4/ip_forward"]).trim();
  runSync(namespace, ["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"]);
  keep(namespace, wanted);
  assert.is(read(), "1");
  keep(namespace, wanted);
  keep(namespace, { remove: [...wanted.pools] });
  assert.is(read(), "0");
  deleteNamespace(namespace);
});

rootTest(test, "who leaves first does not stop the forwarding of another mesh on this host", () => {
  const other = "10.99.0.0/16 proto 157 metric 1000157";
  const namespace = host("link set lo up", `route add unreachable ${other}`);
  const read = () => runSync(namespace, ["cat", "/proc/sys/net/ipv4/ip_forward"]).trim();
  runSync(namespace, ["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"]);
  keep(namespace, wanted, { remove: [...wanted.pools] });
  assert.match(show(namespace, "route"), /^unreachable 10\.99/m);
  assert.is(read(), "1");
  deleteNamespace(namespace);
});

rootTest(test, "masquerade that is switched off is taken out", () => {
  const namespace = host();
  const [, off] = keep(namespace, wanted, { ...wanted, masquerade: null });
  assert.is(off?.changes, 1);
  assert.is(runSync(namespace, ["nft", "list", "tables"]).trim(), "");
  deleteNamespace(namespace);
});

/** As `wanted`, with a neighbour's kernel routes instead of the tunnel's. */
const direct: HostWanted = {
  ...wanted,
  routes: wanted.routes.map((route) => {
    if (route.kind !== "peer") return route;
    const gateway = route.destination.includes(":") ? "fe80::2" : "192.168.9.2";
    return { ...route, kind: "direct", gateway, device: "eth0" };
  }),
  admission: {
    device: "eth0",
    own: ["10.244.1.0/24", "fd00:244:0:1::/64"],
    peers: ["10.244.2.0/24", "fd00:244:0:2::/64"],
    pools: [...wanted.pools],
  },
};

const neighbourhood = [
  "link add eth0 type veth peer name far0",
  "link set far0 up",
  "address add 192.168.9.1/24 dev eth0",
  "link set eth0 up",
];

rootTest(test, "a peer's routes turn from the tunnel to a neighbour and back, in place", () => {
  const namespace = host(...neighbourhood);
  const routes = () =>
    [show(namespace, "route"), show(namespace, "-6", "route")]
      .join("")
      .split("\n")
      .filter((line) => /^(10\.244\.2|fd00:244:0:2)/.test(line));
  keep(namespace, wanted);
  const [turned, still] = keep(namespace, direct, direct);
  assert.equal([turned, still?.changes], [{ changes: 3, problems: [] }, 0]);
  const [four, six, ...more] = routes();
  assert.equal(more, []);
  assert.match(four ?? "", /via 192\.168\.9\.2 dev eth0 proto 157 src 10\.244\.1\.0 metric 157/);
  assert.match(six ?? "", /via fe80::2 dev eth0 proto 157 src fd00:244:0:1:: metric 157/);
  const [back] = keep(namespace, wanted);
  assert.equal(back, { changes: 3, problems: [] });
  assert.equal(
    routes().map((line) => / dev (\S+)/.exec(line)?.[1]),
    ["mesh0", "mesh0"],
  );
  deleteNamespace(namespace);
});

rootTest(test, "a packet is never without a route while its way changes", () => {
  const namespace = host(...neighbourhood);
  keep(namespace, wanted);
  const watch = ["timeout", "20", "ip", "-o", "monitor", "route"];
  const seen = spawnIn(namespace, watch);
  let text = "";
  seen.stdout?.on("data", (piece: Buffer) => {
    text += piece.toString();
  });
  return until("the monitor listens", () => {
    // A route that is there already would be no event.
    const route = ["192.168.99.0/24", "dev", "eth0"];
    for (const verb of ["add", "delete"]) runSync(namespace, ["ip", "route", verb, ...route]);
    return text.includes("192.168.99.0");
  }).then(async () => {
    keep(namespace, direct, wanted);
    runSync(namespace, ["ip", "route", "replace", "192.168.98.0/24", "dev", "eth0"]);
    await until("it has told all", () => text.includes("192.168.98.0"));
    seen.kill();
    assert.match(text, /10\.244\.2\.0\/24 via 192\.168\.9\.2/);
    assert.not.match(text, /Deleted (10\.244\.2|fd00:244:0:2)/);
    deleteNamespace(namespace);
  });
});

rootTest(test, "IPv4 goes by a neighbour's IPv6 address where the underlay has no other", () => {
  const namespace = host(...neighbourhood);
  const routes = direct.routes.map((route) =>
    route.destination === "10.244.2.0/24" ? { ...route, gateway: "fe80::2" } : route,
  );
  const [first, still] = keep(namespace, { ...direct, routes }, { ...direct, routes });
  assert.equal([first?.problems, still?.changes], [[], 0]);
  assert.match(show(namespace, "route"), /^10\.244\.2\.0\/24 via inet6 fe80::2 dev eth0/m);
  const [back] = keep(namespace, wanted);
  assert.equal(back?.problems, []);
  assert.match(show(namespace, "route"), /^10\.244\.2\.0\/24 dev mesh0/m);
  deleteNamespace(namespace);
});

rootTest(
  test,
  "a gateway that the kernel refuses is said, and keeps the others from nothing",
  () => {
    const namespace = host(...neighbourhood);
    const bad = { ...direct.routes[0], destination: "10.244.3.0/24", gateway: "192.168.9.255" };
    const routes = [bad as HostWanted["routes"][number], ...direct.routes];
    const [first] = keep(namespace, { ...direct, routes });
    assert.is(first?.problems.length, 1);
    assert.match(
      first?.problems[0] ?? "",
      /10\.244\.3\.0\/24 via 192\.168\.9\.255 .*: .*invalid gateway/,
    );
    assert.match(show(namespace, "route"), /^10\.244\.2\.0\/24 via 192\.168\.9\.2 dev eth0/m);
    deleteNamespace(namespace);
  },
);

rootTest(test, "a neighbour's route that is no longer wanted goes; another agent's stays", () => {
  const other = "10.244.7.0/24 via 192.168.9.7 dev eth0 proto 157";
  const namespace = host(...neighbourhood, `route add ${other}`);
  keep(namespace, direct);
  const fewer = direct.routes.filter(({ kind }) => kind === "unreachable");
  keep(namespace, { ...direct, routes: fewer });
  assert.match(show(namespace, "route"), /^10\.244\.7\.0\/24/m);
  assert.not.match(show(namespace, "route"), /^10\.244\.2/m);
  keep(namespace, direct, { remove: [...wanted.pools] });
  assert.not.match(
    show(namespace, "route") + show(namespace, "-6", "route"),
    /^(10\.244\.2|fd00)/m,
  );
  assert.is(runSync(namespace, ["nft", "list", "tables"]).trim(), "");
  deleteNamespace(namespace);
});

test.run();
