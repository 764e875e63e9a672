// A lab of one nats-server that grows to three while packets flow, and then loses hosts of its
// control plane: no lease is lost, none is given twice, no packet is lost.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { LeaseFinding, LeaseView, Membership, NodeView } from "../../control/index.js";
import { until } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { LongPing } from "./long-ping.js";
import { MeshLab, type Place } from "./mesh-lab.js";

const test = suite("cluster");
const lab = new MeshLab("cl");
const hosts = ["ctl", "ctl2", "ctl3"];
const urls = [253, 252, 251].map((host) => `192.168.77.${host}:4222`);

/** Control hosts by number: 0, 1, 2. */
function control(index: number): Place {
  const place = { ...lab.control, namespace: `${lab.name}-${hosts[index]}` };
  if (index === 0) return place;
  const further = (dir: string) => dir.replace(/control$/, `control${index + 1}`);
  return { ...place, stateDir: further(place.stateDir), runDir: further(place.runDir) };
}

function controllerAt(index: number): { pid: number; natsPid: number } {
  const file = join(control(index).runDir, "controller.json");
  return JSON.parse(readFileSync(file, "utf8")) as { pid: number; natsPid: number };
}

const holders = () =>
  lab
    .admin<LeaseView[]>("lease", "list")
    .map(({ cidr, nodeId, epoch, state }) => ({ cidr, nodeId, epoch, state }));

/** Servers that a node knows after a restart, as host:port. */
function knownTo(node: string): string[] {
  const file = join(lab.node(node).stateDir, "membership.json");
  const { servers } = JSON.parse(readFileSync(file, "utf8")) as Membership;
  return servers.map((url) => url.replace(/^[a-z]+:\/\//, ""));
}

test.after(() => lab.remove());

rootTest(test, "one server grows to three: same leases, no lost packet, all know all", async () => {
  lab.up("--nodes", "2", "--pods", "1");
  const token = lab.token("--uses", "2");
  const before = holders();
  const ping = new LongPing(lab.podSpace("n1", "p1"), lab.address("n2", "p1", 4), 0.05);
  lab.up("--servers", "3");
  assert.equal(holders(), before);
  for (const node of ["n1", "n2"]) {
    await until(
      `${node} knows all servers`,
      () => knownTo(node).sort().join() === [...urls].sort().join(),
    );
    await lab.untilAgent(node, "it is connected", ({ nats }) => nats.connected, 30_000);
  }
  // What is under way at its end is not counted: these come after all that is to be counted.
  await ping.answers(5);
  assert.equal(await ping.end(), []);
  assert.ok(ping.answered().length > 50, `${ping.answered().length} were answered`);
  assert.equal(
    lab.status().controls.map(({ namespace }) => namespace),
    hosts.map((host) => `${lab.name}-${host}`),
  );
  assert.equal(lab.admin<LeaseFinding[]>("lease", "audit"), []);
  const guest = lab.addGuest("old-token");
  const argv = ["join", token, "--name", "g1", "--underlayAddress", guest.address];
  const joined = lab.ask<{ lease: { podCIDRs: string[] } }>(guest.place, argv);
  assert.not(before.some(({ cidr }) => joined.lease.podCIDRs.includes(cidr)));
  lab.ask(guest.place, ["leave"]);
});

rootTest(
  test,
  "a controller that hangs holds up no request for longer than it takes to ask another",
  () => {
    const { pid } = controllerAt(2);
    process.kill(pid, "SIGSTOP");
    try {
      for (let round = 0; round < 6; round++) {
        assert.is(lab.admin<NodeView[]>("node", "list").length, 2);
      }
    } finally {
      process.kill(pid, "SIGCONT");
    }
  },
);

rootTest(
  test,
  "the first host is lost: joins go on, and an agent starts again without it",
  async () => {
    const { pid, natsPid } = controllerAt(0);
    process.kill(pid, "SIGKILL");
    process.kill(natsPid, "SIGKILL");
    const token = lab.ask<{ token: string }>(control(1), ["token", "create"]).token;
    const guest = lab.addGuest("late");
    const argv = ["join", token, "--name", "g2", "--underlayAddress", guest.address];
    lab.ask(guest.place, argv);
    lab.ask("n1", ["down", "--agent"]);
    lab.ask("n1", ["join"]);
    await lab.untilAgent("n1", "it found another server", ({ nats }) => nats.connected, 30_000);
    assert.not.match(lab.agent("n1").nats.url ?? "", urls[0] ?? "");
    const { warnings } = lab.ask<{ warnings: string[] }>(control(1), ["up"]);
    assert.match(warnings.join(), /the cluster lacks 192\.168\.77\.253/);
    assert.equal(lab.ask<LeaseFinding[]>(control(2), ["lease", "audit"]), []);
    lab.ask(guest.place, ["leave"]);
  },
);

test.run();
