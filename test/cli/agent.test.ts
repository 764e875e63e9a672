// Commands that ask the agent: what they ask, what they print, and agents that misbehave.
import { chmodSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { dropNames, HOST_DROPS } from "../../src/telemetry/index.js";
import { rootTest } from "../support/root.js";
import { type FakeAgent, fakeAgent, makeWorld, Refused, STATUS, type World } from "./world.js";

interface Given {
  world: World;
  agent: FakeAgent;
}
const POD = {
  name: "web",
  netns: "web",
  ownsNetns: true,
  labels: { app: "shop" },
  addresses: ["10.244.0.2", "fd00::2"],
  hostDevice: "veth1",
  createdAt: "2026-01-01T00:00:00.000Z",
};
const DROPS = [
  { reason: "NO_ROUTE", direction: "egress", packets: 2, bytes: 168 },
  { reason: "MULTICAST", direction: "egress", packets: 5, bytes: 500 },
  { reason: "LOOP", direction: "ingress", packets: 0, bytes: 0 },
  {
    ...{ reason: "FOREIGN_IDENTITY", direction: "ingress", packets: 1, bytes: 92 },
    last: {
      ...{ age_ms: 3400, protocol: "vxlan", from: "192.0.2.2", peer: "n2", length: 92 },
      ...{ vni: null, identity: 300, source: "10.244.1.5", destination: "10.244.0.7" },
    },
  },
];
const FIB = [
  {
    prefix: "10.244.1.0/24",
    peer: "n2",
    way: "tunnel",
    nextHop: "192.0.2.2",
    protocol: "vxlan",
    port: 8472,
  },
  {
    prefix: "10.9.0.0/24",
    peer: "rack",
    way: "tunnel",
    nextHop: "192.0.2.9",
    protocol: "vxlan",
    port: 8472,
  },
];
const ANSWERS: Record<string, unknown> = {
  "GET /status": STATUS,
  "GET /drops": DROPS,
  "GET /fib": FIB,
  "GET /pods": [POD],
  "POST /pods": POD,
  "DELETE /pods/web": POD,
  "POST /leave": {},
};

const test = suite<Given>("commands of the agent");
test.before.each(async (given) => {
  given.world = makeWorld();
  const refused = new Refused(404, {
    error: { code: "MESHD_NOT_FOUND", message: "no such thing" },
  });
  given.agent = await fakeAgent(
    given.world.runDir,
    ({ method, path }) => ANSWERS[`${method} ${path}`] ?? refused,
  );
});
test.after.each(async ({ world, agent }) => {
  await agent.stop();
  world.remove();
});

test("status --json passes on every field of the agent, and the controller's state", async ({
  world,
}) => {
  const { code, json } = await world.run(["status", "--json"]);
  assert.is(code, 0);
  assert.equal(json, { ...STATUS, controller: null, control: null });
});

test("status shows node, mesh, NATS, routing, lease, peers, workers, packets and drops", async ({
  world,
}) => {
  const { out } = await world.run(["status", "--peers"]);
  const lines = [
    /^node +n1 \(active\), 10\.244\.0\.1$/m,
    /^mesh +mesh 0a1b$/m,
    /^nats +connected to 192\.0\.2\.1:4222 \(not encrypted\), view 120 ms old, revision 17$/m,
    /^routing +tunnel, vxlan on port 8472$/m,
    /^device +mesh0 mtu 1450$/m,
    /^steering +off: one CPU$/m,
    /^low latency +not available: no \/dev\/cpu_dma_latency$/m,
    /^offloads +without uso4, uso6$/m,
    /^lease +10\.244\.0\.0\/24, epoch 1$/m,
    /^pods +\d+, security identity 256$/m,
    /^n2 .* vxlan \(vni 6\) +tunnel +257/m,
    /^peers +1 of 2 reachable, slowest 0\.42 ms; unreachable: rack$/m,
    /^workers +1 \(running\), 1 restart$/m,
    /^received +20 packets \(2\.9 MiB\)$/m,
    /^drops +3; 'meshd drops' says why$/m,
    /^refused +peers\.bad: no MAC$/m,
    /^warning +a firewall drops UDP 8472$/m,
    /^n2 +member +192\.0\.2\.2:8472 +10\.244\.1\.0\/24 +reachable +0\.42 ms +900 ms ago +1230 +vx/m,
    / 1230 +vxlan \(vni 6\) +tunnel/m,
    /^change +geneve on port 6081: 0 of 1 peer; no answer: n2; still received: vxlan on port/m,
    /^peer +n2: the path loses packets larger than 1230 bytes \(of 1450\)$/m,
  ];
  for (const line of lines) assert.match(out, line);
});

test("pod add sends name, namespace and labels; JSON has the stable names", async ({
  world,
  agent,
}) => {
  const words = ["pod", "add", "web", "--netns", "web", "--label", "app=shop", "--label", "t=a=b"];
  const { json } = await world.run([...words, "--json"]);
  assert.equal(agent.questions.at(-1), {
    method: "POST",
    path: "/pods",
    body: { name: "web", netns: "web", labels: { app: "shop", t: "a=b" } },
  });
  assert.equal(json, {
    name: "web",
    namespace: "web",
    netns: "web",
    addresses: POD.addresses,
    labels: POD.labels,
    hostDevice: "veth1",
    createdAt: POD.createdAt,
  });
});

test("pod list is a list with the same names, and a table", async ({ world }) => {
  const { json } = await world.run(["pod", "list", "--json"]);
  const [pod] = json as Record<string, unknown>[];
  const names = ["name", "namespace", "netns", "addresses", "labels", "hostDevice", "createdAt"];
  assert.equal(Object.keys(pod ?? {}), names);
  assert.match((await world.run(["pod", "list"])).out, /^web +10\.244\.0\.2,fd00::2 +web +veth1/m);
});

test("pod remove names the pod in the path; a refusal of the agent is the error's line", async ({
  world,
  agent,
}) => {
  assert.is((await world.run(["pod", "remove", "web"])).code, 0);
  assert.equal(agent.questions.at(-1)?.path, "/pods/web");
  const { code, err } = await world.run(["pod", "remove", "other"]);
  assert.is(code, 1);
  assert.is(err, "meshd: no such thing\n");
});

test("drops shows what occurred, the most frequent first, with a sentence each", async ({
  world,
}) => {
  const { json } = await world.run(["drops", "--json"]);
  const rows = json as { reason: string; meaning: string }[];
  assert.equal(
    rows.map((row) => row.reason),
    ["MULTICAST", "NO_ROUTE", "FOREIGN_IDENTITY"],
  );
  assert.match(rows[1]?.meaning ?? "", /No node and no static peer/);
  const { out } = await world.run(["drops"]);
  assert.match(out, /^NO_ROUTE {2}egress {2}2 packets {2}168 bytes$/m);
  const last = "last 3 s ago: 92 bytes of vxlan, from n2 (192.0.2.2), identity 300, ";
  assert.ok(out.includes(`    ${last}10.244.1.5 -> 10.244.0.7\n`), out);
  const all = (await world.run(["drops", "--all", "--json"])).json as unknown[];
  assert.is(all.length, 2 * dropNames.length + HOST_DROPS.length);
});

test("route list without admin credentials is what the workers use, in the same shape", async ({
  world,
}) => {
  const { json } = await world.run(["route", "list", "--json"]);
  assert.equal(json, [
    {
      prefix: "10.244.1.0/24",
      via: "node",
      name: "n2",
      nodeId: "UPEER",
      underlay: "192.0.2.2",
      port: 8472,
      protocol: "vxlan",
      state: "reachable",
    },
    {
      prefix: "10.9.0.0/24",
      via: "peer",
      name: "rack",
      nodeId: null,
      underlay: "192.0.2.9",
      port: 8472,
      protocol: "vxlan",
      state: "unreachable",
    },
  ]);
});

test("leave asks the agent, with force only when said", async ({ world, agent }) => {
  assert.is((await world.run(["leave"])).code, 0);
  assert.equal(agent.questions.at(-1)?.body, { force: false });
  assert.equal((await world.run(["leave", "--force", "--json"])).json, { left: true });
  assert.equal(agent.questions.at(-1)?.body, { force: true });
});

test("terminal control bytes in answers do not reach the terminal", async ({ world, agent }) => {
  await agent.stop();
  const evil = await fakeAgent(world.runDir, () => [{ ...POD, netns: "a\u001b]0;x\u0007" }]);
  const { out } = await world.run(["pod", "list"]);
  await evil.stop();
  assert.is(out.replace(/\n/g, "").match(/\p{Cc}/u), null);
});

test("an agent that answers nonsense is an error of one line", async ({ world, agent }) => {
  await agent.stop();
  const cases: [unknown, RegExp][] = [
    [new Refused(200, "<html>"), /no JSON/],
    [new Refused(500, "{}"), /the agent answered 500/],
    [new Refused(500, '{"error":{"code":7}}'), /the agent answered 500/],
  ];
  for (const [answer, message] of cases) {
    const odd = await fakeAgent(world.runDir, () => answer);
    const { code, err } = await world.run(["status"]);
    await odd.stop();
    assert.is(code, 1);
    assert.match(err, message, `${err} ${message}`);
  }
});

test("a socket that hangs up, one of a dead agent and a path too long say what is wrong", async ({
  world,
  agent,
}) => {
  await agent.stop();
  const socket = join(world.runDir, "agent.sock");
  const rude = createServer((connection) => connection.destroy());
  await new Promise<void>((resolve) => rude.listen(socket, resolve));
  assert.match((await world.run(["status"])).err, /the agent at .* broke off/);
  await new Promise((resolve) => rude.close(resolve));
  writeFileSync(socket, "");
  assert.match((await world.run(["status"])).err, /no agent runs here .* 'meshd join'/);
  const long = await world.run(["status", "--run-dir", `/${"x".repeat(120)}`]);
  assert.match(long.err, /use a shorter --run-dir/);
});

test("status says from when the view on disk is, and that a removed node has no lease", async ({
  world,
  agent,
}) => {
  await agent.stop();
  const nats = {
    ...{ ...STATUS.nats, connected: false, url: null, viewAge_ms: 1_560_000, viewFrom: "disk" },
    ...{ viewAt: "2026-11-22T14:03:11.123Z", error: "no server answers" },
  };
  const node = { ...STATUS.node, state: "removed", addresses: [] };
  const lease = { podCIDRs: [], epoch: 1 };
  const one = await fakeAgent(world.runDir, () => ({ ...STATUS, nats, node, lease }));
  const { out } = await world.run(["status"]);
  await one.stop();
  assert.match(
    out,
    /^nats +not connected, view of 2026-11-22T14:03:11Z \(26 min old\), from disk, /m,
  );
  assert.match(out, /^node +n1 \(removed\)$/m);
  assert.match(out, /^lease +none$/m);
});

test("status says what becomes of a flood from strangers over raw sockets", async ({
  world,
  agent,
}) => {
  await agent.stop();
  const lineOf = async (more: object) => {
    const raw = { ipProtocols: [4, 41], kernel: [], table: null, ...more };
    const one = await fakeAgent(world.runDir, () => ({ ...STATUS, raw }));
    const { out } = await world.run(["status"]);
    await one.stop();
    return /^raw +(.*)$/m.exec(out)?.[1];
  };
  const open = "sockets for IP protocol 4, 41";
  assert.is(await lineOf({}), open, "an agent that does not say it");
  assert.is(await lineOf({ strangers: { active: false, sample: 256, reason: "" } }), open);
  assert.is(
    await lineOf({ strangers: { active: true, sample: 256, reason: "" } }),
    `${open}; a flood from strangers: dropped by socket filters, 1 in 256 counted`,
  );
  const reason = "5000 peers fit no socket filter: E2BIG";
  assert.is(
    await lineOf({ strangers: { active: false, sample: 256, reason } }),
    `${open}; a flood from strangers: ${reason}`,
  );
});

rootTest(test, "who is not root is told to be it", async ({ world, agent }) => {
  // All modules are loaded while they can be read.
  assert.is((await world.run(["status"])).code, 0);
  chmodSync(join(world.runDir, "agent.sock"), 0o600);
  const asNobody = async (mode: number): Promise<string> => {
    for (const path of [world.dir, world.runDir]) chmodSync(path, mode);
    process.seteuid?.(65534);
    try {
      const { code, json } = await world.run(["status", "--json"]);
      assert.is(code, 1);
      const { error } = json as { error: { code: string; message: string } };
      return `${error.code}: ${error.message}`;
    } finally {
      process.seteuid?.(0);
    }
  };
  assert.match(await asNobody(0o700), /^MESHD_PERMISSION: .*; try again as root$/);
  assert.match(await asNobody(0o755), /^MESHD_PERMISSION: .*agent\.sock is for root alone; try/);
  await agent.stop();
  assert.match(await asNobody(0o755), /^MESHD_AGENT_DOWN: .* 'meshd join' as root$/);
});

test.run();
