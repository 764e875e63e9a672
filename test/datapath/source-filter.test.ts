// When filters of raw sockets keep strangers out: in a flood, never a peer, and how it ends.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CALM_LOOKS, FLOOD_RATE, SAMPLE, SourceFilter } from "../../src/datapath/source-filter.js";

interface Attached {
  fd: number;
  share?: { index: number; count: number };
  /** Addresses in dots; undefined: everything passes. */
  sources: string[] | undefined;
}

class Scene {
  now_ms = 0;
  strangers = 0;
  fds = [7, 8];
  attached: Attached[] = [];
  refuse = false;
  readonly filter = new SourceFilter({
    readers: () =>
      this.fds.map((fd, index) => ({ fd, protocol: 4, share: { index, count: this.fds.length } })),
    family: () => 4,
    strangers: () => this.strangers,
    log: () => undefined,
    attach: (fd, { share, sources }) => {
      if (this.refuse && sources !== undefined) throw new Error("too long");
      const texts = sources === undefined ? undefined : inDots(sources);
      this.attached.push({ fd, sources: texts, ...(share === undefined ? {} : { share }) });
    },
    now: () => this.now_ms,
  });

  /** A second in which so many packets of strangers are counted. */
  second(counted: number): Attached[] {
    this.now_ms += 1000;
    this.strangers += counted;
    this.attached = [];
    this.filter.look();
    return this.attached;
  }

  /** As the datapath does with new tables. */
  publish(...addresses: string[]): Attached[] {
    this.attached = [];
    this.filter.widen(addresses);
    this.filter.setPeers(addresses);
    return this.attached;
  }
}

function inDots(sources: Uint8Array): string[] {
  const all = Array.from({ length: sources.length / 4 }, (_, i) =>
    sources.subarray(4 * i, 4 * i + 4),
  );
  return all.map((bytes) => bytes.join("."));
}

const [ONE, TWO, SIX] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];

test("filters come with a flood, on every socket with its share, and go when it is over", () => {
  const scene = new Scene();
  scene.publish(ONE, SIX);
  assert.equal(scene.second(0), []);
  assert.equal(scene.second(FLOOD_RATE - 1), [], "the hot path counts them all");
  assert.equal(scene.second(FLOOD_RATE), [
    { fd: 7, sources: [ONE], share: { index: 0, count: 2 } },
    { fd: 8, sources: [ONE], share: { index: 1, count: 2 } },
  ]);
  assert.equal(scene.filter.status(), { active: true, sample: SAMPLE, reason: "" });
  assert.equal(scene.second(FLOOD_RATE / SAMPLE), [], "it goes on: of what passes that is a flood");
  for (let calm = 0; calm < CALM_LOOKS; calm += 1) assert.equal(scene.second(0), []);
  assert.equal(
    scene.second(0).map(({ sources }) => sources),
    [undefined, undefined],
  );
  assert.is(scene.filter.status().active, false);
  assert.equal(scene.second(1), [], "one in one again");
});

test("a new peer passes before its tables are published; one that is gone a look later", () => {
  const scene = new Scene();
  scene.publish(ONE);
  scene.second(0);
  scene.second(FLOOD_RATE);
  assert.equal(
    scene.publish(TWO).map(({ sources }) => sources),
    [
      [ONE, TWO],
      [ONE, TWO],
    ],
  );
  assert.equal(
    scene.second(99).map(({ sources }) => sources),
    [[TWO], [TWO]],
  );
  assert.equal(scene.publish(TWO), [], "nothing is put in place that is there");
});

test("sockets that were opened anew get the filter, also under an old number", () => {
  const scene = new Scene();
  scene.publish(ONE);
  scene.second(0);
  scene.second(FLOOD_RATE);
  scene.filter.forget();
  assert.is(scene.second(99).length, 2);
  scene.fds = [9];
  assert.equal(scene.second(99), [{ fd: 9, sources: [ONE], share: { index: 0, count: 1 } }]);
  scene.fds = [];
  assert.equal(scene.second(99), []);
  assert.is(scene.filter.status().active, false);
});

test("too many peers: everything comes to the hot path, and that is said", () => {
  const scene = new Scene();
  scene.publish(ONE);
  scene.refuse = true;
  scene.second(0);
  assert.equal(
    scene.second(FLOOD_RATE).map(({ sources }) => sources),
    [undefined, undefined],
  );
  const { active, reason } = scene.filter.status();
  assert.is(active, false);
  assert.match(reason, /^1 peers fit no socket filter: too long$/);
  assert.equal(scene.second(FLOOD_RATE), [], "not tried again with the same peers");
  scene.refuse = false;
  assert.is(scene.publish(ONE, TWO).length, 2, "but with others");
  assert.equal(scene.filter.status(), { active: true, sample: SAMPLE, reason: "" });
});

test.run();
