// What a run measures and in which order, and how a run that was cut off goes on.
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Journal, JournalError, parseJournal, resultsOf } from "../../bench/support/journal.js";
import {
  ALL_CARRIERS,
  ALL_MEASURES,
  cellKey,
  cellsOf,
  defaultLegs,
  fullLegs,
  isPeer,
  type Leg,
  makeLeg,
} from "../../bench/support/legs.js";
import { describeMachine } from "../../bench/support/machine.js";

const all = { rounds: 3, seconds: 4, carriers: ALL_CARRIERS, measures: ALL_MEASURES };
const never = () => false;
const legNamed = (legs: readonly Leg[], id: string) => {
  const leg = legs.find((one) => one.id === id);
  if (leg === undefined) throw new Error(`no leg ${id}`);
  return leg;
};

test("a default run has the three legs that the goals ask for", () => {
  const legs = defaultLegs(all);
  assert.equal(
    legs.map(({ id }) => id),
    ["mtu1500", "mtu1500-plain", "mtu9000"],
  );
  const short = { "mtu1500-plain": ["tcp1"], mtu9000: ["tcp1", "tcp1cubic"] };
  for (const [id, measures] of Object.entries(short)) {
    const cells = cellsOf(legNamed(legs, id), never);
    assert.equal([...new Set(cells.map(({ measure }) => measure))], measures);
    assert.equal(new Set(cells.map(({ carrier }) => carrier)), new Set(["vxlan", "meshd"]));
  }
});

test("peers' floods and searches are taken in the first round only", () => {
  const leg = legNamed(defaultLegs(all), "mtu1500");
  for (const peer of ALL_CARRIERS.filter(isPeer)) {
    const of = (round: number) => leg.measures(peer, round);
    assert.equal(of(1), ["tcp1", "udp64", "udp64lossless", "ping"]);
    assert.equal(of(2), ["tcp1", "ping"]);
  }
  assert.equal(leg.measures("meshd", 1), ALL_MEASURES);
  const later = ALL_MEASURES.filter((name) => name !== "idle");
  assert.equal(leg.measures("meshd", 3), later, "idle is measured before there was traffic");
});

test("a selection without TCP or without meshd has no short legs", () => {
  assert.is(defaultLegs({ ...all, measures: ["ping"] }).length, 1);
  assert.is(defaultLegs({ ...all, carriers: ["raw"] }).length, 1);
});

test("the whole matrix has every wire with every crew, each leg's name once", () => {
  const legs = fullLegs(all);
  const ids = legs.map(({ id }) => id);
  assert.is(new Set(ids).size, ids.length);
  assert.is(ids.length, 4 * 5 + 5);
  const some = ["mtu1500", "mtu9000-plain-w4-steering-off", "mtu1500-gre", "mtu1500-pptp"];
  for (const id of some) {
    assert.ok(ids.includes(id), id);
  }
});

test("carriers take turns in going first, and no cell comes twice", () => {
  const measures = ["tcp1", "ping"] as const;
  const carriers = ["raw", "vxlan", "meshd"] as const;
  const leg = makeLeg({
    ...{ mtu: 1500, offloads: true, rounds: 3, seconds: 1 },
    ...{ carriers: [...carriers], measures: () => measures },
  });
  const cells = cellsOf(leg, never);
  assert.is(new Set(cells.map(cellKey)).size, 3 * 3 * (1 + 5));
  const firsts = [1, 2, 3].map((round) => cells.find((cell) => cell.round === round)?.carrier);
  assert.equal(firsts, carriers);
});

const folder = mkdtempSync(join(tmpdir(), "meshd-journal-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const conditions = { machine: describeMachine(), seconds: 4 };
const cell = { leg: "mtu1500", round: 1, carrier: "meshd", measure: "tcp1" } as const;

test("a journal gives back what was finished, also after half a line", () => {
  const path = join(folder, "cut.jsonl");
  const first = Journal.open(path);
  first.begin(conditions);
  first.add({ ...cell, values: { tcp1: 7 } });
  first.fail({ ...cell, measure: "ping", reason: "no answer" });
  appendFileSync(path, '{"leg":"mtu1500","round":2,"carr');
  const second = Journal.open(path);
  assert.is(second.entries.length, 1);
  assert.ok(second.isDone(cell));
  assert.not(second.isDone({ ...cell, round: 2 }));
  assert.not(second.isDone({ ...cell, measure: "ping" }), "what failed is tried again");
  second.begin(conditions);
  second.add({ ...cell, round: 2, values: { tcp1: 9 } });
  const third = Journal.open(path);
  assert.is(third.entries.length, 2);
  const summary = resultsOf(third.entries).summary("mtu1500", "meshd", "tcp1");
  assert.equal(summary, { median: 8, min: 7, max: 9, count: 2 });
});

test("figures of other code, another machine or other transfers are not gone on with", () => {
  const path = join(folder, "other.jsonl");
  Journal.open(path).begin(conditions);
  const { machine } = conditions;
  const others = {
    commit: { ...conditions, machine: { ...machine, commit: "0000000" } },
    cores: { ...conditions, machine: { ...machine, cores: machine.cores + 1 } },
    seconds: { ...conditions, seconds: 5 },
  };
  for (const [name, other] of Object.entries(others)) {
    assert.throws(
      () => Journal.open(path).begin(other),
      new RegExp(`measured with ${name} .*, not`),
    );
  }
  Journal.open(path).begin({ ...conditions, machine: { ...machine, load: 7, date: "later" } });
  assert.is(readFileSync(path, "utf8").trim().split("\n").length, 2);
});

test("what a carrier was is known of the earlier part of a run, too", () => {
  const path = join(folder, "versions.jsonl");
  const journal = Journal.open(path);
  journal.begin(conditions);
  journal.add({ ...cell, carrier: "nebula", values: { tcp1: 1 }, version: "1.6.1" });
  assert.equal([...resultsOf(Journal.open(path).entries).versions], [["nebula", "1.6.1"]]);
});

test("only cells that are missing are left of a leg", () => {
  const leg = legNamed(defaultLegs(all), "mtu9000");
  const done = new Set(cellsOf(leg, never).slice(0, 4).map(cellKey));
  const rest = cellsOf(leg, (one) => done.has(cellKey(one)));
  assert.is(rest.length, 2 * 2 * 3 - 4);
});

test("a journal with lines of another program's future is read as far as it is known", () => {
  const header = JSON.stringify({ bench: "meshd", machine: {} });
  const strange = [
    { ...cell, carrier: "pigeon", values: {} },
    { ...cell, values: { tcp1: "7" } },
    5,
  ];
  const lines = strange.map((one) => JSON.stringify(one));
  assert.equal(parseJournal([header, ...lines].join("\n")), []);
});

test("a file that is no journal is refused and stays as it is", () => {
  const path = join(folder, "other.txt");
  writeFileSync(path, "Dear diary,\n");
  assert.throws(
    () => Journal.open(path),
    (error: unknown) => error instanceof JournalError && error.message.startsWith(path),
  );
  assert.is(readFileSync(path, "utf8"), "Dear diary,\n");
});

test.run();
