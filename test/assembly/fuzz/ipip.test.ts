// A million packets of IP in IP, IPv4 and IPv6 inside, whole and spoiled, in both directions.
import { fuzzSuite } from "../../support/fuzz-run.js";

await fuzzSuite("ipip");
