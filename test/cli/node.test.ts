// The whole life of one host through bin/meshd, in its own namespace: up, token, join, status,
// pods, an agent that is killed, settings that change live, leave; and nothing is left behind.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { runningPid } from "../../src/cli/service/process-files.js";
import {
  adoptNamespace,
  createNamespace,
  inNamespace,
  joinByVeth,
  pings,
  runSync,
  uniqueName,
  until,
} from "../support/netns.js";
import { isRoot, rootTest } from "../support/root.js";
import { makeWorld, type STATUS, type World } from "./world.js";

type Status = typeof STATUS;

interface Given {
  world: World;
  host: string;
  pod: string;
  first: Status;
}

const UNDERLAY = "192.0.2.10";

const test = suite<Given>("a host's life");

function meshd(given: Given, words: string[], input?: string) {
  const where = ["--state-dir", given.world.stateDir, "--run-dir", given.world.runDir];
  const argv = inNamespace(given.host, [process.execPath, "bin/meshd", ...words, ...where]);
  const [file = "", ...rest] = argv;
  const options = { encoding: "utf8" as const, ...(input === undefined ? {} : { input }) };
  const { status, stdout, stderr } = spawnSync(file, rest, options);
  return { code: status, out: stdout, err: stderr };
}

function ask<T>(given: Given, words: string[], input?: string): T {
  const { code, out, err } = meshd(given, [...words, "--json"], input);
  assert.is(code, 0, `${words.join(" ")}: ${err}`);
  return JSON.parse(out) as T;
}

if (isRoot) {
  test.before((given) => {
    given.world = makeWorld();
    given.host = createNamespace("cli");
    given.pod = uniqueName("pod");
    adoptNamespace(given.pod);
    const wire = createNamespace("wire");
    const left = { namespace: given.host, device: "eth0", addresses: [`${UNDERLAY}/24`] };
    joinByVeth(left, { namespace: wire, device: "far" });
    ask(given, ["up", "--listen", UNDERLAY, "--clusterPoolIPv6PodCIDR", "fd00:10:244::/48"]);
    const { out: token } = meshd(given, ["token", "create"]);
    given.first = ask<Status>(given, ["join", "-", "--name", "solo"], token);
  });
  test.after((given) => {
    meshd(given, ["down", "--all"]);
    given.world.remove();
  });
}

rootTest(
  test,
  "join with a token from standard input makes the host a node that is ready",
  (given) => {
    const { first } = given;
    assert.is(first.ready, true);
    assert.equal([first.node.name, first.underlay.address], ["solo", UNDERLAY]);
    assert.equal(first.lease.podCIDRs, ["10.244.0.0/24", "fd00:10:244::/64"]);
    assert.is(runningPid(given.world, "agent"), first.pid);
    const [node] = ask<{ name: string; online: boolean }[]>(given, ["node", "list"]);
    assert.equal([node?.name, node?.online], ["solo", true]);
    assert.match(meshd(given, ["status"]).out, /^controller +process \d+/m);
  },
);

rootTest(test, "who joined with which token is shown on both sides; a rename by name", (given) => {
  const [token] = ask<{ tokenId: string }[]>(given, ["token", "list"]);
  const id = token?.tokenId ?? "";
  assert.match(id, /^[0-9a-f]{32}$/);
  assert.match(
    meshd(given, ["token", "list"]).out,
    new RegExp(`^${id} +used +1 of 1 .* solo +-$`, "m"),
  );
  assert.match(meshd(given, ["node", "show", "solo"]).out, new RegExp(`^token +${id}$`, "m"));
  assert.is(meshd(given, ["node", "rename", "solo", "web"]).out, "node solo is called web now\n");
  meshd(given, ["node", "rename", "web", "solo"]);
});

rootTest(test, "no process of the node has the token among its words", (given) => {
  const words = readFileSync(`/proc/${given.first.pid}/cmdline`, "utf8").split("\0");
  assert.not.ok(words.some((word) => word.startsWith("meshd1.")));
  assert.not.ok(existsSync(join(given.world.stateDir, "pending-token")));
});

