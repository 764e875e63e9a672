// `meshd up --nats`: a mesh on nats-servers of somebody else, one or a cluster. They must know the
// mesh's operator: the lines for that are written, and the controller begins once they do.
import { join } from "node:path";
import {
  acceptsMesh,
  createMesh,
  type Mesh,
  natsIncludeText,
  setMeshServers,
} from "../../../control/index.js";
import { meshDir, meshHere } from "../admin.js";
import { CommandError, type Context, type Invocation } from "../command.js";
import { writeSecret } from "../files.js";
import { givenAuthorities } from "../nats-ca.js";
import { announce } from "../service/announced.js";
import { controller } from "../service/controller-run.js";
import { checkUnchanged, givenMeshSettings } from "./plan.js";

/** Runs `meshd up --nats`. MESHD_NATS_SETUP: the servers do not know the mesh yet. */
export async function upWithServers(
  invocation: Invocation,
  context: Context,
  servers: string[],
): Promise<undefined | number> {
  const mesh = await ensureMesh(invocation, servers);
  announce(mesh, servers);
  const ca = givenAuthorities(invocation.settings) ?? mesh.ca;
  if (!(await acceptsMesh(mesh, { servers, ca: () => ca }))) {
    throw await setupNeeded(invocation, mesh, servers);
  }
  return controller(invocation, context);
}

async function ensureMesh(invocation: Invocation, servers: string[]): Promise<Mesh> {
  const dir = meshDir(invocation.settings);
  const here = await meshHere(invocation.settings);
  if (here !== undefined) {
    checkUnchanged(invocation, { ...here.config });
    const isSame = here.servers.join() === servers.join();
    return isSame ? here : setMeshServers(dir, servers);
  }
  const name = invocation.text("name");
  const config = givenMeshSettings(invocation);
  // Their certificates are not of a CA of ours: --nats-ca says whose.
  const wish = { servers, config, tls: servers.some((url) => !url.startsWith("nats:")) };
  return createMesh(dir, { ...wish, ...(name === undefined ? {} : { name }) });
}

/** What the servers need of the mesh is public; who may sign for it stays here. */
async function setupNeeded(
  { settings }: Invocation,
  mesh: Mesh,
  servers: string[],
): Promise<CommandError> {
  const path = join(settings.stateDir, `${mesh.name}.nats.conf`);
  writeSecret(path, await natsIncludeText(mesh));
  const message =
    `${servers.join(",")} do not know mesh ${mesh.name}: copy ${path} to each of them, add ` +
    `'include "${mesh.name}.nats.conf"' to its nats-server.conf, beside jetstream with a ` +
    "store_dir and without any operator, accounts or users of its own, start it again, and run " +
    "this command once more";
  return new CommandError("MESHD_NATS_SETUP", message);
}
