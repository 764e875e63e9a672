// What a whole run survives: a leg that does not come up, and folders that others left for it.
import { chownSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { sweepLeftovers } from "../../bench/network/lab.js";
import { innerMtu } from "../../bench/network/wire.js";
import { makeLeg } from "../../bench/support/legs.js";
import { parseRunOptions } from "../../bench/support/options.js";
import { Results } from "../../bench/support/results.js";
import { runLegs } from "../../bench/support/runner.js";
import { builtProtocols } from "../../control/index.js";
import { rootTest } from "../support/root.js";

/** No process has a number above PID_MAX_LIMIT, 2^22 (linux/threads.h). */
const NOBODYS_PID = 4_194_400;
const NOBODY = 65_534;

test("a wire's MTU less the headers of each encapsulation is what is waited for", () => {
  const sizes = builtProtocols.map((encap) => {
    return [encap, innerMtu({ mtu: 1500, offloads: true, crew: { encap } })];
  });
  const wanted = { vxlan: 1450, geneve: 1450, udp: 1472, ipip: 1480, gre: 1476, pptp: 1456 };
  assert.equal(Object.fromEntries(sizes), wanted);
  assert.is(innerMtu({ mtu: 9000, offloads: true, crew: {} }), 8950);
});

test("a file for results in no folder is refused before anything is measured", () => {
  const path = join(tmpdir(), `no-folder-${NOBODYS_PID}`, "results.json");
  assert.throws(() => parseRunOptions(["--json", path]), /there is no folder/);
});

rootTest(
  test,
  "a leg whose lab does not come up is a failure, and the next one is tried",
  async () => {
    const legs = ["no-such", "no-other"].map((encap) =>
      makeLeg({
        ...{ mtu: 1500, offloads: true, crew: { encap }, rounds: 1, seconds: 1 },
        ...{ carriers: ["raw"], measures: () => ["ping"] },
      }),
    );
    const results = new Results();
    await runLegs(legs, results);
    assert.equal(
      results.failures.map(({ leg, measure }) => [leg, measure]),
      legs.map(({ id }) => [id, "lab"]),
    );
    for (const [index, { reason }] of results.failures.entries()) {
      assert.match(reason, legs[index]?.crew.encap ?? "", "in meshd's own words");
    }
    assert.not.ok(existsSync(join(tmpdir(), `meshd-bench-${process.pid}`)));
  },
);

rootTest(test, "what another user left under a bench's name is not followed", () => {
  const [ours, theirs] = [0, 1].map((n) => join(tmpdir(), `meshd-bench-${NOBODYS_PID + n}`));
  try {
    for (const path of [ours, theirs]) mkdirSync(path as string, { mode: 0o700 });
    chownSync(theirs as string, NOBODY, NOBODY);
    sweepLeftovers();
    assert.equal([existsSync(ours as string), existsSync(theirs as string)], [false, true]);
  } finally {
    for (const path of [ours, theirs]) rmSync(path as string, { recursive: true, force: true });
  }
});

test.run();
