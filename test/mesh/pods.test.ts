// Pods by the command line, on hosts without a default route.
//
//   <lab>-n1, <lab>-n2 (meshd) --- bridge; pods are added and removed here
import { existsSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { contains } from "../../src/config/index.js";
import { Capture } from "../support/capture.js";
import { adoptNamespace, createNamespace, pings, runSync, trySync } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { assertPings, MeshLab, meshdAt } from "./mesh-lab.js";

const test = suite("pods by the command line");
const lab = new MeshLab("pd");

interface Pod {
  name: string;
  namespace: string;
  addresses: string[];
  labels: Record<string, string>;
  hostDevice: string;
}

const space = (pod: string) => `${lab.name}-${pod}`;
const list = (node: string) => lab.ask<Pod[]>(node, ["pod", "list"]);

function add(node: string, name: string, ...words: string[]): Pod {
  const at = words.includes("--netns") ? [] : ["--netns", space(name)];
  if (at.length > 0) adoptNamespace(space(name));
  return lab.ask<Pod>(node, ["pod", "add", name, ...at, ...words]);
}

/** An address without its length. */
const bare = (pod: Pod) => pod.addresses.map((address) => address.replace(/\/\d+$/, ""));

function routesOf(namespace: string): string {
  return ["-4", "-6"].map((v) => runSync(namespace, ["ip", v, "route"])).join("");
}

let web: Pod;
let db: Pod;
let far: Pod;

if (isRoot) {
  test.before(() => {
    lab.up("--nodes", "2", "--pods", "0", "--set", "clusterPoolIPv4MaskSize=29");
    for (const name of ["n1", "n2"]) {
      assert.not.match(routesOf(lab.node(name).namespace), /^default/m);
    }
  });
}

rootTest(test, "pod add makes a namespace with addresses of the node's PodCIDRs", () => {
  web = add("n1", "web", "--label", "app=shop", "--label", "tier=front");
  assert.equal([web.name, web.namespace], ["web", space("web")]);
  assert.equal(web.labels, { app: "shop", tier: "front" });
  assert.equal(list("n1"), [web]);
  const { podCIDRs } = lab.agent("n1").lease;
  assert.is(web.addresses.length, podCIDRs.length);
  const [four = "", six = ""] = bare(web);
  assert.ok(contains(podCIDRs[0] ?? "", four) && contains(podCIDRs[1] ?? "", six));
  const shown = runSync(web.namespace, ["ip", "-o", "address", "show", "dev", "eth0"]);
  assert.match(shown, new RegExp(`inet ${four}/32 `));
  assert.match(shown, new RegExp(`inet6 ${six}/128 `));
  assert.match(routesOf(web.namespace), /^default via 169\.254\.1\.1 dev eth0/m);
  assert.match(routesOf(web.namespace), /^default via fe80::1 dev eth0/m);
  const link = runSync(web.namespace, ["ip", "-o", "link", "show", "dev", "eth0"]);
  assert.match(link, new RegExp(` mtu ${lab.agent("n1").mtu} `));
});

rootTest(test, "a namespace that is there is used, by name or by path, and stays", () => {
  const mine = createNamespace("mine");
  const byPath = add("n1", "db", "--netns", `/run/netns/${mine}`);
  db = byPath;
  assert.ok(runSync(mine, ["ip", "-o", "address"]).includes(bare(db)[0] ?? "?"));
  assert.equal(
    list("n1")
      .map(({ name }) => name)
      .sort(),
    ["db", "web"],
  );
});

rootTest(test, "pods of one host reach each other without the tunnel", async () => {
  const before = lab.agent("n1").packets.egress;
  for (const size of [84, 1450]) {
    for (const address of bare(db)) assertPings(web.namespace, address, size);
    for (const address of bare(web)) assertPings(db.namespace, address, size);
  }
  const [worker] = await lab.counters("n1");
  assert.ok((worker?.egress.received ?? 0) < before + 100);
});

rootTest(test, "pod, host and their counterparts on another node reach each other", () => {
  far = add("n2", "far");
  const nodeAddresses = lab.agent("n1").node.addresses;
  const [here, there] = [lab.node("n1").namespace, lab.node("n2").namespace];
  for (const size of [84, 1450]) {
    for (const [index, address] of bare(far).entries()) {
      assertPings(web.namespace, address, size);
      assertPings(here, address, size);
      assertPings(there, address, size);
      assertPings(far.namespace, bare(web)[index] ?? "", size);
      assertPings(far.namespace, nodeAddresses[index] ?? "", size);
      assertPings(web.namespace, nodeAddresses[index] ?? "", size);
    }
  }
});

rootTest(test, "what a host sends to pods of another node has the node's address", async () => {
  const addresses = lab.agent("n1").node.addresses;
  const capture = new Capture(far.namespace, "eth0", "icmp[0] == 8 or (icmp6 and ip6[40] == 128)");
  try {
    await capture.started();
    for (const address of bare(far)) assertPings(lab.node("n1").namespace, address, 84);
    await capture.stop();
    const sources = capture.frames("").map((line) => line.trim().split(/\s+/)[2]);
    assert.equal([...new Set(sources)], addresses);
  } finally {
    capture.remove();
  }
});

rootTest(test, "a gateway is answered for by proxy ARP, at once", () => {
  runSync(web.namespace, ["ip", "neighbour", "flush", "dev", "eth0"]);
  const shown = () => runSync(web.namespace, ["ip", "neighbour", "show", "dev", "eth0"]);
  assert.ok(pings(web.namespace, bare(far)[0] ?? "", 56, 1));
  assert.match(shown(), /^169\.254\.1\.1 lladdr [0-9a-f:]{17}/m);
  assert.ok(pings(web.namespace, bare(far)[1] ?? "", 56, 1));
  assert.match(shown(), /^fe80::1 lladdr [0-9a-f:]{17}/m);
});

rootTest(test, "pod add is refused for names and namespaces that are taken or wrong", () => {
  const before = list("n1");
  const links = runSync(lab.node("n1").namespace, ["ip", "-o", "link"]);
  const refused = (words: string[], code: RegExp, exit = 1) => {
    const done = meshdAt(lab.node("n1"), ["pod", "add", ...words, "--json"]);
    assert.is(done.code, exit, `${words.join(" ")}: ${done.stdout}`);
    assert.match(done.stderr, /^meshd: [^\n]+\n$/);
    assert.match(done.stdout, code);
  };
  refused(["web"], /MESHD_POD_EXISTS/);
  refused(["web", "--netns", space("other")], /MESHD_POD_EXISTS/);
  refused(["second", "--netns", space("web")], /MESHD_/);
  refused(["Bad_Name"], /MESHD_/, 2);
  refused(["nowhere", "--netns", "/run/netns/no/such"], /MESHD_/);
  refused(["odd", "--label", "nothing"], /MESHD_/, 2);
  assert.equal(list("n1"), before);
  assert.is(runSync(lab.node("n1").namespace, ["ip", "-o", "link"]), links);
  for (const name of ["other", "second", "odd", "nowhere"]) {
    assert.not.ok(existsSync(`/run/netns/${space(name)}`), name);
    assert.not.ok(existsSync(`/run/netns/${name}`), name);
  }
});

rootTest(test, "the mesh knows the pods with their addresses and labels", () => {
  const { endpoints } = lab.admin<{
    endpoints: { pod: string; addresses: string[]; labels: Record<string, string> }[];
  }>("node", "show", "n1");
  const known = endpoints.map(({ pod, addresses, labels }) => ({ pod, addresses, labels }));
  const wanted = [db, web].map(({ name, addresses, labels }) => ({ pod: name, addresses, labels }));
  known.sort((a, b) => (a.pod < b.pod ? -1 : 1));
  assert.equal(known, wanted);
});

rootTest(test, "pod remove takes out what was made and frees name and address", () => {
  lab.ask("n1", ["pod", "remove", "web"]);
  assert.not.ok(existsSync(`/run/netns/${web.namespace}`));
  const host = lab.node("n1").namespace;
  assert.not.ok(routesOf(host).includes(bare(web)[0] ?? "?"));
  assert.not.ok(runSync(host, ["ip", "-o", "link"]).includes(web.hostDevice));
  assert.not.ok(pings(far.namespace, bare(web)[0] ?? "", 56, 1));
  const mine = db.namespace;
  lab.ask("n1", ["pod", "remove", "db"]);
  assert.is(trySync(mine, ["ip", "link", "show", "eth0"]).code, 1, "its device is gone");
  assert.is(trySync(mine, ["true"]).code, 0, "a namespace of the user's own stays");
  assert.equal(list("n1"), []);
  const again = meshdAt(lab.node("n1"), ["pod", "remove", "web", "--json"]);
  assert.is(again.code, 1);
  assert.match(again.stdout, /MESHD_[A-Z_]*NOT_FOUND|MESHD_NO_POD/);
});

rootTest(test, "a full PodCIDR is said, and a removed pod's address is given again", () => {
  // A /29: the first address is the node's, the last one stays free.
  const pods = Array.from({ length: 6 }, (_, index) => add("n1", `full${index}`));
  const fours = pods.map((pod) => bare(pod)[0] ?? "");
  assert.is(new Set(fours).size, 6);
  const full = meshdAt(lab.node("n1"), ["pod", "add", "more", "--json"]);
  assert.is(full.code, 1);
  assert.match(full.stdout, /MESHD_POD_ADDRESSES_EXHAUSTED/);
  lab.ask("n1", ["pod", "remove", "full3"]);
  const next = add("n1", "next");
  assert.is(bare(next)[0], fours[3]);
  for (const address of bare(next)) assertPings(far.namespace, address, 1450);
});

test.run();
