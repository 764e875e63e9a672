// Text for others of a mesh: the configuration of its nats-server, and what the stock client needs.
import { join } from "node:path";
import { readTextFile } from "../files.js";
import { type ServerCertificate, trustedFile } from "../tls/index.js";
import { type Cluster, clusterName, clusterSection, serverName } from "./cluster.js";
import { FIRST_ADMIN } from "./credentials.js";
import { readMeshFile } from "./mesh.js";
import type { Mesh } from "./place.js";

export interface NatsServerSettings {
  host: string;
  /** 0 is not allowed here: the caller picks a free port. */
  port: number;
  /** JetStream's and the resolver's directory. */
  storeDir: string;
  /** The cluster that this server is one of; absent: it works alone. */
  cluster?: Cluster;
  /** TLS is required of every client then. */
  tls?: ServerCertificate;
}

/** Directory of the server's account resolver: one file `<account key>.jwt` each. */
const resolverDir = (storeDir: string) => join(storeDir, "accounts");

/**
 * Text of a nats-server configuration: operator mode, JetStream, full directory resolver with the
 * account JWTs preloaded that the directory does not have yet. One that it has may list
 * revocations, and the server lets a preloaded JWT of the same second win: so those are left out.
 */
export async function natsServerConfig(mesh: Mesh, settings: NatsServerSettings): Promise<string> {
  const contents = await readMeshFile(mesh.dir);
  const quoted = (text: string) => JSON.stringify(text);
  const accounts = [
    [contents.systemAccount, contents.systemJwt],
    [contents.accountKey, contents.accountJwt],
  ] as const;
  const preloaded: string[] = [];
  for (const [key, jwt] of accounts) {
    const kept = await readTextFile(join(resolverDir(settings.storeDir), `${key}.jwt`));
    if (kept === null) preloaded.push(`  ${key}: ${quoted(jwt)}\n`);
  }
  const preload = preloaded.length > 0 ? `resolver_preload {\n${preloaded.join("")}}\n` : "";
  const { cluster, host, tls } = settings;
  const name = cluster ? serverName(mesh, cluster.self) : clusterName(mesh);
  const clients = tls ? tlsBlock(tls, false) : "";
  const routes = tls ? { host, tls: tlsBlock(tls, true) } : { host };
  return `# Written by meshd for mesh ${mesh.name}; changes are overwritten.
server_name: ${quoted(name)}
host: ${quoted(settings.host)}
port: ${settings.port}
${clients}# A client that hangs is cut off within 15 s, and others get what was meant for it.
ping_interval: "5s"
ping_max: 2
operator: ${quoted(contents.operatorJwt)}
system_account: ${quoted(contents.systemAccount)}
jetstream { store_dir: ${quoted(join(settings.storeDir, "jetstream"))} }
resolver {
  type: full
  dir: ${quoted(resolverDir(settings.storeDir))}
  allow_delete: false
  interval: "${cluster ? "5s" : "2m"}"
}
${preload}${cluster ? clusterSection(mesh, cluster, routes) : ""}`;
}

/**
 * Text to be included in the configuration of nats-servers that somebody else runs: with it they
 * take the mesh's users, and keep revocations in a folder beside the one they are started in.
 */
export async function natsIncludeText(mesh: Mesh): Promise<string> {
  const contents = await readMeshFile(mesh.dir);
  const quoted = (text: string) => JSON.stringify(text);
  return `# For nats-servers of mesh ${mesh.name} that meshd does not run. Nothing in it is secret.
operator: ${quoted(contents.operatorJwt)}
system_account: ${quoted(contents.systemAccount)}
resolver {
  type: full
  dir: ${quoted(`./${mesh.name}-accounts`)}
  allow_delete: false
  interval: "5s"
}
resolver_preload {
  ${contents.systemAccount}: ${quoted(contents.systemJwt)}
  ${contents.accountKey}: ${quoted(contents.accountJwt)}
}
`;
}

/** `tls` of clients, or of routes between servers: those are checked both ways. */
export function tlsBlock({ file, caFile }: ServerCertificate, verify: boolean): string {
  const path = JSON.stringify(file);
  const lines = [`cert_file: ${path}`, `key_file: ${path}`, `ca_file: ${JSON.stringify(caFile)}`];
  const all = [...lines, `verify: ${verify}`, "timeout: 20"];
  return `tls {\n  ${all.join("\n  ")}\n}\n`;
}

/** What the stock `nats` client needs to talk to a mesh. */
export interface NatsClientHelp {
  url: string;
  credentials: string;
  /** File with the CA that its --tlsca takes; null: the mesh has none. */
  ca: string | null;
  examples: string[];
}

/** URL and credentials file for the stock `nats` client, with commands to try. */
export function natsClientHelp(mesh: Mesh): NatsClientHelp {
  const url = mesh.servers.join(",");
  const ca = mesh.ca === null ? null : trustedFile(mesh.dir);
  const tls = ca === null ? "" : ` --tlsca ${ca}`;
  const nats = `nats -s ${url} --creds ${mesh.adminCredentials}${tls}`;
  const { name } = mesh;
  // What changes something is asked in the administrator's own name.
  const drain = `req ${name}.admin.${FIRST_ADMIN}.nodes.drain '{"node":"n1"}'`;
  const asks = ["micro ls", `req ${name}.admin.nodes.list ''`, `kv get ${name} config`, drain];
  const examples = asks.map((ask) => `${nats} ${ask}`);
  return { url, credentials: mesh.adminCredentials, ca, examples };
}
