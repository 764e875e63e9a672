// Feeds: any bytes in the place of a page, and of a batch that is to be signed.
import { test } from "uvu";
import { openBatch, readStretch, rowOf, sealBatch, stretchText } from "../../control/feed/index.js";
import { signingKey } from "../../control/nats/index.js";
import { fuzzWithCorpus } from "../support/corpus.js";
import { NODE_ID, recordSamples } from "../support/record-samples.js";
import { refusalOf } from "../support/refusal.js";

/** Of no mesh: kept inputs are signed by it. */
const grant = signingKey("SAAN3CSUPVQDZKHMEVDRXVBYOFVHQ2234CGXYMMGWKFBO6PIUXRMALW53U");
const trust = { meshId: "0b5f3a52-7d0e-4bb4-8bb1-8d3a0a0f3a11", grantKey: grant.publicKey };
const rows = recordSamples(NODE_ID).map(([key, record], at) => {
  const [value, revision] = [JSON.stringify(record), 2 * at + 3];
  return rowOf({ key, revision, value, deleted: at % 3 === 0, time_ms: 1_700_000_000_000 + at });
});
const stretch = { controllerId: NODE_ID, from: 2, to: 99, digest: null };
const pages = [
  stretchText(stretch, rows.slice(0, 2)),
  stretchText({ ...stretch, digest: "0123456789abcdef" }, []),
];

fuzzWithCorpus({
  name: "feed-pages",
  seeds: pages,
  json: false,
  inputs: 30_000,
  feed: (input) => refusalOf(() => readStretch(Buffer.from(input))),
});

fuzzWithCorpus({
  name: "feed-batches",
  seeds: pages.map((page) => sealBatch(trust.meshId, page, grant)),
  json: false,
  inputs: 10_000,
  feed: (input) => refusalOf(() => readStretch(openBatch(trust, Buffer.from(input)))),
});

test.run();
