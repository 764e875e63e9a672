// A million packets of GRE version 0 (RFC 2784, RFC 2890), whole and spoiled, both directions.
import { fuzzSuite } from "../../support/fuzz-run.js";

await fuzzSuite("gre");
