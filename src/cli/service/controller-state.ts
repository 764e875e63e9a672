// What a controller process says of itself in the run directory when it is ready.
import { rmSync } from "node:fs";
import { CommandError } from "../command.js";
import { readIfThere, writeSecret } from "../files.js";
import { type Place, runningPid } from "./process-files.js";

export interface ControllerState {
  pid: number;
  mesh: string;
  meshId: string;
  /** "" as long as it waits for the other servers of its cluster. */
  controllerId: string;
  /** URL the controller itself uses. */
  nats: string;
  /** Process of the nats-server it runs; null when it uses one of somebody else. */
  natsPid: number | null;
  started: string;
  /** What an operator should know of this mesh's safety. */
  warnings: string[];
}

/** Whether an address, "host:port" or a URL stays on this host. */
export function isLoopback(place: string): boolean {
  return /^([a-z]+:\/\/)?(127(\.\d{1,3}){3}|localhost|::1|\[::1\])(:\d+)?$/.test(place);
}

/** What to say of a nats-server of ours that others reach: it has no TLS. */
export function plainWarnings({ host, port }: { host: string; port: number }): string[] {
  if (isLoopback(host)) return [];
  const place = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  const what =
    `NATS on ${place} is not encrypted: no secret crosses, but who is on that network can read ` +
    "all records and requests, and take a connection over; keep it on a network you trust";
  return [what];
}

type Known = Pick<ControllerState, "nats" | "controllerId" | "natsPid" | "warnings">;

/** The state of this process. */
export function stateOf(mesh: { name: string; meshId: string }, known: Known): ControllerState {
  const started = new Date(performance.timeOrigin).toISOString();
  return { pid: process.pid, mesh: mesh.name, meshId: mesh.meshId, started, ...known };
}

const fileIn = (place: Place) => `${place.runDir}/controller.json`;

export function writeControllerState(place: Place, state: ControllerState): void {
  writeSecret(fileIn(place), `${JSON.stringify(state, null, 2)}\n`);
}

export function removeControllerState(place: Place): void {
  rmSync(fileIn(place), { force: true });
}

/**
 * The state of the controller that runs here now; undefined when none is ready.
 * @throws CommandError MESHD_STATE_DAMAGED when one runs and its file says nothing
 */
export function controllerState(place: Place): ControllerState | undefined {
  const text = readIfThere(fileIn(place));
  if (text === undefined) return undefined;
  const running = runningPid(place, "controller");
  if (running === undefined) return undefined;
  const state = parsed(place, text);
  return running === state.pid ? state : undefined;
}

function parsed(place: Place, text: string): ControllerState {
  try {
    const state = JSON.parse(text) as ControllerState;
    if (Number.isInteger(state.pid)) return state;
  } catch {
    // Said below, with what to do.
  }
  const file = fileIn(place);
  const what = `${file} is damaged: run 'meshd down', then 'meshd up', which writes it anew`;
  throw new CommandError("MESHD_STATE_DAMAGED", what);
}
