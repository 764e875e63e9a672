// VXLAN (RFC 7348) between meshd and a kernel's own vxlan device.
import { runInterop } from "./suite.js";

runInterop("vxlan");
