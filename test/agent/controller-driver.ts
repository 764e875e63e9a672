// A mesh with its nats-server and controller, run inside the namespace that a test started it in.
// argv: directory, host, port, config as JSON. Takes JSON lines {do, ...}, answers one JSON line
// each.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { connect, credsAuthenticator } from "nats";
import { AdminClient, Controller, createMesh, type PeerRecord } from "../../control/index.js";
import { startNatsServer } from "../../src/natsd/index.js";
import { atEnd, clearDirectory } from "../support/ends.js";

interface Asked {
  do: keyof typeof answers;
  name?: string;
  value?: unknown;
  key?: string;
}

const [directory = "", host = "", port = "0", config = "{}"] = process.argv.slice(2);
// Whoever made the directory may be gone when a signal ends this process.
atEnd(() => clearDirectory(directory));
const servers = [`tls://${host}:${port}`];
const mesh = await createMesh(directory, { name: "e2e", servers, config: JSON.parse(config) });
const start = () => startNatsServer({ mesh, dir: `${directory}/nats`, host, port: Number(port) });
let server = await start();
const controller = await Controller.start({ mesh, servers });
const admin = await AdminClient.forMesh(mesh);

/** Puts bytes straight into the bucket, as a controller that went mad would. */
async function spoil(key: string, value: string): Promise<unknown> {
  const authenticator = credsAuthenticator(readFileSync(mesh.controllerCredentials));
  const connection = await connect({ servers, authenticator, tls: { ca: mesh.ca ?? "" } });
  try {
    // Without a reply subject: the store keeps it all the same.
    connection.publish(`$KV.${mesh.name}.${key}`, value);
    await connection.flush();
    return { done: true };
  } finally {
    await connection.close();
  }
}

const answers = {
  token: async () => ({ token: (await admin.tokens.create()).token }),
  config: ({ name, value }: Asked) => admin.config.set(name ?? "", value),
  "add-peer": ({ value }: Asked) => admin.peers.add(value as PeerRecord),
  "remove-peer": ({ name }: Asked) => admin.peers.remove(name ?? ""),
  spoil: ({ key, value }: Asked) => spoil(key ?? "", String(value)),
  nodes: () => admin.nodes.list(),
  leases: () => admin.leases.list(),
  status: ({ name }: Asked) => admin.nodes.status(name ?? ""),
  drain: ({ name, value }: Asked) => admin.nodes.drain(name ?? "", value === true),
  rename: ({ name, value }: Asked) => admin.nodes.rename(name ?? "", String(value)),
  remove: ({ name }: Asked) => admin.nodes.remove(name ?? ""),
  "stop-nats": () => server.stop().then(() => ({ done: true })),
  "start-nats": async () => {
    server = await start();
    return { done: true };
  },
};

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line) as Asked;
  const done: Promise<unknown> = answers[asked.do](asked);
  const answered = await done.catch((error: unknown) => ({ error: String(error) }));
  console.log(JSON.stringify(answered));
}
await admin.close();
await controller.close();
await server.stop();
