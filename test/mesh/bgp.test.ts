// The mesh offered to a BGP daemon: docs/examples as they stand, with this lab's addresses, between
// a node and a router outside.
//
//   pods --- <lab>-n1, <lab>-n2 --- bridge --- router (BIRD) --- lan0 172.31.9.0/24
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { birdTest, startBird } from "../peers/index.js";
import { pings, runSync, until } from "../support/netns.js";
import { isRoot } from "../support/root.js";
import { type Guest, MeshLab } from "./mesh-lab.js";

const test = suite("bgp");
const lab = new MeshLab("bg");
const LAN = { 4: "172.31.9.0/24", 6: "fd31:9::/64" } as const;
const FAMILIES = [4, 6] as const;
const daemons: ChildProcess[] = [];
let router: Guest;

interface KernelRoute {
  dst: string;
  gateway?: string;
}

const ip = (namespace: string, argv: string) => runSync(namespace, ["ip", ...argv.split(" ")]);

function linkLocal(namespace: string): string {
  const text = ip(namespace, "-6 address show dev eth0 scope link");
  return /inet6 (fe80::[0-9a-f:]+)/.exec(text)?.[1] ?? "";
}

/** An example of docs/ with the addresses of this lab. */
function example(name: string): string {
  const border = lab.node("n1").namespace;
  const addresses: Record<string, string> = {
    "192.0.2.11": lab.status().nodes[0]?.underlay[0] ?? "",
    "192.0.2.1": router.address,
    "fe80::11": linkLocal(border),
    "fe80::1": linkLocal(router.namespace),
  };
  const text = readFileSync(join("docs", "examples", name), "utf8");
  return text.replace(/192\.0\.2\.\d+|fe80::\d+/g, (found) => addresses[found] ?? "");
}

/** Networks that the router's kernel has from BIRD. */
function learned(): string[] {
  return FAMILIES.flatMap((family) => {
    const text = ip(router.namespace, `-j -${family} route show proto bird`);
    return (JSON.parse(text) as KernelRoute[]).map(({ dst }) => dst);
  }).sort();
}

async function untilLearned(...networks: string[]): Promise<void> {
  const wanted = [...networks].sort().join();
  const holds = () => learned().join() === wanted;
  await until(`the router knows ${wanted}`, holds, 30_000).catch((error: Error) => {
    throw new Error(`${error.message}; it knows ${learned().join()}`);
  });
}

const podCIDRs = () => lab.status().nodes.flatMap((node) => node.podCIDRs);
const pools = () => [...new Set(podCIDRs().map((one) => (one.includes(":") ? POOL6 : POOL4)))];
const POOL4 = "10.244.0.0/16";
const POOL6 = "fd00:10:244::/48";

if (isRoot) {
  test.before(() => {
    lab.up("--nodes", "2", "--pods", "1");
    router = lab.addGuest("router");
    ip(router.namespace, "link add lan0 type veth peer name host0");
    for (const end of ["lan0", "host0"]) ip(router.namespace, `link set ${end} up`);
    ip(router.namespace, "address add 172.31.9.1/24 dev lan0");
    ip(router.namespace, "address add fd31:9::1/64 dev lan0 nodad");
  });
}

birdTest(test, "the router learns the pools and every PodCIDR", async () => {
  await until("link-local addresses", () => {
    return linkLocal(router.namespace) !== "" && linkLocal(lab.node("n1").namespace) !== "";
  });
  const border = example("bird-border.conf");
  const outside = example("bird-router.conf");
  daemons.push(startBird(lab.node("n1").namespace, join(lab.folder, "border"), border));
  daemons.push(startBird(router.namespace, join(lab.folder, "router"), outside));
  assert.is(podCIDRs().length, 4);
  await untilLearned(...pools(), ...podCIDRs());
});

birdTest(
  test,
  "what is behind the router reaches the pods of every node, and is reached",
  async () => {
    for (const family of FAMILIES) lab.admin("node", "grant", "n1", LAN[family]);
    for (const node of ["n1", "n2"]) {
      for (const family of FAMILIES) {
        const address = lab.address(node, "p1", family);
        const own = family === 4 ? "172.31.9.1" : "fd31:9::1";
        const argv = ["ping", "-n", "-c", "1", "-W", "1", "-I", own, address];
        await until(`${own} reaches ${address}`, () => {
          try {
            return runSync(router.namespace, argv) !== "";
          } catch {
            return false;
          }
        });
        await until(`${node} reaches ${own}`, () => pings(lab.podSpace(node, "p1"), own, 56, 1));
      }
    }
  },
);

birdTest(test, "a node that joins is learned, one that leaves is dropped", async () => {
  const before = [...pools(), ...podCIDRs()];
  const host = lab.addGuest("third");
  const words = ["join", "-", "--name", "third"];
  const { lease } = lab.ask<{ lease: { podCIDRs: string[] } }>(host.place, words, lab.token());
  assert.is(lease.podCIDRs.length, 2);
  await untilLearned(...before, ...lease.podCIDRs);
  lab.ask(host.place, ["leave"]);
  await untilLearned(...before);
});

test.after(() => {
  for (const daemon of daemons) daemon.kill("SIGKILL");
});

test.run();
