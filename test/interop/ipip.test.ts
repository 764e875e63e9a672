// IP in IP between meshd and a kernel's own ipip, sit and ip6tnl devices.
import { runInterop } from "./suite.js";

runInterop("ipip");
