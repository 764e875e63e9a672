// A connection with somebody's credentials, to try what they allow: the stock client, nothing of
// ours.
import { readFile } from "node:fs/promises";
import {
  connect,
  credsAuthenticator,
  jwtAuthenticator,
  type NatsConnection,
  StringCodec,
} from "nats";
import type { Joined, TestMesh } from "./fixture.js";

const codec = StringCodec();

/** Subjects that the server refused, as "publish SUBJECT" and "subscription SUBJECT". */
export interface Raw {
  connection: NatsConnection;
  refused: string[];
  publish(subject: string, text: string, reply?: string): void;
  subscribe(subject: string): { got: string[] };
}

function wrap(connection: NatsConnection): Raw {
  const refused: string[] = [];
  void (async () => {
    for await (const status of connection.status()) {
      const context = status.permissionContext;
      if (context) refused.push(`${context.operation} ${context.subject}`);
    }
  })();
  return {
    connection,
    refused,
    publish: (subject, text, reply) =>
      connection.publish(subject, codec.encode(text), reply ? { reply } : {}),
    subscribe: (subject) => {
      const got: string[] = [];
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (!error) got.push(codec.decode(message.data));
        },
      });
      return { got };
    },
  };
}

/** The client alone: a server that is reached by an address must name localhost, too. */
const wayTo = ({ server, mesh }: TestMesh) => ({
  servers: server.url,
  ...(mesh.ca === null ? {} : { tls: { ca: mesh.ca } }),
});

export async function connectAs(mesh: TestMesh, { identity, membership }: Joined): Promise<Raw> {
  const connection = await connect({
    ...wayTo(mesh),
    authenticator: jwtAuthenticator(membership.jwt, new TextEncoder().encode(identity.seed)),
    inboxPrefix: `_INBOX_${identity.nodeId}`,
    reconnect: false,
  });
  mesh.later(() => connection.close());
  return wrap(connection);
}

export async function connectUser(mesh: TestMesh, jwt: string, seed: string): Promise<Raw> {
  const connection = await connect({
    ...wayTo(mesh),
    authenticator: jwtAuthenticator(jwt, new TextEncoder().encode(seed)),
    reconnect: false,
  });
  mesh.later(() => connection.close());
  return wrap(connection);
}

export async function connectFile(mesh: TestMesh, file: string, inboxPrefix: string): Promise<Raw> {
  const connection = await connect({
    ...wayTo(mesh),
    authenticator: credsAuthenticator(await readFile(file)),
    inboxPrefix,
    reconnect: false,
  });
  mesh.later(() => connection.close());
  return wrap(connection);
}
