// What a further host of a cluster needs of the first: the mesh's keys, as one file of mode 0600
// that is moved over a safe channel, used once and removed.
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Cluster, type Mesh, readCluster, writeCluster } from "../../../control/index.js";
import { CommandError } from "../command.js";
import { writeSecret } from "../files.js";
import { bundlePath } from "../service/bundle-files.js";
import { missingOthers } from "../service/cluster-look.js";

/** Stays where the mesh was made: none of it is needed by a controller. */
const homeFiles = new Set(["operator.nk", "account.nk", "cluster.json", "handover.json"]);
/** What this host's controller remembers of its own past. */
const ownFiles = new Set(["store-seen", "remembered.json", "store-report.json"]);
const life_ms = 7 * 86_400_000;

interface Bundle {
  version: 1;
  mesh: string;
  /** The host that it is for. */
  host: string;
  /** RFC 3339. */
  ends: string;
  cluster: Cluster;
  /** Name -> contents, base64. */
  files: Record<string, string>;
}

/** Writes one for each host that is not of the cluster now; gives their paths. */
export async function writeBundles(
  mesh: Mesh,
  cluster: Cluster,
  stateDir: string,
): Promise<string[]> {
  const hosts = await missingOthers(mesh, cluster);
  return hosts.map((host) => {
    const path = bundlePath(stateDir, host);
    const bundle: Bundle = {
      ...{ version: 1, mesh: mesh.name, host, files: filesOf(mesh, stateDir) },
      ends: new Date(Date.now() + life_ms).toISOString(),
      cluster: { ...cluster, self: host, state: "formed" },
    };
    writeSecret(path, `${JSON.stringify(bundle)}\n`);
    return path;
  });
}

function filesOf(mesh: Mesh, stateDir: string): Record<string, string> {
  const names = readdirSync(mesh.dir).filter(
    (name) =>
      !homeFiles.has(name) && !ownFiles.has(name) && statSync(join(mesh.dir, name)).isFile(),
  );
  const files = names.map((name) => [name, readFileSync(join(mesh.dir, name))] as const);
  const all = Object.fromEntries(files.map(([name, bytes]) => [name, bytes.toString("base64")]));
  return { ...all, "mesh.json": withRevocations(mesh, stateDir).toString("base64") };
}

/** The account's JWT as the server here has it: the one it began with revokes nobody. */
function withRevocations(mesh: Mesh, stateDir: string): Buffer {
  const contents = JSON.parse(readFileSync(join(mesh.dir, "mesh.json"), "utf8"));
  const kept = join(stateDir, "nats", "accounts", `${mesh.accountKey}.jwt`);
  const accountJwt = existsSync(kept) ? readFileSync(kept, "utf8").trim() : contents.accountJwt;
  return Buffer.from(`${JSON.stringify({ ...contents, accountJwt }, null, 2)}\n`);
}

/**
 * Unpacks a bundle into the folder of a mesh, and removes it. MESHD_BUNDLE when it is damaged or
 * too old, MESHD_MESH_EXISTS when another mesh is there.
 */
export async function openBundle(path: string, meshDir: string): Promise<Cluster> {
  const bundle = readBundle(path);
  const dir = { dir: meshDir };
  if (existsSync(join(meshDir, "mesh.json"))) {
    const here = await readCluster(dir);
    if (here?.secret === bundle.cluster.secret && here.self === bundle.host) return here;
    const message = `${meshDir} holds a mesh already; use another --state-dir`;
    throw new CommandError("MESHD_MESH_EXISTS", message);
  }
  for (const [name, text] of Object.entries(bundle.files)) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) throw badBundle(path, "a name of a file");
    // The mesh is there when this is: last.
    if (name !== "mesh.json") writeSecret(join(meshDir, name), plain(text));
  }
  await writeCluster(dir, bundle.cluster);
  writeSecret(join(meshDir, "mesh.json"), plain(bundle.files["mesh.json"] ?? ""));
  rmSync(path, { force: true });
  return bundle.cluster;
}

const plain = (text: string) => Buffer.from(text, "base64").toString("utf8");

function readBundle(path: string): Bundle {
  let bundle: Bundle;
  try {
    bundle = JSON.parse(readFileSync(path, "utf8")) as Bundle;
  } catch (cause) {
    throw badBundle(path, "it cannot be read", cause);
  }
  const { version, host, cluster, files, ends } = bundle;
  if (version !== 1 || typeof host !== "string" || !Array.isArray(cluster?.servers)) {
    throw badBundle(path, "its contents");
  }
  if (typeof files !== "object" || files === null || !files["mesh.json"]) {
    throw badBundle(path, "it has no keys");
  }
  if (!(Date.parse(ends) > Date.now())) throw badBundle(path, `it ended at ${ends}`);
  return bundle;
}

function badBundle(path: string, why: string, cause?: unknown): CommandError {
  const message =
    `${path} is no bundle of a cluster that can be used (${why}); ` +
    "'meshd up --cluster HOST,HOST,HOST' on the first host writes new ones";
  return new CommandError("MESHD_BUNDLE", message, { cause });
}
