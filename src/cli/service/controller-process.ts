// The controller as a service of this host, with the nats-server of `up` beside it or without.
import { Controller, type Mesh } from "../../../control/index.js";
import { createLogger, eventLog, type Log } from "../../telemetry/index.js";
import type { Invocation } from "../command.js";
import { givenAuthorities } from "../nats-ca.js";
import { announced } from "./announced.js";
import { removeControllerState, stateOf, writeControllerState } from "./controller-state.js";
import type { OwnServer } from "./keep-server.js";
import { limitLogs } from "./log-limit.js";
import { forgetProcess, logFile, natsDir, type Place, rememberProcess } from "./process-files.js";
import { runWithServer } from "./server-run.js";

/**
 * Runs a controller until SIGTERM or SIGINT, with a nats-server of its own when `own` is given.
 * @param servers used when there is no own server
 */
export async function runController(
  invocation: Invocation,
  mesh: Mesh,
  own: OwnServer | undefined,
  servers: string[],
): Promise<number> {
  const { settings } = invocation;
  const stopped = stopSignal();
  const log = eventLog(createLogger({ level: settings.logLevel, format: settings.logFormat }));
  rememberProcess(settings, "controller");
  const logs = [logFile(settings, "controller"), `${natsDir(settings)}/nats-server.log`];
  const stopLimit = limitLogs(logs);
  try {
    if (own === undefined) {
      const ca = givenAuthorities(settings);
      await runWithout({ place: settings, mesh, servers, ca, log, stopped });
    } else await runWithServer({ place: settings, mesh, own, log, stopped });
    return 0;
  } finally {
    stopLimit();
    removeControllerState(settings);
    forgetProcess(settings, "controller");
  }
}

interface Without {
  place: Place;
  mesh: Mesh;
  servers: string[];
  /** Whose servers are believed, instead of the mesh's. */
  ca: ReturnType<typeof givenAuthorities>;
  log: Log;
  stopped: Promise<void>;
}

async function runWithout({ place, mesh, servers, ca, log, stopped }: Without): Promise<void> {
  const way = { servers, ...(ca === undefined ? {} : { ca }) };
  const announce = announced(mesh);
  const controller = await Controller.start({
    ...{ mesh, ...way, log, ...(announce && { announce }) },
    replicas: Math.min(3, announce?.servers.length ?? 1),
  });
  const { controllerId } = controller;
  const nats = servers.join(",");
  writeControllerState(place, stateOf(mesh, { nats, controllerId, natsPid: null, warnings: [] }));
  log("controller.ready", { mesh: mesh.name, nats });
  await stopped;
  await controller.close();
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
}
