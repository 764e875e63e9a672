// The mesh's encapsulation and port change while pods talk: peer by peer, with next to no loss, and
// a peer that is not reached in the new way stays on the old one and says so.
import type { ChildProcess } from "node:child_process";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { runSync, spawnIn } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { MeshLab } from "./mesh-lab.js";

const test = suite("live change");
const lab = new MeshLab("lc");
const NODES = ["n1", "n2", "n3", "n4", "n5"];
/** Each node once as the sender and once as the other end. */
const PAIRS = NODES.map((from, i) => [from, NODES[(i + 1) % NODES.length] ?? "n1"] as const);
const LOST_MAX = 10;
const CHANGE_MS = 40_000;

interface Pinging {
  pair: string;
  child: ChildProcess;
  output: () => string;
}

/** A ping each millisecond from pod to pod. */
function ping([from, to]: readonly [string, string]): Pinging {
  const argv = ["ping", "-n", "-q", "-i", "0.001", lab.address(to, "p1", 4)];
  const child = spawnIn(lab.podSpace(from, "p1"), argv);
  let text = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  return { pair: `${from} -> ${to}`, child, output: () => text };
}

/** Ends a ping: how many packets went out and how many answers came. */
async function counts({ child, output }: Pinging): Promise<{ sent: number; got: number }> {
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGINT");
  await ended;
  const found = /(\d+) packets transmitted, (\d+) received/.exec(output());
  assert.ok(found, `ping said: ${output()}`);
  return { sent: Number(found[1]), got: Number(found[2]) };
}

/** Pings all pairs while `body` runs; none may lose more than a few. */
async function withPings(what: string, body: () => Promise<void>): Promise<void> {
  const pinging = PAIRS.map(ping);
  try {
    await body();
  } finally {
    const results = await Promise.all(pinging.map(counts));
    for (const [i, { sent, got }] of results.entries()) {
      const { pair } = pinging[i] ?? { pair: "" };
      assert.ok(sent > 500, `${what}, ${pair}: only ${sent} pings`);
      assert.ok(sent - got <= LOST_MAX, `${what}, ${pair}: ${sent - got} of ${sent} lost`);
    }
  }
}

const isDone = (protocol: string, port: number) => (status: AgentStatus) =>
  status.change === null &&
  status.tunnelProtocol === protocol &&
  status.peers.every((peer) => peer.protocol === protocol && peer.port === port);

async function untilAll(what: string, condition: (status: AgentStatus) => boolean) {
  for (const node of NODES) await lab.untilAgent(node, what, condition, CHANGE_MS);
}

/** UDP ports and raw IP protocols that a node's namespace receives on. */
function openPorts(node: string): string {
  const { namespace } = lab.node(node);
  const udp = runSync(namespace, ["ss", "-Hlun"]);
  const raw = runSync(namespace, ["ss", "-Hlwn"]);
  return `${udp}\n${raw}`;
}

if (isRoot) test.before(() => lab.up("--nodes", "5", "--pods", "1"));

for (const [protocol, port, mtu] of [
  ["geneve", 6081, 1450],
  ["ipip", 0, 1480],
  ["vxlan", 8472, 1450],
] as const) {
  rootTest(test, `to ${protocol} under 1 kHz pings: at most ${LOST_MAX} are lost`, async () => {
    await lab.untilReachable(...NODES);
    await withPings(protocol, async () => {
      lab.admin("config", "set", "tunnelProtocol", protocol);
      await untilAll(`everybody sends ${protocol}`, isDone(protocol, port));
    });
    await untilAll(`MTU is ${mtu}`, (status) => status.mtu === mtu);
    for (const node of NODES) assert.equal(lab.agent(node).warnings, []);
  });
}

rootTest(test, "to another port under 1 kHz pings, and the old one is closed", async () => {
  await withPings("port", async () => {
    lab.admin("config", "set", "tunnelPort", "4789");
    await untilAll("everybody sends to 4789", isDone("vxlan", 4789));
  });
  for (const node of NODES) assert.not.match(openPorts(node), /:8472\b/);
  lab.admin("config", "set", "tunnelPort", "0");
  await untilAll("everybody sends to 8472", isDone("vxlan", 8472));
});

rootTest(
  test,
  "a peer behind a filter stays on the old way, says so, and flips later",
  async () => {
    const { namespace } = lab.node("n5");
    const rules = [
      "add table inet shut",
      "add chain inet shut in { type filter hook input priority 0; }",
      "add rule inet shut in udp dport 6081 drop",
    ];
    runSync(namespace, ["nft", rules.join("; ")]);
    const stays = ({ peers, change }: AgentStatus) =>
      change?.staying.join() === "n5" &&
      peers.every(({ name, protocol }) => protocol === (name === "n5" ? "vxlan" : "geneve")) &&
      peers.some(({ name, problem }) => name === "n5" && /no answer by geneve/.test(problem ?? ""));
    await withPings("filter", async () => {
      lab.admin("config", "set", "tunnelProtocol", "geneve");
      for (const node of NODES.slice(0, 4)) {
        await lab.untilAgent(node, "n5 alone stays", stays, CHANGE_MS);
      }
      await lab.untilReachable(...NODES);
    });
    await withPings("filter gone", async () => {
      runSync(namespace, ["nft", "delete table inet shut"]);
      await untilAll("n5 flips, too", isDone("geneve", 6081));
    });
  },
);

rootTest(test, "an agent that starts again in the middle goes on where it was", async () => {
  const { namespace } = lab.node("n5");
  const rules = [
    "add table inet shut",
    "add chain inet shut in { type filter hook input priority 0; }",
    "add rule inet shut in udp dport 8472 drop",
  ];
  runSync(namespace, ["nft", rules.join("; ")]);
  lab.admin("config", "set", "tunnelProtocol", "vxlan");
  const stays = ({ peers }: AgentStatus) =>
    peers.every(({ name, protocol }) => protocol === (name === "n5" ? "geneve" : "vxlan"));
  await lab.untilAgent("n1", "n5 alone stays", stays, CHANGE_MS);
  const { pid } = lab.agent("n1");
  process.kill(pid, "SIGKILL");
  lab.up("--nodes", "5", "--pods", "1");
  await lab.untilAgent("n1", "n5 alone stays still", stays, CHANGE_MS);
  await lab.untilReachable("n1");
  runSync(namespace, ["nft", "delete table inet shut"]);
  await untilAll("everybody sends vxlan", isDone("vxlan", 8472));
});

test.run();
