// Geneve (RFC 8926) between meshd and a kernel's own geneve device.
import { runInterop } from "./suite.js";

runInterop("geneve");
