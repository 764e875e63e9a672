// What of a control plane belongs on this host, and what of it is amiss: for `meshd status`.
import { existsSync } from "node:fs";
import {
  type Ends,
  type Mesh,
  readIncident,
  type StoreIncident,
  storeReportFile,
} from "../../control/index.js";
import { meshDir, meshHere } from "./admin.js";
import { CommandError, type Invocation } from "./command.js";
import { endsHere, endsText } from "./ends.js";
import { readIfThere } from "./files.js";
import { agoText, warningLines } from "./output.js";
import { type ControllerState, controllerState } from "./service/controller-state.js";
import { natsDir, type Place, runningPid } from "./service/process-files.js";
import { clusterView, clusterWarnings } from "./up/cluster.js";

/** The controller that runs here, with the last time that its store came back empty or older. */
export type ShownController = ControllerState & {
  store: Pick<StoreIncident, "kind" | "found"> | null;
  /** Of the administrator's credentials, nats-server's certificate and the CA. */
  ends: Ends;
};

/** JSON of `status`, part `control`; stable. null: no mesh was made here. */
export interface ControlHere {
  mesh: string;
  /** Whether a controller is ready here. */
  controller: boolean;
  /** Whether the nats-server of `meshd up` runs here; null: it belongs to somebody else. */
  natsServer: boolean | null;
  /** Hosts of the cluster that do not answer as servers of it. */
  missing: string[];
  /** What is down or away, and what to do. */
  problems: string[];
}

/** The controller that runs here; null: none is ready. */
export function shownController({ settings }: Invocation): ShownController | null {
  const state = controllerState(settings);
  if (state === undefined) return null;
  const incident = readIncident(readIfThere(storeReportFile({ dir: meshDir(settings) })) ?? null);
  const store = incident && { kind: incident.kind, found: incident.found };
  const { ends, warnings } = endsHere(settings);
  return { ...state, store, ends, warnings: [...state.warnings, ...warnings] };
}

/** Looks at this host's processes, and whether the cluster's other servers answer. */
export async function controlHere(
  { settings }: Invocation,
  controller: ShownController | null,
): Promise<ControlHere | null> {
  const mesh = await meshHere(settings);
  if (mesh === undefined) return null;
  const view = await clusterView(mesh, []);
  const missing = view?.state === "formed" ? view.missing : [];
  const natsServer = existsSync(natsDir(settings)) ? ownServerRuns(settings) : null;
  const here = { mesh: mesh.name, controller: controller !== null, natsServer, missing };
  const own = { waits: controller?.controllerId === "", pid: runningPid(settings, "controller") };
  const problems = [...problemsHere(mesh, here, own), ...clusterWarnings(view)];
  return { ...here, problems };
}

function problemsHere(
  { name }: Mesh,
  { controller, natsServer }: Pick<ControlHere, "controller" | "natsServer">,
  { waits, pid }: { waits: boolean; pid: number | undefined },
): string[] {
  if (!controller && pid !== undefined) {
    return [`the controller of mesh ${name} (process ${pid}) is not ready yet: controller.log`];
  }
  if (!controller) {
    if (natsServer === null) {
      return [`the controller of mesh ${name} does not run here: 'meshd controller' starts it`];
    }
    const server = natsServer ? "its nats-server runs on" : "nor does its nats-server";
    return [`the controller of mesh ${name} does not run here, ${server}: 'meshd up' starts it`];
  }
  const waiting = "the controller answers nobody yet: it waits for the other hosts of its cluster";
  const down = "nats-server does not run: the controller starts it again (nats/nats-server.log)";
  return [...(natsServer === false ? [down] : []), ...(waits ? [waiting] : [])];
}

/** By its command line: a number that now belongs to another process is none. */
function ownServerRuns(place: Pick<Place, "stateDir">): boolean {
  const dir = natsDir(place);
  try {
    const { pid } = JSON.parse(readIfThere(`${dir}/nats-server.json`) ?? "{}") as { pid?: unknown };
    const line = Number.isInteger(pid) ? readIfThere(`/proc/${pid}/cmdline`) : undefined;
    return line?.split("\0").includes(`${dir}/nats-server.conf`) ?? false;
  } catch {
    return false;
  }
}

/** On a host that is no node and has no controller: there is nothing else to show. */
export function downError({ problems }: ControlHere): CommandError {
  return new CommandError("MESHD_CONTROLLER_DOWN", problems.join("; "));
}

export function controlText(
  controller: ShownController | null,
  control: ControlHere | null,
): string {
  const problems = warningLines(control?.problems ?? []);
  return (controller === null ? "" : controllerText(controller)) + problems;
}

function controllerText(controller: ShownController): string {
  const { store } = controller;
  const line = `controller  process ${controller.pid}, nats ${controller.nats}\n`;
  const how = store?.kind === "empty" ? "empty" : "older than it had been";
  const came =
    store && `store       came back ${how} ${agoText(store.found)}; 'meshd store report'\n`;
  const ends = endsText(controller.ends);
  const last = ends === undefined ? "" : `ends        ${ends}\n`;
  return line + last + (came ?? "") + warningLines(controller.warnings);
}
