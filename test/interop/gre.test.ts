// GRE between meshd and a kernel's own gre, ip6gre, gretap and ip6gretap devices.
import { runInterop } from "./suite.js";

runInterop("gre");
