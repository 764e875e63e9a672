// The work of `meshd up`: keys, nats-server and controller, and the wait until they answer.
import { existsSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import {
  completeMesh,
  createMesh,
  type Ends,
  loadMesh,
  type Mesh,
  type NatsClientHelp,
  natsClientHelp,
  offlineKeysHere,
  readCluster,
  setMeshServers,
  unmakeMesh,
} from "../../../control/index.js";
import { meshDir, meshHere } from "../admin.js";
import { CommandError, type Context, type Invocation } from "../command.js";
import { authorityHere, endsHere, endsText, type ShownAuthority } from "../ends.js";
import { offlineKeysNote } from "../keys.js";
import { fields, Progress, print, warningLines } from "../output.js";
import { runController } from "../service/controller-process.js";
import { answering } from "../service/controller-ready.js";
import { type ControllerState, controllerState } from "../service/controller-state.js";
import { launch, serviceArgv } from "../service/launch.js";
import { natsDir, runningPid } from "../service/process-files.js";
import {
  type ClusterView,
  clusterHosts,
  clusterLines,
  clusterView,
  clusterWarnings,
  joinCluster,
  planCluster,
} from "./cluster.js";
import {
  advertisedUrl,
  checkSamePlan,
  checkUnchanged,
  givenMeshSettings,
  planUp,
  rememberPlan,
  type UpPlan,
} from "./plan.js";
import { upWithServers } from "./servers.js";

/** JSON of `up`; stable. */
interface UpView {
  mesh: string;
  meshId: string;
  servers: string[];
  adminCredentials: string;
  controllerPid: number;
  /** "" while it waits for the other servers of its cluster. */
  controllerId: string;
  natsPid: number | null;
  /** The CA that servers and clients of the mesh believe; null: the mesh has none. */
  ca: ShownAuthority | null;
  /** When the administrator's credentials, nats-server's certificate and the CA end. */
  ends: Ends;
  warnings: string[];
  /** Key files on this host that nothing which runs reads. */
  offlineKeys: string[];
  /** Absent: the mesh has one server. */
  cluster?: ClusterView;
  /** What the stock `nats` client needs to talk to this mesh as its administrator. */
  natsClient: NatsClientHelp;
}

/** Runs `meshd up`. */
export async function up(invocation: Invocation, context: Context): Promise<undefined | number> {
  const { settings } = invocation;
  // What a controller of another server was given once does not speak of this one.
  const isMeant = invocation.origins.nats !== "remembered";
  if (settings.nats !== undefined && isMeant) {
    return upWithServers(invocation, context, settings.nats);
  }
  const running = runningPid(settings, "controller");
  if (running !== undefined) return alreadyUp(invocation, context, running);
  const file = invocation.text("cluster-join");
  const bundled = file === undefined ? undefined : await joinCluster(invocation, file);
  const plan = await planUp(invocation, bundled);
  const isServerNew = !existsSync(natsDir(settings));
  const { mesh, isNew } = await ensureMesh(invocation, advertisedUrl(plan));
  const takeBack = rememberPlan(settings.stateDir, plan);
  const bundles = await bundlesOf(invocation, mesh, plan);
  const progress = new Progress(context);
  try {
    if (invocation.has("foreground")) {
      const own = { host: plan.listen, port: plan.port };
      return await runController(invocation, mesh, own, []);
    }
    progress.step("starting nats-server and controller");
    const state = await startUp(invocation, context, mesh);
    progress.done();
    print(invocation, context, await viewOf(mesh, state, bundles), upText);
    return undefined;
  } catch (error) {
    progress.done();
    takeBack();
    if (isNew) await unmake(invocation, mesh, isServerNew);
    throw error;
  }
}

/** Written each time that --cluster is given: a bundle is used once. */
async function bundlesOf(invocation: Invocation, mesh: Mesh, plan: UpPlan): Promise<string[]> {
  const hosts = clusterHosts(invocation);
  return hosts === undefined ? [] : planCluster(invocation, mesh, plan, hosts);
}

/** A mesh that never was: the next try may give it other settings. Its log stays, to be read. */
async function unmake({ settings }: Invocation, mesh: Mesh, isServerNew: boolean): Promise<void> {
  if (runningPid(settings, "controller") !== undefined) return;
  if ((await unmakeMesh(mesh)) && isServerNew) {
    rmSync(natsDir(settings), { recursive: true, force: true });
  }
}

async function startUp(
  invocation: Invocation,
  context: Context,
  mesh: Mesh,
): Promise<ControllerState> {
  const { stateDir, runDir } = invocation.settings;
  const { answer } = await launch(context, {
    service: "controller",
    place: { stateDir, runDir },
    argv: serviceArgv(["up"], invocation),
    ready: (pid) => answering(invocation, mesh, pid),
    wantSystemd: !invocation.has("no-systemd"),
  });
  return answer;
}

async function ensureMesh(
  invocation: Invocation,
  url: string,
): Promise<{ mesh: Mesh; isNew: boolean }> {
  const dir = meshDir(invocation.settings);
  const mesh = await meshHere(invocation.settings);
  if (mesh === undefined) {
    const name = invocation.text("name");
    const config = givenMeshSettings(invocation);
    const wish = { servers: [url], config, ...(name === undefined ? {} : { name }) };
    return { mesh: await createMesh(dir, wish), isNew: true };
  }
  checkSame(invocation, mesh);
  const whole = await completeMesh(mesh);
  const isSame = whole.servers.includes(url) || (await readCluster(mesh))?.state === "formed";
  return { mesh: isSame ? whole : await setMeshServers(dir, [url]), isNew: false };
}

/** Flags that speak of another mesh than the one that is here are refused, not ignored. */
function checkSame(invocation: Invocation, mesh: Mesh): void {
  const name = invocation.text("name");
  if (name !== undefined && name !== mesh.name) {
    const message = `${mesh.dir} holds mesh ${mesh.name}, not ${name}; use another --state-dir`;
    throw new CommandError("MESHD_MESH_EXISTS", message);
  }
  checkUnchanged(invocation, { ...mesh.config });
}

async function alreadyUp(
  invocation: Invocation,
  context: Context,
  pid: number,
): Promise<undefined> {
  const state = controllerState(invocation.settings);
  if (invocation.has("foreground") || state === undefined) {
    const message = `a controller runs here already (process ${pid}); 'meshd down' stops it`;
    throw new CommandError("MESHD_ALREADY_RUNNING", message);
  }
  const mesh = await loadMesh(meshDir(invocation.settings));
  checkSame(invocation, mesh);
  await checkSamePlan(invocation);
  const bundles = await bundlesOf(invocation, mesh, await planUp(invocation));
  print(invocation, context, await viewOf(mesh, state, bundles), upText);
}

async function viewOf(mesh: Mesh, state: ControllerState, bundles: string[]): Promise<UpView> {
  const cluster = await clusterView(mesh, bundles);
  return {
    mesh: mesh.name,
    meshId: mesh.meshId,
    servers: mesh.servers,
    adminCredentials: mesh.adminCredentials,
    controllerPid: state.pid,
    controllerId: state.controllerId,
    natsPid: state.natsPid,
    ca: authorityHere(mesh),
    ends: endsHere({ stateDir: dirname(mesh.dir) }).ends,
    offlineKeys: await offlineKeysHere(mesh),
    warnings: [...state.warnings, ...clusterWarnings(cluster)],
    ...(cluster === null ? {} : { cluster }),
    natsClient: natsClientHelp(mesh),
  };
}

function upText(view: UpView): string {
  const lines = fields([
    ["mesh", `${view.mesh} ${view.meshId}`],
    ["nats", `${view.servers.join(",")} (process ${view.natsPid})`],
    ["controller", `process ${view.controllerPid}`],
    ...clusterLines(view.cluster ?? null),
    ["admin", view.adminCredentials],
    ["ca", view.ca === null ? undefined : `${view.ca.file}, SHA-256 ${view.ca.fingerprint}`],
    ["ends", endsText(view.ends)],
    ["nats tool", view.natsClient.examples[0]],
    ["keys", offlineKeysNote(view.offlineKeys)],
    ["next", "meshd token create   (then, on each host: meshd join TOKEN)"],
  ]);
  return lines + warningLines(view.warnings);
}
