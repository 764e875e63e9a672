// The way to the controllers: admin credentials of a mesh made here, or those named by flags.
import type { AdminClient, Mesh, MeshPlace } from "../../control/index.js";
import { ADMIN_REQUEST_TIMEOUT_MS, type Settings } from "../config/index.js";
import { CommandError } from "./command.js";
import { readIfThere } from "./files.js";
import { givenAuthorities } from "./nats-ca.js";

/** Folder of the mesh's keys on the host of a controller. */
export function meshDir(settings: Pick<Settings, "stateDir">): string {
  return `${settings.stateDir}/mesh`;
}

/** The mesh whose keys are here, undefined when there are none. */
export async function meshHere(settings: Pick<Settings, "stateDir">): Promise<Mesh | undefined> {
  const { loadMesh } = await control();
  try {
    return await loadMesh(meshDir(settings));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "MESHD_NO_MESH")
      return undefined;
    throw error;
  }
}

/** Whether there is anything to talk to a controller with. */
export async function hasAdmin(settings: Settings): Promise<boolean> {
  return settings.creds !== undefined || (await meshHere(settings)) !== undefined;
}

/** The NATS client takes 100 ms to load: only who asks a controller pays for it. */
const control = () => import("../../control/index.js");

/** What a credentials file says of its mesh; null when it says nothing or is not there. */
function placeIn(
  path: string,
  { readPlace }: Awaited<ReturnType<typeof control>>,
): MeshPlace | null {
  const text = readIfThere(path);
  return text === undefined ? null : readPlace(text);
}

/** An administrator who is on a node's host believes whom the node believes. */
const authoritiesOfNode = ({ stateDir }: Settings) => readIfThere(`${stateDir}/ca.pem`) ?? null;

async function connect(settings: Settings): Promise<AdminClient> {
  const mesh = await meshHere(settings);
  // A file that 'meshd admin add' wrote says where its mesh is.
  const place = settings.creds === undefined ? null : placeIn(settings.creds, await control());
  const servers = settings.nats ?? place?.servers ?? mesh?.servers;
  const credentials = settings.creds ?? mesh?.adminCredentials;
  const name = settings.mesh ?? place?.mesh ?? mesh?.name;
  if (servers === undefined || credentials === undefined) {
    const message =
      `no mesh was made here (${meshDir(settings)}); run this where 'meshd up' ran, ` +
      "or give --creds FILE of an administrator ('meshd admin add'), or --nats, --creds and --mesh";
    throw new CommandError("MESHD_NO_MESH", message);
  }
  if (name === undefined) {
    throw new CommandError("MESHD_NO_MESH", "--creds needs the mesh's name too: give --mesh NAME");
  }
  const { AdminClient } = await control();
  const isHere = mesh !== undefined && credentials === mesh.adminCredentials;
  const trusted = place?.mesh === name ? place : isHere ? mesh : undefined;
  const { meshId, grantKey } = trusted ?? {};
  const isTrusted = meshId !== undefined && grantKey !== undefined;
  return AdminClient.connect({
    ca: givenAuthorities(settings) ?? trusted?.ca ?? authoritiesOfNode(settings),
    ...(isTrusted ? { trust: { meshId, grantKey } } : {}),
    servers,
    credentials,
    mesh: name,
    timeout_ms: ADMIN_REQUEST_TIMEOUT_MS,
  });
}

/** Connects, lets `use` ask, and closes whatever happens. */
export async function withAdmin<T>(
  settings: Settings,
  use: (admin: AdminClient) => Promise<T>,
): Promise<T> {
  const admin = await connect(settings);
  try {
    return await use(admin);
  } finally {
    await admin.close();
  }
}
