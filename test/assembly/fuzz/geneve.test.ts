// A million packets of Geneve (RFC 8926), whole and spoiled, in both directions.
import { fuzzSuite } from "../../support/fuzz-run.js";

await fuzzSuite("geneve");
