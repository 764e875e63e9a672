// Publishing tables while workers run, sleep or are dead: the copy in use is never rewritten.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  C_TABLES_AT,
  CONTROL,
  W_GENERATION,
  W_STATE,
  WORKER_PARKED,
  WORKER_RUNNING,
} from "../../assembly/shared/layout.js";
import { T_SELF_MTU } from "../../assembly/shared/tables.js";
import type { TableContents } from "../../src/datapath/index.js";
import { createMemory } from "../../src/datapath/memory.js";
import { TablePublisher } from "../../src/datapath/publisher.js";
import { until } from "../support/netns.js";

/** Tables that are told apart by their MTU. */
const contents = (mtu: number): TableContents => ({
  self: {
    mac: "02:00:00:00:00:01",
    vni: 1,
    mtu,
    addresses: ["10.244.1.1"],
    prefixes: ["10.244.1.0/24"],
    udpPort: 8472,
  },
  peers: [],
});

function setUp(workers = 2) {
  const memory = createMemory({ workers, peerCapacity: 4, prefixCapacity: 8 });
  const failures: unknown[] = [];
  const publisher = new TablePublisher({ ...memory, onFailure: (error) => failures.push(error) });
  const setWorker = (index: number, state: number, generation: number) => {
    const base = memory.bases[index] ?? 0;
    Atomics.store(memory.words, (base + W_STATE) / 4, state);
    Atomics.store(memory.words, (base + W_GENERATION) / 4, generation);
  };
  /** MTU that stands in the copy of a generation. */
  const mtuOf = (generation: number) => {
    const at = memory.words[(CONTROL + C_TABLES_AT) / 4 + (generation & 1)] ?? 0;
    return memory.words[(at + T_SELF_MTU) / 4];
  };
  return { publisher, failures, setWorker, mtuOf };
}

test("the next generation is live at once when every worker has reported the present one", () => {
  const { publisher, mtuOf } = setUp();
  publisher.publish(contents(1400));
  assert.is(publisher.generation(), 1);
  assert.ok(publisher.isSettled());
  assert.is(mtuOf(1), 1400);
});

test("a running worker that has not reported keeps the spare copy until it does", async () => {
  const { publisher, setWorker, mtuOf } = setUp();
  publisher.publish(contents(1400));
  setWorker(0, WORKER_RUNNING, 1);
  publisher.publish(contents(1401));
  assert.is(publisher.generation(), 1);
  assert.is(mtuOf(0), 0, "the copy of generation 0 is untouched");
  publisher.publish(contents(1402));
  setWorker(1, WORKER_RUNNING, 1);
  await until("the tables are live", () => publisher.isSettled());
  assert.is(publisher.generation(), 2);
  assert.is(mtuOf(2), 1402, "only the newest contents counted");
  assert.is(mtuOf(1), 1400, "the live copy was not touched");
});

test("a parked worker holds up nothing, whatever it read last", () => {
  const { publisher, setWorker } = setUp();
  setWorker(0, WORKER_PARKED, 0);
  setWorker(1, WORKER_PARKED, 0);
  for (const mtu of [1400, 1401, 1402]) publisher.publish(contents(mtu));
  assert.is(publisher.generation(), 3);
});

test("contents that cannot be written are refused and the live tables stay", () => {
  const { publisher, mtuOf, setWorker } = setUp(1);
  setWorker(0, WORKER_PARKED, 0);
  publisher.publish(contents(1400));
  const tooMany = { ...contents(1401), peers: Array.from({ length: 5 }, (_, i) => peer(i)) };
  assert.throws(() => publisher.publish(tooMany), /peer/i);
  assert.is(publisher.generation(), 1);
  assert.is(mtuOf(1), 1400);
  assert.ok(publisher.isSettled());
});

test("contents that prove unwritable after waiting are reported as an event", async () => {
  const { publisher, failures, setWorker } = setUp(1);
  publisher.publish(contents(1400));
  publisher.publish({ ...contents(1401), peers: Array.from({ length: 5 }, (_, i) => peer(i)) });
  setWorker(0, WORKER_RUNNING, 1);
  await until("the failure is told", () => failures.length === 1);
  assert.is(publisher.generation(), 1);
});

test("a publisher that is stopped forgets what waits", async () => {
  const { publisher, setWorker } = setUp(1);
  publisher.publish(contents(1400));
  publisher.publish(contents(1401));
  publisher.stop();
  setWorker(0, WORKER_RUNNING, 1);
  assert.ok(publisher.isSettled());
  assert.is(publisher.generation(), 1);
});

function peer(index: number): TableContents["peers"][number] {
  return {
    protocol: "vxlan",
    address: `192.0.2.${index + 10}`,
    port: 8472,
    mac: `02:00:00:00:01:0${index}`,
    vni: 1,
    mtu: 1400,
    prefixes: [`10.244.${index + 10}.0/24`],
  };
}

test.run();
