// Who lives and who hears whom, as probers conclude it in a mesh on a clock of its own: limits of
// time, names of one-way losses, and the rate of questions that no size of a mesh changes.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { STEP_MS, World } from "./probe-world.js";

/** Promised of a whole node, whatever the code says. */
const PROBES_PER_SECOND = 20;

const OK = "reachable ok ok";
const UNHEARD = "unreachable lost ok";
const SILENT = "unreachable unknown lost";
const isLost = (world: World, at: number, of: number) => () =>
  world.health(at, of).reachable === "unreachable";
const is = (world: World, at: number, of: number, state: string) => () =>
  world.state(at, of) === state;

/** A mesh that has had time to know itself, with these flows. */
function settled(count: number, flows: [number, number][] = [], older: number[] = []): World {
  const world = new World(count, count, new Set(older));
  for (const [from, to] of flows) world.flow(from, to);
  world.run(12_000);
  return world;
}

const FLOWS: [string, [number, number][]][] = [
  [
    "both ways",
    [
      [0, 1],
      [1, 0],
    ],
  ],
  ["to it alone", [[0, 1]]],
  ["from it alone", [[1, 0]]],
];

for (const [name, flows] of FLOWS) {
  test(`a peer with traffic ${name} that dies is unreachable in 5 s, whenever it dies`, () => {
    for (let phase_ms = 0; phase_ms < 1000; phase_ms += STEP_MS) {
      const world = settled(3, flows);
      world.run(phase_ms);
      assert.is(world.state(0, 1), OK);
      world.kill(1);
      const took_ms = world.until("dead", isLost(world, 0, 1), 5000);
      assert.ok(took_ms >= 2500, `not at once for a packet that is lost: ${took_ms} ms`);
      world.until("named", is(world, 0, 1, SILENT), 5000);
      world.kill(1, false);
      world.until("back", is(world, 0, 1, OK), 2000);
    }
  });
}

test("a peer without traffic for less than a minute is dead in 5 s, later within 9", () => {
  const recently = settled(2, FLOWS[0]?.[1]);
  recently.flow(0, 1, false);
  recently.flow(1, 0, false);
  recently.run(50_000);
  recently.kill(1);
  recently.until("dead", isLost(recently, 0, 1), 5000);
  const idle = settled(2);
  idle.run(20_000);
  idle.kill(1);
  idle.until("dead", isLost(idle, 0, 1), 9000);
});

test("after an hour of death a peer is back within 2 s where packets go to it", () => {
  const world = settled(2, FLOWS[1]?.[1]);
  world.kill(1);
  world.run(3_600_000);
  world.kill(1, false);
  world.until("back", is(world, 0, 1, OK), 2000);
});

for (const [name, flows] of [...FLOWS, ["nowhere", []] as [string, []]]) {
  for (const [from, to] of [
    [0, 1],
    [1, 0],
  ] as [number, number][]) {
    test(`loss from n${from} to n${to} is named on both, with traffic ${name}`, () => {
      const world = settled(3, flows);
      world.cut(from, to);
      world.until(
        "it is seen on both",
        () => {
          return isLost(world, from, to)() && isLost(world, to, from)();
        },
        flows.length > 0 ? 7500 : 12_000,
      );
      world.run(8000);
      for (let second = 0; second < 300; second++) {
        world.run(1000);
        assert.is(world.state(from, to), UNHEARD, `who is not heard, after ${second} s`);
        assert.is(world.state(to, from), SILENT, `who does not hear, after ${second} s`);
      }
      assert.is(world.state(from, 2), OK);
      assert.match(
        world.node(from).prober.problemWith({ nodeId: `U${to}`, name: "" }) ?? "",
        `one-way: n${to} does not hear this node`,
      );
      assert.match(
        world.node(to).prober.problemWith({ nodeId: `U${from}`, name: "" }) ?? "",
        `this node does not hear n${from} (nothing for`,
      );
      world.cut(from, to, false);
      const back_ms = flows.length > 0 ? 2000 : 6000;
      world.until(
        "whole again",
        () => world.state(from, to) === OK && world.state(to, from) === OK,
        back_ms,
      );
      assert.is(world.node(from).prober.problemWith({ nodeId: `U${to}`, name: "" }), null);
      const last = (at: number) => world.node(at).events.at(-1);
      world.run(2000);
      assert.is(last(from), `agent.peer.back n${to}: ok ok`);
      assert.is(last(to), `agent.peer.back n${from}: ok ok`);
    });
  }
}

test("a peer that does not hear us is not said to be silent before it has had its turn", () => {
  for (let phase_ms = 0; phase_ms < 5000; phase_ms += 250) {
    const world = new World(2);
    world.run(4000);
    world.start(1);
    world.run(12_000 + phase_ms);
    world.cut(0, 1);
    world.run(40_000);
    assert.is(world.state(0, 1), UNHEARD);
    const silent = world.node(0).events.filter((line) => line.endsWith("unknown lost"));
    assert.equal(silent, [], `cut ${phase_ms} ms later`);
  }
});

test("a one-way loss is named with a peer of an older version, too, that says nothing", () => {
  const world = settled(2, [], [1]);
  world.cut(0, 1);
  world.until("named", is(world, 0, 1, UNHEARD), 15_000);
  world.until("named by the other, too", is(world, 1, 0, SILENT), 10_000);
});

