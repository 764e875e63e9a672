// meshd mtu explain: every term is on a line, and the lines add up.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type FakeAgent, fakeAgent, makeWorld, Refused, type World } from "./world.js";

const EXPLANATION = {
  peer: "n2",
  nodeId: "UPEER",
  kind: "member",
  protocol: "vxlan",
  ways: { ipv4: "tunnel", ipv6: "tunnel" },
  underlay: { interface: "eth0", mtu: 1500, address: "192.0.2.1", peer: "192.0.2.2", family: 4 },
  terms: [
    { what: "eth0, underlay interface of 192.0.2.1", bytes: 1500 },
    { what: "outer IPv4 header", bytes: -20 },
    { what: "outer UDP header", bytes: -8 },
    { what: "vxlan header", bytes: -8 },
    { what: "inner Ethernet header", bytes: -14 },
  ],
  fits: 1450,
  setting: "auto",
  device: { name: "mesh0", mtu: 1450 },
  peerSays: 1440,
  path: {
    mtu: 1230,
    state: "complete",
    proven_ms: 300,
    changed_ms: 60_000,
    searched: { least: 526, base: 1230, most: 1440 },
    isRoundTrip: false,
    back: 1440,
  },
  mtu: 1230,
  mss: { ipv4: 1190, ipv6: 1170 },
  fragments: true,
  problem: "the path loses packets larger than 1230 bytes (of 1440)",
};

const mtu = suite<{ world: World; agent: FakeAgent }>("meshd mtu");
mtu.before.each(async (context) => {
  context.world = makeWorld();
  context.agent = await fakeAgent(context.world.runDir, ({ path }) => {
    if (path === "/mtu/n2") return EXPLANATION;
    const error = { code: "MESHD_NOT_FOUND", message: 'this node has no peer "no/one"; it has n2' };
    return new Refused(404, { error });
  });
});
mtu.after.each(async ({ world, agent }) => {
  await agent.stop();
  world.remove();
});

mtu("explains every term of the sum", async ({ world }) => {
  const { code, out } = await world.run(["mtu", "explain", "n2"]);
  assert.is(code, 0);
  const lines = [
    /^n2 \(member\) at 192\.0\.2\.2, vxlan over IPv4$/m,
    /^ +1500 +eth0, underlay interface of 192\.0\.2\.1$/m,
    /^ +- +20 +outer IPv4 header$/m,
    /^ +- +14 +inner Ethernet header$/m,
    /^ += +1450 +what our interface leaves for inner packets$/m,
    /^ +1440 +n2 says of its own side$/m,
    /^ +1230 +the path: proven by probes, 300 ms ago; changed .* ago \(base 1230\)$/m,
    /^ += +1230 +inner packets to n2, at most$/m,
    /^mss +1190 \(IPv4\), 1170 \(IPv6\)/m,
    /^fragments +IPv6 up to 1280 bytes/m,
    /^way back +n2 sends at most 1440 to us$/m,
    /^problem +the path loses/m,
  ];
  for (const line of lines) assert.match(out, line);
});

mtu("passes the agent's answer on as JSON", async ({ world }) => {
  const { json } = await world.run(["mtu", "explain", "n2", "--json"]);
  assert.equal(json, EXPLANATION);
});

mtu("fails for a peer that is not there, and needs a peer", async ({ world, agent }) => {
  const { code, err } = await world.run(["mtu", "explain", "no/one"]);
  assert.is(code, 1);
  assert.match(err, /it has n2/);
  assert.is(agent.questions[0]?.path, "/mtu/no%2Fone");
  assert.is((await world.run(["mtu", "explain"])).code, 2);
});

mtu.run();
