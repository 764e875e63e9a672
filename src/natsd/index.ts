// The door of natsd: starts and stops a real nats-server for a mesh.
export { NatsdError, type NatsdErrorCode } from "./errors.js";
export {
  type NatsServer,
  type NatsServerOptions,
  startNatsServer,
  stopNatsServer,
} from "./server.js";
