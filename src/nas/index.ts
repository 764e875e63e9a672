// The door of the access server: plain PPP lines to a PPTP server by incoming calls. A process of
// its own; it needs no agent. PPTP is broken by today's standards.
export type { LinePlace } from "./line.js";
export { type Nas, type NasOptions, startNas } from "./nas.js";
