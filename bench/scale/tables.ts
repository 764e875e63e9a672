// How long a change of full tables takes on the control thread, from contents to a live generation.
import { W_STATE, WORKER_PARKED } from "../../assembly/shared/layout.js";
import { createMemory } from "../../src/datapath/memory.js";
import { TablePublisher } from "../../src/datapath/publisher.js";
import { spreadOf, type TableFigures } from "./figures.js";
import { fullContents, PREFIXES } from "./table-contents.js";

const PEERS = 1000;
const ROUNDS = 30;

/** Every prefix is another one each time. */
export function measureTables(): TableFigures {
  const memory = createMemory({ workers: 1, peerCapacity: 4096, prefixCapacity: PREFIXES });
  Atomics.store(memory.words, ((memory.bases[0] ?? 0) + W_STATE) >>> 2, WORKER_PARKED);
  const fail = (error: unknown) => {
    throw error;
  };
  const publisher = new TablePublisher({ ...memory, onFailure: fail });
  const prefixes = PREFIXES - 1;
  const contents = [0, 1].map((variant) => fullContents({ prefixes, peers: PEERS, variant }));
  const times = Array.from({ length: ROUNDS + 1 }, (_, round) => {
    const next = contents[round % 2];
    const began = performance.now();
    if (next !== undefined) publisher.publish(next);
    return performance.now() - began;
  });
  const [first_ms = 0, ...rest] = times;
  const { p50_ms, max_ms } = spreadOf(rest);
  return { prefixes: PREFIXES, peers: PEERS, first_ms, p50_ms, max_ms, count: rest.length };
}
