// A lab of one nats-server that grows to three while packets flow, and then loses hosts of its
// control plane: no lease is lost, none is given twice, no packet is lost.
import { copyFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type {
  ClusterStatus,
  LeaseFinding,
  LeaseView,
  Membership,
  NodeView,
} from "../../control/index.js";
import type { ControlHere } from "../../src/cli/control-here.js";
import type { ClusterView } from "../../src/cli/up/cluster.js";
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

const holders = (index = 0) =>
  lab
    .ask<LeaseView[]>(control(index), ["lease", "list"])
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

/** Hosts of servers that are missing, and whether there is anything amiss. */
function clusterAt(index: number): { missing: (string | null)[]; problems: string[] } {
  const { servers, problems } = lab.ask<ClusterStatus>(control(index), ["cluster", "status"]);
  return { missing: servers.filter((one) => one.state === "missing").map(hostOf), problems };
}
const hostOf = ({ host }: ClusterStatus["servers"][number]) => host;

rootTest(
  test,
  "a host that is lost for good is replaced: three copies again, and no packet lost",
  async () => {
    const [first = ""] = urls.map((url) => url.replace(/:.*/, ""));
    const before = holders(1);
    const ping = new LongPing(lab.podSpace("n1", "p1"), lab.address("n2", "p1", 4), 0.05);
    const lost = control(0);
    for (const dir of [lost.stateDir, lost.runDir]) rmSync(dir, { recursive: true, force: true });
    assert.equal(clusterAt(2).missing, [first]);
    assert.match(clusterAt(2).problems.join(), /192\.168\.77\.253 does not answer/);
    const said = lab.ask<{ control: ControlHere }>(control(1), ["status"]).control;
    assert.equal([said.controller, said.natsServer, said.missing], [true, true, [first]]);

    const all = urls.map((url) => url.replace(/:.*/, "")).join();
    const { cluster } = lab.ask<{ cluster: ClusterView }>(control(1), ["up", "--cluster", all]);
    const [bundle = "", ...more] = cluster.bundles;
    assert.equal(more, [], "those that are there need none");
    const copy = join(lab.folder, "copy.bundle");
    copyFileSync(bundle, copy);
    lab.ask(lost, ["up", "--cluster-join", copy, "--listen", first]);
    assert.not.ok(existsSync(copy));
    await until("all is well", () => clusterAt(2).problems.length === 0, 60_000);
    const { buckets } = lab.ask<ClusterStatus>(lost, ["cluster", "status"]);
    assert.equal(
      buckets.map(({ wanted, current }) => [wanted, current]),
      [
        [3, 3],
        [3, 3],
      ],
    );
    await until("the bundle with its keys is gone", () => !existsSync(bundle));

    const { pid, natsPid } = controllerAt(1);
    for (const one of [pid, natsPid]) process.kill(one, "SIGKILL");
    lab.ask(lost, ["token", "create"]);
    assert.equal(holders(0), before);
    assert.equal(lab.ask<LeaseFinding[]>(lost, ["lease", "audit"]), []);
    await ping.answers(5);
    assert.equal(await ping.end(), []);
    assert.ok(ping.answered().length > 50, `${ping.answered().length} were answered`);
  },
);

test.run();
