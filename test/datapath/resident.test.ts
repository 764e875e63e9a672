// When pages are given back, and that it ends.
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { releaseRegularly } from "../../src/datapath/resident.js";
import { until } from "../support/netns.js";

test("pages are given back some times after the start, then again and again", async () => {
  let times = 0;
  const end = releaseRegularly({ release: () => times++, first_ms: [1, 2], every_ms: 3 });
  // The timers do not keep the process alive: the polling does.
  await until("it was done ten times", () => times >= 10);
  end();
});

test("ended, it is not done any more", async () => {
  let times = 0;
  const end = releaseRegularly({ release: () => times++, first_ms: [5], every_ms: 5 });
  end();
  await sleep(30);
  assert.is(times, 0);
});

test.run();
