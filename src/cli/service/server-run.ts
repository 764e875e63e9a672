// A controller with a nats-server of its own: alone, as one of a cluster, and the step from the one
// to the other while members go on (ADR 0043).
import { existsSync, renameSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Cluster,
  Controller,
  clientUrl,
  type Handover,
  hadStore,
  isJetStreamOff,
  type Mesh,
  otherServers,
  readCluster,
  type ServerCertificate,
  type ServersRecord,
  serverName,
  setMeshServers,
  writeCluster,
} from "../../../control/index.js";
import { startNatsServer } from "../../natsd/index.js";
import type { Log } from "../../telemetry/index.js";
import { readIfThere, writeSecret } from "../files.js";
import { removeUsedBundles } from "./bundle-files.js";
import { othersReady } from "./cluster-look.js";
import { plainWarnings, stateOf, writeControllerState } from "./controller-state.js";
import { hasRoom } from "./disk-room.js";
import { FAILED_BEATS, keepServer, type OwnServer, type RunningServer } from "./keep-server.js";
import { natsDir, type Place } from "./process-files.js";

const look_ms = 2_000;
const again_ms = 1_000;
/** The own server is asked how it is at each third look. */
const own_looks = 3;
/** A cluster that does not take the records by then is given up for this time. */
const grow_max_ms = 90_000;

export interface WithServer {
  place: Place;
  mesh: Mesh;
  own: OwnServer;
  log: Log;
  stopped: Promise<void>;
}

const handoverFile = (mesh: Mesh) => `${mesh.dir}/handover.json`;
const storeOf = (place: Place) => `${natsDir(place)}/jetstream`;
const storeAlone = (place: Place) => `${natsDir(place)}/jetstream.alone`;

/** Runs until told to stop; a server that works alone becomes one of its cluster meanwhile. */
export async function runWithServer(run: WithServer): Promise<void> {
  let isStopped = false;
  void run.stopped.then(() => {
    isStopped = true;
  });
  let restUntil = 0;
  while (!isStopped) {
    const cluster = await readCluster(run.mesh);
    const round = new Round(run, cluster?.state === "formed" ? cluster : null, restUntil);
    if ((await round.run()) === "given up") restUntil = Date.now() + grow_max_ms;
  }
}

/** One life of the nats-server, alone or in the cluster. */
class Round {
  readonly #run: WithServer;
  readonly #cluster: Cluster | null;
  readonly #restUntil: number;
  readonly #over = new AbortController();
  #server: RunningServer | null = null;
  #controllerId = "";
  #looks = 0;
  #offLooks = 0;
  #wasFull = false;

