// A listing that lacks records: of a store that is older, or of a replica that lags.
import { EventEmitter } from "node:events";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Core } from "../../control/controller/core.js";
import { Losses } from "../../control/controller/losses.js";
import { Mending } from "../../control/controller/mending.js";
import type { Mesh } from "../../control/founding/index.js";
import type { View } from "../../control/member/index.js";
import { makeDirectory } from "../support/ends.js";
import { until } from "../support/wait.js";

const KEY = "leases.10-244-0-0_24";

/** A controller that begins, and whose first listing lacks a lease that it remembers. */
function begun(fault: () => Promise<"missing" | null>) {
  const mended: string[] = [];
  const losses = new Losses({ dir: makeDirectory("mending") } as Mesh, 60_000, () => undefined);
  const mend = async (key: string) => {
    mended.push(key);
    return fault();
  };
  const core = { store: { mend, fault }, losses, log: () => undefined };
  const view = Object.assign(new EventEmitter(), { refusedKeys: () => [KEY], isListing: false });
  new Mending(core as unknown as Core, [view as unknown as View]);
  view.emit("listed");
  return { losses, mended };
}

test("a listing of a replica that lags is no lost store: the leader says so", async () => {
  let tell: (fault: null) => void = () => undefined;
  const told = new Promise<null>((resolve) => {
    tell = resolve;
  });
  const { losses, mended } = begun(() => told);
  assert.ok(losses.holdOff_ms > 0, "nothing new is given until that is known");
  tell(null);
  await until("it looked at the key", () => mended.length === 1);
  assert.is(losses.incident, null);
  assert.is(losses.holdOff_ms, 0);
  await losses.close();
});

test("a store that is older by its leader's word is told, and nothing new is given", async () => {
  const { losses, mended } = begun(async () => "missing");
  await until("it is put back", () => mended.length === 1);
  await until("it is told", () => losses.incident?.counts.length === 1);
  assert.equal([losses.incident?.kind, losses.incident?.counts[0]?.records], ["older", 1]);
  assert.ok(losses.holdOff_ms > 0);
  await losses.close();
});

test("a store that does not answer is taken for an older one by a new controller", async () => {
  const { losses, mended } = begun(() => Promise.reject(new Error("no answer")));
  await until("it tried", () => mended.length === 1);
  assert.is(losses.incident?.kind, "older");
  assert.ok(losses.holdOff_ms > 0);
  await losses.close();
});

test.run();
