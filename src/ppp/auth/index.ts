// The door of authentication inside the link: MS-CHAPv2, MS-CHAPv1, CHAP with MD5 and PAP, both
// sides, and the start keys of MPPE (ADR 0036). All of it is insecure by today's standards.
export { createAuthenticator } from "./authenticator.js";
export { ntHash } from "./ms-chap.js";
export { AUTH_OPTION, authMethodOf } from "./packets.js";
export { createAuthPeer } from "./peer.js";
export type * from "./types.js";
