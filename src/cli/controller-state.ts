// What a controller process says of itself in the run directory when it is ready.
import { rmSync } from "node:fs";
import { readIfThere, writeSecret } from "./files.js";
import { type Place, runningPid } from "./process-files.js";

export interface ControllerState {
  pid: number;
  mesh: string;
  meshId: string;
  controllerId: string;
  /** URL the controller itself uses. */
  nats: string;
  /** Process of the nats-server it runs; null when it uses one of somebody else. */
  natsPid: number | null;
  started: string;
}

const fileIn = (place: Place) => `${place.runDir}/controller.json`;

export function writeControllerState(place: Place, state: ControllerState): void {
  writeSecret(fileIn(place), `${JSON.stringify(state, null, 2)}\n`);
}

export function removeControllerState(place: Place): void {
  rmSync(fileIn(place), { force: true });
}

/** The state of the controller that runs here now; undefined when none is ready. */
export function controllerState(place: Place): ControllerState | undefined {
  const text = readIfThere(fileIn(place));
  if (text === undefined) return undefined;
  const state = JSON.parse(text) as ControllerState;
  return runningPid(place, "controller") === state.pid ? state : undefined;
}
