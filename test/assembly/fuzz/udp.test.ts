// A million packets of flannel's udp format, whole and spoiled, in both directions.
import { fuzzSuite } from "../../support/fuzz-run.js";

await fuzzSuite("udp");