rootTest(test, "a pod answers the host, and is listed with its namespace", (given) => {
  const words = ["pod", "add", "web", "--netns", given.pod, "--label", "app=shop"];
  const pod = ask<{ addresses: string[]; namespace: string }>(given, words);
  assert.is(pod.namespace, given.pod);
  for (const address of pod.addresses) assert.ok(pings(given.host, address), address);
  assert.equal(ask(given, ["pod", "list"]), [pod]);
  assert.is(meshd(given, ["pod", "add", "web"]).code, 1);
});

rootTest(
  test,
  "an agent that was killed is started again with the same PodCIDR and its pods",
  (given) => {
    process.kill(given.first.pid, "SIGKILL");
    const again = ask<Status>(given, ["join"]);
    assert.not.equal(again.pid, given.first.pid);
    assert.equal(again.lease, given.first.lease);
    assert.equal([again.node.name, again.pods], ["solo", 1]);
    const [pod] = ask<{ addresses: string[] }[]>(given, ["pod", "list"]);
    assert.ok(pings(given.host, pod?.addresses[0] ?? ""));
  },
);

rootTest(
  test,
  "down --agent and join again are the same node; join while it runs changes nothing",
  (given) => {
    assert.equal(ask(given, ["down", "--agent"]), { stopped: ["agent"] });
    assert.is(meshd(given, ["status"]).out.split("\n")[0], "agent       none");
    const again = ask<Status>(given, ["join"]);
    assert.equal(again.lease, given.first.lease);
    assert.is(ask<Status>(given, ["join"]).pid, again.pid);
  },
);

rootTest(test, "a setting changed by config set reaches the running agent", async (given) => {
  const before = ask<Status>(given, ["status"]);
  ask(given, ["config", "set", "mtu", "1333"]);
  await until("the agent has the new MTU", () => ask<Status>(given, ["status"]).mtu === 1333);
  assert.is(ask<Status>(given, ["status"]).pid, before.pid);
  const refused = meshd(given, ["config", "set", "workers", "2"]);
  assert.is(refused.code, 1);
  assert.match(refused.err, /nothing was changed/);
});

rootTest(test, "a drained node takes no new pods until that is undone", async (given) => {
  ask(given, ["node", "drain", "solo"]);
  await until("it drains", () => ask<Status>(given, ["status"]).node.state === "draining");
  assert.match(meshd(given, ["pod", "add", "late"]).err, /draining/);
  ask(given, ["node", "drain", "solo", "--undo"]);
  await until("it is active", () => ask<Status>(given, ["status"]).node.state === "active");
});

rootTest(test, "leave refuses while pods exist, and with force takes everything out", (given) => {
  assert.match(meshd(given, ["leave"]).err, /--force/);
  assert.equal(ask(given, ["leave", "--force"]), { left: true });
  const links = runSync(given.host, ["ip", "-o", "link"]);
  assert.not.match(links, /mesh0|mp[0-9a-f]+/);
  assert.not.match(runSync(given.host, ["ip", "route"]), /10\.244\./);
  assert.is(runningPid(given.world, "agent"), undefined);
  const kept = readdirSync(given.world.stateDir);
  for (const file of ["membership.json", "settings.json", "pods.json"]) {
    assert.not.ok(kept.includes(file), file);
  }
  assert.match(meshd(given, ["join"]).err, /no node of a mesh/);
  const leases = ask<{ state: string }[]>(given, ["lease", "list"]);
  assert.equal([...new Set(leases.map((lease) => lease.state))], ["quarantined"]);
  assert.match(meshd(given, ["lease", "list"]).out, /^10\.244\.0\.0\/24 +quarantined .* in \d+ /m);
  assert.match(meshd(given, ["token", "list"]).out, / 1 gone +-$/m);
});

test.run();