  constructor(run: WithServer, cluster: Cluster | null, restUntil: number) {
    this.#run = run;
    this.#cluster = cluster;
    this.#restUntil = restUntil;
    void run.stopped.then(() => this.#over.abort());
  }

  async run(): Promise<"stopped" | "grown" | "given up"> {
    this.#server = await this.#startServer();
    const over = new Promise<void>((done) =>
      this.#over.signal.addEventListener("abort", () => done(), { once: true }),
    );
    const { log } = this.#run;
    const restarted = (now: RunningServer) => {
      this.#server = now;
      this.#wasFull = false;
      this.#offLooks = 0;
      this.#say();
    };
    const start = () => this.#startServer();
    let controller: Controller | null = null;
    // In a cluster the store may be silent because others are away: a new start would not help.
    const failedBeats = () =>
      this.#cluster === null ? (controller?.failedBeats ?? 0) : this.#offLooks;
    const { place } = this.#run;
    const kept = { place, server: this.#server, start, log, restarted, failedBeats };
    const keeping = keepServer(kept, over);
    try {
      this.#say();
      controller = await this.#startController();
      if (controller === null) return this.#isOver ? "stopped" : await this.#giveUp();
      this.#controllerId = controller.controllerId;
      this.#say();
      log("controller.ready", { mesh: this.#run.mesh.name, nats: this.#server?.url });
      const cluster = await this.#untilGrowing();
      if (cluster === null) return "stopped";
      log("cluster.growing", { servers: cluster.servers.map(({ host }) => host) });
      const handover = await controller.handOver();
      await controller.close();
      controller = null;
      await this.#toCluster(cluster, handover);
      return "grown";
    } finally {
      this.#over.abort();
      await controller?.close();
      await keeping;
      await this.#server?.stop();
    }
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted;
  }

  #startServer(): Promise<RunningServer> {
    const { mesh, place, own, log } = this.#run;
    const cluster = this.#cluster === null ? {} : { cluster: this.#cluster };
    const where = { host: own.host, port: own.port, dir: natsDir(place) };
    // A group of its own: Ctrl-C reaches this process alone, which then stops the server in order.
    const onRenewal = (renewed: ServerCertificate | Error) =>
      renewed instanceof Error
        ? log("nats-server.certificate-not-renewed", { error: renewed })
        : log("nats-server.certificate-renewed", { ends: renewed.ends.toISOString() });
    return startNatsServer({ mesh, ...where, ...cluster, onRenewal, detached: true });
  }

  /** Without an id as long as no controller answers: it waits for the others of the cluster. */
  #say(): void {
    const { mesh, place, own } = this.#run;
    const nats = this.#server?.url ?? "";
    const state = { nats, controllerId: this.#controllerId, natsPid: this.#server?.pid ?? null };
    if (state.controllerId === "" && this.#cluster === null) return;
    writeControllerState(
      place,
      stateOf(mesh, { ...state, warnings: this.#server?.certificate ? [] : plainWarnings(own) }),
    );
  }

  /** null: told to stop, or the cluster did not take the records in time. */
  async #startController(): Promise<Controller | null> {
    const { mesh, log } = this.#run;
    const servers = [this.#server?.url ?? ""];
    if (this.#cluster === null) return Controller.start({ mesh, servers, log });
    const cluster = this.#cluster;
    const restore = readHandover(mesh);
    const end = Date.now() + grow_max_ms;
    servers.push(...otherServers(cluster).map(clientUrl));
    while (!this.#isOver && (restore === null || Date.now() < end)) {
      try {
        const waits = (await hadStore(mesh)) ? {} : { waits: this.#over.signal };
        const controller = await Controller.start({
          ...{ mesh, servers, log, timeout_ms: 30_000, announce: recordOf(cluster) },
          ...(restore === null ? waits : { restore }),
          ...{ replicas: Math.min(3, cluster.servers.length), host: cluster.self },
          onServers: (record) => void this.#useServers(record),
        });
        rmSync(handoverFile(mesh), { force: true });
        return controller;
      } catch (error) {
        log("controller.waiting", { error });
        await sleep(again_ms, undefined, { signal: this.#over.signal }).catch(() => undefined);
      }
    }
    return null;
  }

  /** Tokens, administrators and the next start here know what the record says. */
  async #useServers(record: ServersRecord): Promise<void> {
    const urls = record.servers.map(({ url }) => url);
    await setMeshServers(this.#run.mesh.dir, urls).catch((error: unknown) =>
      this.#run.log("servers-not-kept", { error }),
    );
  }

  /** A cluster is wanted, and all of its others are there; null when told to stop before. */
  async #untilGrowing(): Promise<Cluster | null> {
    while (!this.#isOver) {
      await sleep(look_ms, undefined, { signal: this.#over.signal }).catch(() => undefined);
      if (this.#cluster !== null) await this.#lookAtOwn(this.#cluster);
      const wanted = this.#cluster ?? (await readCluster(this.#run.mesh));
      if (wanted) await this.#removeBundles(wanted);
      if (this.#cluster !== null || Date.now() < this.#restUntil) continue;
      if (wanted && (await othersReady(this.#run.mesh, wanted))) return wanted;
    }
    return null;
  }

  async #removeBundles(cluster: Cluster): Promise<void> {
    const { mesh, place, log } = this.#run;
    const hosts = await removeUsedBundles(mesh, cluster, place.stateDir);
    if (hosts.length > 0) log("cluster.bundles-removed", { hosts });
  }

  /**
   * After a full disk a server is of no use to its cluster until it is started again: its JetStream
   * is off, or disturbs the others' elections (2.9.10).
   */
  async #lookAtOwn({ self }: Cluster): Promise<void> {
    this.#looks++;
    const { mesh, place } = this.#run;
    if (!(await hasRoom(natsDir(place)))) this.#wasFull = true;
    else if (this.#wasFull) this.#offLooks = FAILED_BEATS;
    if (this.#looks % own_looks !== 0 || this.#offLooks >= FAILED_BEATS) return;
    const name = serverName(mesh, self);
    const isOff = await isJetStreamOff(mesh, this.#server?.url ?? "", name);
    this.#offLooks = isOff ? this.#offLooks + 1 : 0;
  }

  /** All that is needed to go on is on disk before the first irrevocable step, and stays there. */
  async #toCluster(cluster: Cluster, handover: Handover): Promise<void> {
    const { mesh, place } = this.#run;
    writeSecret(handoverFile(mesh), JSON.stringify(handover));
    this.#over.abort();
    await this.#server?.stop();
    rmSync(storeAlone(place), { recursive: true, force: true });
    if (existsSync(storeOf(place))) renameSync(storeOf(place), storeAlone(place));
    await writeCluster(mesh, { ...cluster, state: "formed" });
  }

  /** Back to the store that was: nothing was given since. */
  async #giveUp(): Promise<"given up"> {
    const { mesh, place, log } = this.#run;
    log("cluster.given-up", { after_ms: grow_max_ms });
    this.#over.abort();
    await this.#server?.stop();
    if (existsSync(storeAlone(place))) {
      rmSync(storeOf(place), { recursive: true, force: true });
      renameSync(storeAlone(place), storeOf(place));
    }
    rmSync(handoverFile(mesh), { force: true });
    if (this.#cluster) await writeCluster(mesh, { ...this.#cluster, state: "standalone" });
    return "given up";
  }
}

function recordOf(cluster: Cluster): ServersRecord {
  const places = cluster.servers.map((server) => ({
    url: clientUrl(server),
    routePort: server.routePort,
  }));
  return { generation: cluster.generation, servers: places };
}

/** What a step to the cluster left behind that did not come to its end. */
function readHandover(mesh: Mesh): Handover | null {
  const text = readIfThere(handoverFile(mesh));
  return text === undefined ? null : (JSON.parse(text) as Handover);
}
