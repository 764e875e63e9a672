// meshd store report and accept, on a mesh whose store is taken away between down and up.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { LeaseView, StoreView } from "../../control/index.js";
import { until } from "../support/netns.js";
import { freePort } from "../support/ports.js";
import { meshd } from "./real.js";
import { makeWorld, type Outcome, type World } from "./world.js";

const test = suite<{ world: World }>("store");

test.before((given) => {
  given.world = makeWorld();
});
test.after(async ({ world }) => {
  await meshd(world, "down");
  world.remove();
});

async function good(world: World, ...words: string[]): Promise<Outcome> {
  const done = await meshd(world, ...words);
  assert.is(done.code, 0, `${words.join(" ")}: ${done.err}`);
  return done;
}

/** The controller writes down what it saw within a few seconds. */
async function untilKept(world: World, text: string): Promise<void> {
  const file = join(world.stateDir, "mesh", "remembered.json");
  const isKept = () => existsSync(file) && readFileSync(file, "utf8").includes(text);
  await until(`${text} is kept`, isKept, 15_000);
}

test("an empty store is filled again and reported; accept ends the hold-off", async ({ world }) => {
  await good(world, "up", "--listen", "127.0.0.1", "--port", `${await freePort()}`, "--no-systemd");
  assert.match((await good(world, "store", "report")).out, /^the store was never lost/);
  await good(world, "lease", "reserve", "10.244.9.0/24");
  await untilKept(world, "leases.10-244-9-0_24");
  await good(world, "down");
  rmSync(join(world.stateDir, "nats", "jetstream"), { recursive: true });
  await good(world, "up");
  const { incident, holdOff_s } = (await good(world, "store", "report", "--json"))
    .json as StoreView;
  assert.is(incident?.kind, "empty");
  assert.ok(holdOff_s > 0);
  const leases = (await good(world, "lease", "list", "--json")).json as LeaseView[];
  assert.equal(
    leases.map(({ cidr, state }) => [cidr, state]),
    [["10.244.9.0/24", "reserved"]],
  );
  const { out } = await good(world, "store", "report");
  assert.match(out, /^found empty .* ago \(.*\); \d records put back\n/);
  assert.match(out, /^leases +missing +controller +1$/m);
  const said = /^store +came back empty .*'meshd store report'$/m;
  await until("status says it", async () => said.test((await good(world, "status")).out));
  const refused = await meshd(world, "config", "set", "mtu", "1400");
  assert.match(refused.err, /'meshd store accept'/);
  await good(world, "store", "accept");
  await good(world, "config", "set", "mtu", "1400");
});

test.run();
