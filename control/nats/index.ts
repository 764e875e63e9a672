// The one room that touches the NATS packages: keys, JWTs, connections, buckets, services. Its successors change this room alone.
export {
  accountJwt,
  credentialsText,
  operatorJwt,
  type Permissions,
  parseCredentials,
  readRevocations,
  readUserJwt,
  userJwt,
} from "./jwt.js";
export { createKey, isPublicKey, SigningKey, signingKey, verifySignature } from "./keys.js";