test("a peer that does not hear us and then dies is not believed to live for long", () => {
  const world = settled(2);
  world.cut(0, 1);
  world.run(20_000);
  assert.is(world.state(0, 1), UNHEARD);
  world.kill(1);
  world.until("known", is(world, 0, 1, SILENT), 30_000);
});

test("a peer that dies and is back within 2 s was never unreachable", () => {
  const world = settled(3, FLOWS[0]?.[1]);
  for (let i = 0; i < 40; i++) {
    world.kill(1);
    world.run(1950);
    world.kill(1, false);
    assert.not(isLost(world, 0, 1)());
    world.run(3000 + i * STEP_MS);
  }
  assert.equal(world.node(0).events, []);
});

test("an agent that starts again knows its peers in 2 s, and they did not miss it", () => {
  const world = settled(4, FLOWS[0]?.[1]);
  world.kill(1);
  world.run(1500);
  world.start(1);
  world.until("it knows", () => [0, 2, 3].every((of) => world.state(1, of) === OK), 2000);
  world.run(10_000);
  for (const at of [0, 2, 3]) assert.equal(world.node(at).events, []);
});

test("with a tenth of all packets lost, nobody is lost for longer than seconds", () => {
  const world = settled(2, FLOWS[0]?.[1]);
  let bad = 0;
  let seed = 1;
  for (let second = 0; second < 2000; second++) {
    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ] as const) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      world.cut(from, to, (seed >>> 8) % 10 === 0);
    }
    world.run(1000);
    bad += Number(world.state(0, 1) !== OK) + Number(world.state(1, 0) !== OK);
  }
  assert.ok(bad < 20, `${bad} of 4000 looks`);
});

function questionsPerSecond(world: World, seconds: number): number[] {
  return Array.from({ length: seconds }, () => {
    const before = world.node(0).asked;
    world.run(1000);
    return world.node(0).asked - before;
  });
}

test("of 1,000 peers at most 20 a second are asked, each in its turn; and the dead", () => {
  const world = new World(1001, 1);
  assert.ok(questionsPerSecond(world, 120).every((asked) => asked === PROBES_PER_SECOND));
  const answered = [...world.nodes.values()].map((node) => node.answered).slice(1);
  assert.ok(Math.min(...answered) >= 2 && Math.max(...answered) <= 3, "round and round");
  for (const peer of [5, 500, 995]) {
    world.flow(0, peer);
    world.flow(peer, 0);
  }
  world.run(5000);
  for (const peer of [5, 500, 995]) world.kill(peer);
  const took_ms = world.until(
    "all three",
    () => {
      return [5, 500, 995].every((peer) => isLost(world, 0, peer)());
    },
    5000,
  );
  assert.ok(took_ms > 2000);
  assert.is(world.health(0, 6).reachable, "reachable");
  assert.ok(questionsPerSecond(world, 60).every((asked) => asked <= PROBES_PER_SECOND));
  world.kill(500, false);
  world.until("back", () => world.health(0, 500).reachable === "reachable", 2000);
});

test("many that are dead and have traffic do not keep the others from their turns", () => {
  const world = new World(101, 1);
  for (let peer = 1; peer <= 60; peer++) world.flow(0, peer);
  world.run(10_000);
  for (let peer = 1; peer <= 60; peer++) world.kill(peer);
  world.run(30_000);
  const before = [...Array(100).keys()].map((i) => world.node(i + 1).answered);
  world.run(20_000);
  for (let peer = 61; peer <= 100; peer++) {
    assert.ok(world.node(peer).answered > (before[peer - 1] ?? 0), `n${peer} was asked`);
  }
});

test("with 500 peers that are heard by themselves, 20 that die at once are known in 5 s", () => {
  const world = new World(501, 1);
  for (let peer = 1; peer <= 500; peer++) {
    world.flow(0, peer);
    world.flow(peer, 0);
  }
  world.run(30_000);
  const dying = Array.from({ length: 20 }, (_, i) => 1 + i * 25);
  for (const peer of dying) world.kill(peer);
  world.until("all", () => dying.every((peer) => isLost(world, 0, peer)()), 5000);
  assert.is(world.health(0, 2).reachable, "reachable");
  const more = Array.from({ length: 60 }, (_, i) => 2 + i * 8).filter((i) => !dying.includes(i));
  for (const peer of more) world.kill(peer);
  const all = () => more.every((peer) => isLost(world, 0, peer)());
  world.until("and 60 more in three turns for each 20", all, 5000 + 3000 * (more.length / 20));
});

test("a node that hears nobody any more knows it of all 1,000 within 5 s, and says so once", () => {
  const world = new World(1001, 1);
  world.run(60_000);
  for (let peer = 1; peer <= 1000; peer++) world.kill(peer);
  const all = [...Array(1000).keys()].map((i) => i + 1);
  world.until("all", () => all.every((peer) => isLost(world, 0, peer)()), 5000);
  assert.is(world.node(0).prober.warnings().length, 1);
  world.run(120_000);
  assert.ok(world.node(0).events.length <= 90, `${world.node(0).events.length} lines`);
});

test("whom all of a mesh ask, because all send to it, answers each a few times in 10 s", () => {
  const world = new World(101);
  for (let peer = 1; peer <= 100; peer++) {
    world.flow(0, peer);
    world.flow(peer, 0);
  }
  world.run(20_000);
  const before = world.node(0).answered;
  world.run(10_000);
  assert.ok(world.node(0).answered - before <= 100 * 3, `${world.node(0).answered - before}`);
  for (const { asked } of world.nodes.values()) assert.ok(asked <= PROBES_PER_SECOND * 30);
});

test.run();
