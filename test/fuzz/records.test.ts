// Records of the store: any JSON in the place of a record of any kind, and any text in the place of
// a stored value.
import { test } from "uvu";
import { Refused } from "../../control/check.js";
import { open, seal } from "../../control/envelope.js";
import { parseKey } from "../../control/keys.js";
import { signingKey } from "../../control/nats/index.js";
import { checkRecord } from "../../control/validate.js";
import { fuzzWithCorpus } from "../support/corpus.js";
import { NODE_ID, recordSamples } from "../support/record-samples.js";

interface Placed {
  key: string;
  record: unknown;
}

fuzzWithCorpus({
  name: "records",
  seeds: recordSamples(NODE_ID).map(([key, record]) => JSON.stringify({ key, record })),
  feed: (input) => {
    const { key, record } = placedIn(input);
    const place = typeof key === "string" ? parseKey(key) : null;
    if (place === null) return "no record has such a key";
    try {
      checkRecord(place.kind, key, record);
      return "taken";
    } catch (error) {
      if (error instanceof Refused) return `${place.kind}: ${error.message}`;
      throw error;
    }
  },
});

function placedIn(input: string): Placed {
  try {
    const { key, record } = JSON.parse(input) ?? {};
    return { key, record };
  } catch {
    return { key: "", record: null };
  }
}

/** Of no mesh: kept inputs are signed by it. */
const grant = signingKey("SAAN3CSUPVQDZKHMEVDRXVBYOFVHQ2234CGXYMMGWKFBO6PIUXRMALW53U");
const trust = { meshId: "0b5f3a52-7d0e-4bb4-8bb1-8d3a0a0f3a11", grantKey: grant.publicKey };
const LEASE = "leases.10-244-0-0_24";
const lease = Object.fromEntries(recordSamples(NODE_ID))[LEASE] ?? {};

fuzzWithCorpus({
  name: "stored-values",
  seeds: [seal(trust.meshId, LEASE, lease, 7, grant), seal(trust.meshId, LEASE, null, 8, grant)],
  inputs: 20_000,
  feed: (input) => {
    const opened = open(trust, LEASE, input);
    return typeof opened === "string" ? opened : "taken";
  },
});

test.run();
