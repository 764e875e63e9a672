// The door of membership as it runs: the session of a member, and the view of the mesh it keeps.

export type { PptpUser } from "./accounts.js";
export { Pace } from "./pace.js";
export { PAIRS_MAX } from "./pairs.js";
export { batchCount_max } from "./present.js";
export { MemberSession } from "./session.js";
export type { EndpointFacts, MemberSessionOptions, NodeFacts } from "./session-options.js";
export { View } from "./view.js";
