// The one room that touches the NATS packages: keys, JWTs, connections, buckets, services. Its
// successors change this room alone.

export { Bucket, type Entry } from "./bucket.js";
export {
  accountJwt,
  credentialsText,
  hasBucketLimits,
  haveSameRights,
  operatorJwt,
  type Permissions,
  parseCredentials,
  readAccountJwt,
  readUserJwt,
  userJwt,
} from "./jwt.js";
export { createKey, isPublicKey, SigningKey, signingKey, verifySignature } from "./keys.js";
export { Link, type LinkOptions, type User } from "./link.js";
export { type Answer, type Message, newAsk } from "./message.js";
export { type Endpoint, type ServiceOptions, serve } from "./service.js";
export { Silence } from "./silence.js";
export { Watch, type WatchHandlers } from "./watch.js";
