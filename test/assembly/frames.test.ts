// The kept frames: each does in the hot path what it did when it was kept. MESHD_FUZZ_KEEP=1 looks
// for frames with outcomes that none has yet, and keeps them.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FrameTrial, type KeptFrame, keepFrames, keptFrames } from "../support/frame-corpus.js";
import { FuzzFeeder } from "../support/fuzz-feeder.js";
import { seededRandom } from "../support/random.js";

const ENCAPSULATIONS = ["vxlan", "geneve", "ipip", "gre", "udp"] as const;
const TRIED = 150_000;
/** Trains whose packets end in many ways say no more than their packets one by one. */
const COUNTED_MAX = 2;
/** Short frames say as much as long ones. */
const BYTES_MAX = 400;

async function outcomeAlone(frame: KeptFrame): Promise<string> {
  const trial = await FrameTrial.fresh();
  trial.feed(frame);
  return trial.outcome();
}

/** Frames with a new outcome that they also have in a hot path that saw nothing before. */
async function look(frames: KeptFrame[]): Promise<void> {
  for (const encapsulation of ENCAPSULATIONS) {
    const random = seededRandom(`frames of ${encapsulation}`);
    const [trial, feeder] = [await FrameTrial.fresh(), new FuzzFeeder(random, encapsulation)];
    const placeOf = ({ side, outcome }: Pick<KeptFrame, "side" | "outcome">) =>
      `${side} ${outcome}`;
    const own = frames.filter((one) => one.encapsulation === encapsulation);
    const seen = new Set(own.map(placeOf));
    for (let tried = 0; tried < TRIED; tried++) {
      if (random.once(2)) feeder.spoilTun(trial);
      else feeder.spoilWire(trial);
      const { last } = trial;
      const outcome = trial.outcome();
      if (last === null || last.bytes.length > 2 * BYTES_MAX) continue;
      if (outcome.split(", ").length > COUNTED_MAX) continue;
      const frame = { encapsulation, outcome, ...last };
      if (seen.has(placeOf(frame)) || (await outcomeAlone(frame)) !== outcome) continue;
      seen.add(placeOf(frame));
      frames.push(frame);
    }
  }
}

const frames = keptFrames();
if (process.env.MESHD_FUZZ_KEEP === "1") {
  await look(frames);
  keepFrames(frames);
}

for (const encapsulation of ENCAPSULATIONS) {
  test(`the kept frames of ${encapsulation} are counted as they were`, async () => {
    const own = frames.filter((one) => one.encapsulation === encapsulation);
    assert.ok(own.length > 20, `${own.length} are kept`);
    for (const frame of own) {
      assert.is(await outcomeAlone(frame), frame.outcome, JSON.stringify(frame));
    }
  });
}

test.run();
