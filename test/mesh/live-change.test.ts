// The mesh's encapsulation, its port and the words of its headers change while pods talk: peer by
// peer, with next to no loss, and a peer that is not reached in the new way stays on the old one
// and says so. One lab for all: what one test leaves is what the next one begins with.
import type { ChildProcess } from "node:child_process";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { AgentStatus } from "../../src/agent/index.js";
import { runSync, spawnIn, until } from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { MeshLab } from "./mesh-lab.js";

const test = suite("live change");
const lab = new MeshLab("lc");
const NODES = ["n1", "n2", "n3", "n4", "n5"];
const SHAPE = ["--nodes", "5", "--pods", "1"];
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
      assert.ok(sent > 50, `${what}, ${pair}: only ${sent} pings`);
      assert.ok(sent - got <= LOST_MAX, `${what}, ${pair}: ${sent - got} of ${sent} lost`);
    }
  }
}

type Form = AgentStatus["peers"][number]["form"];

/** The nodes' own words, by their sockets: no program is started for a look. */
async function untilEach(
  what: string,
  condition: (status: AgentStatus) => boolean,
  nodes: readonly string[] = NODES,
): Promise<void> {
  for (const node of nodes) {
    await until(`${node}: ${what}`, async () => condition(await lab.statusOf(node)), CHANGE_MS);
  }
}

/** A node sends to all in a form with these words. */
const isSent =
  (wanted: Partial<Form>) =>
  ({ peers }: AgentStatus) => {
    const asked = Object.entries(wanted) as [keyof Form, unknown][];
    return peers.every(({ form }) => asked.every(([word, value]) => form[word] === value));
  };

/** What was before is closed. */
const isOver = (mtu: number) => (status: AgentStatus) =>
  status.change === null && status.mtu === mtu && status.warnings.length === 0;

/** UDP ports and raw IP protocols that a node's namespace receives on. */
function openPorts(node: string): string {
  const { namespace } = lab.node(node);
  const udp = runSync(namespace, ["ss", "-Hlun"]);
  const raw = runSync(namespace, ["ss", "-Hlwn"]);
  return `${udp}\n${raw}`;
}

if (isRoot) {
  test.before(async () => {
    lab.up(...SHAPE);
    await lab.untilReachable(...NODES);
  });
}

/** Each begins while the form before is still received: so many are open at once. */
const CHANGES: [string, string, Partial<Form>][] = [
  ["tunnelProtocol", "geneve", { protocol: "geneve", port: 6081, vni: 1 }],
  ["vni", "6", { protocol: "geneve", vni: 6 }],
  ["tunnelProtocol", "gre", { protocol: "gre", port: 0, greKey: null }],
  ["greKey", "7", { protocol: "gre", greKey: 7 }],
  ["greChecksum", "true", { greKey: 7, greChecksum: true }],
  ["greSequence", "true", { greKey: 7, greChecksum: true, greSequence: true }],
  ["greKey", "8", { greKey: 8, greChecksum: true, greSequence: true }],
  ["tunnelProtocol", "ipip", { protocol: "ipip", port: 0 }],
  // Of five nodes each has four calls, and packets while they are made.
  ["tunnelProtocol", "pptp", { protocol: "pptp", port: 0 }],
  ["tunnelProtocol", "vxlan", { protocol: "vxlan", port: 8472, vni: 6 }],
  ["tunnelPort", "4789", { protocol: "vxlan", port: 4789, vni: 6 }],
  // On one port: what comes there tells itself.
  ["tunnelProtocol", "geneve", { protocol: "geneve", port: 4789, vni: 6 }],
  ["tunnelProtocol", "udp", { protocol: "udp", port: 4789 }],
  ["tunnelProtocol", "vxlan", { protocol: "vxlan", port: 4789, vni: 6 }],
  ["vni", "identity", { protocol: "vxlan", port: 4789, vni: "identity" }],
];

for (const [name, value, wanted] of CHANGES) {
  const what = `${name} ${value}`;
  rootTest(test, `${what} under 1 kHz pings: at most ${LOST_MAX} are lost`, async () => {
    await withPings(what, async () => {
      lab.admin("config", "set", name, value);
      await untilEach(`everybody sends by ${what}`, isSent(wanted));
    });
  });
}

rootTest(test, "what nobody sends any more is closed, and the MTU is the last form's", async () => {
  await untilEach("it is over", isOver(1450));
  for (const node of NODES) {
    const open = openPorts(node);
    assert.match(open, /:4789\b/);
    assert.not.match(open, /:8472\b|:6081\b/);
    assert.not.match(open, /:(4|41|47|ipip|ipencap|ipv6|gre)\s/, open);
  }
});

rootTest(test, "a peer behind a filter stays on the old way and says so", async () => {
  const { namespace } = lab.node("n5");
  // What n1 sends to n5 with the next network number: behind UDP's header and VXLAN's first word.
  const rules = [
    "add table inet shut",
    "add chain inet shut in { type filter hook input priority 0; }",
    `add rule inet shut in ip saddr ${lab.agent("n1").underlay.address} @th,96,24 7 drop`,
  ];
  runSync(namespace, ["nft", rules.join("; ")]);
  await withPings("filter", async () => {
    lab.admin("config", "set", "vni", "7");
    await untilEach("all others flip", isSent({ vni: 7 }), NODES.slice(1));
    await untilEach("n5 alone stays", staysAlone, ["n1"]);
  });
  await lab.untilReachable("n1", "n5");
});

/** Packets to n5 still go with the number before. */
function staysAlone({ peers, change }: AgentStatus): boolean {
  const said = "no answer by vxlan on port 4789 (vni 7), so packets still go by vxlan on port";
  return (
    change?.staying.join() === "n5" &&
    change.done === change.total - 1 &&
    peers.every(({ name, problem }) => (name === "n5") === (problem?.includes(said) ?? false))
  );
}

rootTest(test, "an agent that starts again goes on where it was, and flips later", async () => {
  process.kill(lab.agent("n1").pid, "SIGKILL");
  lab.up(...SHAPE);
  await lab.untilReachable("n1");
  const { change } = await lab.statusOf("n1");
  assert.equal([change?.vni, change?.done, change?.total], [7, 3, 4]);
  await withPings("filter gone", async () => {
    runSync(lab.node("n5").namespace, ["nft", "delete table inet shut"]);
    // Nobody else sends the number before any more: with this peer the change is over.
    await untilEach("n5 flips, too", isOver(1450));
  });
});

test.run();
