// IP in UDP (flannel's udp backend) between meshd and a kernel's own foo-over-UDP.
import { runInterop } from "./suite.js";

runInterop("udp");
