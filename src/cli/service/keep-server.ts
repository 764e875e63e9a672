// The nats-server of `meshd up` while it runs: started again when it is gone or silent.
import { setTimeout as sleep } from "node:timers/promises";
import type { ServerCertificate } from "../../../control/index.js";
import type { Log } from "../../telemetry/index.js";
import { hasRoom } from "./disk-room.js";
import { natsDir, type Place } from "./process-files.js";

/** How often the nats-server's process is looked at. */
const WATCH_MS = 1000;
const WATCH_MAX_MS = 30_000;
/** So many beats, five seconds apart, and the store is taken for one that will not work again. */
export const FAILED_BEATS = 3;
/** A server that was started anew gets so long before it is judged again. */
const TRIAL_MS = 60_000;
/** The nats-server that this process runs. */
export interface OwnServer {
  host: string;
  port: number;
}

export interface RunningServer {
  url: string;
  pid: number;
  certificate: ServerCertificate | null;
  running(): Promise<boolean>;
  stop(): Promise<void>;
}

export interface Kept {
  place: Place;
  server: RunningServer;
  /** Starts it again. */
  start(): Promise<RunningServer>;
  log: Log;
  restarted(server: RunningServer): void;
  failedBeats(): number;
}

/**
 * Ends a server whose JetStream answers no more while its process runs on: after a full disk it
 * stays switched off, and a hung server is no better.
 */
async function endSilent({ place, server, log, failedBeats }: Kept): Promise<boolean> {
  const beats = failedBeats();
  if (beats < FAILED_BEATS || !(await hasRoom(natsDir(place)))) return false;
  log("nats-server.silent", { pid: server.pid, beats });
  await server.stop();
  return true;
}

/**
 * Starts the server again whenever its process is gone or silent; gives the last one when told to
 * stop.
 */
export async function keepServer(kept: Kept, stopped: Promise<void>): Promise<RunningServer> {
  let { server } = kept;
  let stop = false;
  void stopped.then(() => {
    stop = true;
  });
  let wait_ms = WATCH_MS;
  let judgedFrom_ms = 0;
  while (!stop) {
    await Promise.race([stopped, sleep(wait_ms, undefined, { ref: false })]);
    if (stop) break;
    const isOnTrial = performance.now() < judgedFrom_ms;
    const isSilent = !isOnTrial && (await endSilent({ ...kept, server }));
    if (!isSilent && (await server.running())) {
      wait_ms = WATCH_MS;
      continue;
    }
    judgedFrom_ms = performance.now() + TRIAL_MS;
    kept.log("nats-server.lost", { pid: server.pid });
    // A full disk or a taken port stays so for a while: neither the host nor the log is to fill up.
    wait_ms = Math.min(2 * wait_ms, WATCH_MAX_MS);
    try {
      server = await kept.start();
      kept.restarted(server);
      kept.log("nats-server.started", { pid: server.pid, url: server.url });
    } catch (error) {
      kept.log("nats-server.failed", { error, again_ms: wait_ms });
    }
  }
  return server;
}
