// The door of authentication inside the link.
export type * from "./types.js";
