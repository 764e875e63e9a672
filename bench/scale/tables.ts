// How long a change of full tables takes on the control thread, until its generation is live.
import { W_STATE, WORKER_PARKED } from "../../assembly/shared/layout.js";
import { createMemory } from "../../src/datapath/memory.js";
import { TablePublisher } from "../../src/datapath/publisher.js";
import { fullContents, PREFIXES } from "./table-contents.js";

const memory = createMemory({ workers: 1, peerCapacity: 4096, prefixCapacity: PREFIXES + 64 });
Atomics.store(memory.words, ((memory.bases[0] ?? 0) + W_STATE) >>> 2, WORKER_PARKED);
const publisher = new TablePublisher({ ...memory, onFailure: (error) => console.log(error) });
const variants = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1].map((variant) =>
  fullContents({ prefixes: PREFIXES - 2, peers: 1000, variant }),
);
for (const contents of variants) {
  const began = performance.now();
  publisher.publish(contents);
  console.log("whole", (performance.now() - began).toFixed(1));
}
