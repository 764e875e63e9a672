// Who lives and who hears whom, on the real thing: a host of a lab is cut off, wholly or in one
// direction, and both ends say what is true. The clock's limits are life.test.ts' (test/agent).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus, PeerStatus } from "../../src/agent/index.js";
import { runSync, spawnIn, until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { MeshLab } from "./mesh-lab.js";

const NODES = ["n1", "n2", "n3"];
/** Promised, from the cut to the word; twice that is allowed here, for a busy machine. */
const DEAD_MS = 5000;
const BACK_MS = 2000;
const NAMED_MS = 25_000;

const lab = new MeshLab("life");
test.after(() => lab.remove());

/** Neighbours that no answer to ARP is needed for: else a loss one way soon becomes one of both. */
function keepNeighbours(): void {
  const cards = NODES.map((name) => {
    const { namespace } = lab.node(name);
    const show = ["ip", "-j", "address", "show", "dev", "eth0"];
    const [card] = JSON.parse(runSync(namespace, show));
    return { namespace, mac: card.address, address: card.addr_info[0].local };
  });
  for (const { namespace } of cards) {
    for (const { namespace: other, mac, address } of cards) {
      const entry = [address, "lladdr", mac, "dev", "eth0", "nud", "permanent"];
      if (other !== namespace) runSync(namespace, ["ip", "neigh", "replace", ...entry]);
    }
  }
}

function impair(...faults: string[]): void {
  const { code, stderr } = lab.lab("impair", "n1", ...faults);
  assert.is(code, 0, stderr);
}

function peerOf(status: AgentStatus, name: string): PeerStatus {
  const peer = status.peers.find((one) => one.name === name);
  assert.ok(peer, name);
  return peer;
}

const pathOf = async (at: string, of: string) => {
  const { reachable, path } = peerOf(await lab.statusOf(at), of);
  return `${reachable} ${path.toPeer} ${path.fromPeer}`;
};

/** Milliseconds until it is so, from now. */
async function timed(what: string, isSo: () => Promise<boolean>, most_ms: number): Promise<number> {
  const from = performance.now();
  await until(what, isSo, most_ms);
  return Math.round(performance.now() - from);
}

/** All of n1's paths, seen from it and from the others. */
async function untilNamed(ofOthers: string, ofN1: string): Promise<void> {
  for (const other of ["n2", "n3"]) {
    const here = async () => (await pathOf(other, "n1")) === ofN1;
    await until(`${other} says of n1: ${ofN1}`, here, NAMED_MS);
    const there = async () => (await pathOf("n1", other)) === ofOthers;
    await until(`n1 says of ${other}: ${ofOthers}`, there, NAMED_MS);
  }
  assert.is(await pathOf("n2", "n3"), OK, "the others are whole");
}

const OK = "reachable ok ok";
const UNHEARD = "unreachable lost ok";
const SILENT = "unreachable unknown lost";

rootTest(test, "a peer with traffic that is cut off is known in 5 s, and back in 2", async () => {
  lab.up("--nodes", "3", "--pods", "1");
  await lab.untilReachable(...NODES);
  keepNeighbours();
  impair();
  const ping = ["ping", "-n", "-q", "-i", "0.2", lab.address("n1", "p1", 4)];
  for (const name of ["n2", "n3"]) spawnIn(lab.podSpace(name, "p1"), ping);
  const { packets } = await lab.statusOf("n2");
  await until("packets have flowed for some turns", async () => {
    return (await lab.statusOf("n2")).packets.ingress > packets.ingress + 10;
  });
  impair("--cut");
  const lost = async () => (await pathOf("n2", "n1")).startsWith("unreachable");
  const dead_ms = await timed("n1 is lost", lost, 2 * DEAD_MS);
  impair();
  const whole = async () => (await pathOf("n2", "n1")) === OK;
  const back_ms = await timed("n1 is back", whole, 2 * BACK_MS);
  console.log(`unreachable after ${dead_ms} ms, back after ${back_ms} ms`);
  await lab.untilReachable(...NODES);
});

rootTest(test, "what a host does not hear any more is named on both ends", async () => {
  impair("--cut", "--direction", "to");
  await untilNamed(SILENT, UNHEARD);
  const { problem } = peerOf(await lab.statusOf("n2"), "n1");
  assert.is(problem, "one-way: n1 does not hear this node, while its own packets arrive");
  const other = peerOf(await lab.statusOf("n1"), "n2").problem ?? "";
  assert.match(other, /^this node does not hear n2 \(nothing for \d+ s\)/);
  const metrics = await lab.metrics("n2");
  assert.match(metrics, 'meshd_peer_path{peer="n1",direction="to"} 0');
  assert.match(metrics, 'meshd_peer_path{peer="n1",direction="from"} 1');
  const log = readFileSync(join(lab.node("n2").stateDir, "agent.log"), "utf8");
  assert.match(log, /agent\.peer\.lost peer=n1 reachable=unreachable toPeer=lost fromPeer=ok/);
  impair();
  await untilNamed(OK, OK);
});

rootTest(test, "so is a host that the others do not hear, where no tunnel is between", async () => {
  lab.admin("config", "set", "encapMode", "crossSubnet");
  for (const name of NODES) {
    await lab.untilAgent(name, "peers are routed directly", ({ peers, peersReachable }) => {
      return peersReachable === 2 && peers.every(({ ways }) => ways.ipv4 === "direct");
    });
  }
  impair("--cut", "--direction", "from");
  await untilNamed(UNHEARD, SILENT);
  impair();
  await untilNamed(OK, OK);
});

test.run();
