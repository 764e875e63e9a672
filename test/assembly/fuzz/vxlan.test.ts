// A million packets of VXLAN (RFC 7348), whole and spoiled, in both directions.
import { fuzzSuite } from "../../support/fuzz-run.js";

await fuzzSuite("vxlan");
