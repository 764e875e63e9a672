// The agent: starts a node, keeps it as the cluster wants it, answers on its socket, stops or
// leaves.
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchDesk } from "../bench/index.js";
import type { Datapath } from "../datapath/index.js";
import { ApiServer } from "./api.js";
import { BareCounters } from "./bare-counters.js";
import { openBenchDesk } from "./bench.js";
import { type Booted, boot } from "./boot.js";
import type { CallKeeper } from "./call-keeper.js";
import { metricsRoute, routesOf } from "./endpoints.js";
import type { Engine } from "./engine.js";
import { AgentError, messageOf } from "./errors.js";
import { removeFiles } from "./files.js";
import { withLastDrops } from "./last-drops.js";
import { explainMtu, type MtuExplanation } from "./pmtu/report.js";
import { QueueDrops } from "./queue-drops.js";
import { RefusedPackets } from "./refused.js";
import { openRunning, type Running } from "./running.js";
import { buildStatus, dropRows } from "./status.js";
import type { AgentOptions, AgentStatus, LeaveOptions, RunningAgent } from "./types.js";
import { Watch } from "./watch.js";

/** The reply to POST /stop or /leave goes out before the socket closes. */
const REPLY_MS = 100;

/** Seconds between two looks at what was refused of strangers and forgers. */
const REFUSED_BEATS = 5;

type End = "stopped" | "left";

export class Agent implements RunningAgent {
  readonly ended: Promise<End>;
  readonly engine: Engine;
  readonly datapath: Datapath;
  readonly pods: Booted["pods"];
  readonly deviceName: string;
  readonly bare: BareCounters;
  readonly queueDrops: QueueDrops;
  readonly calls: CallKeeper;
  private readonly watch: Watch;
  private readonly bench: BenchDesk;
  private readonly startedAt = new Date().toISOString();
  private readonly servers: ApiServer[] = [];
  private isReady = false;
  private ending: Promise<void> | undefined;
  /** Under way, until it is refused or done. */
  private leaving: Promise<void> | undefined;
  private hasLeft = false;
  private readonly askPeers = () => this.running.prober.tick();
  private readonly lookAtTraffic = () => this.running.lowLatency.look();
  private readonly askPaths = () => this.running.pathProber.beat();
  private readonly lookAtStrangers = () => this.running.datapath.strangers.look();
  private readonly refused: RefusedPackets;
  private readonly lookAtRefused = () =>
    this.refused.look(withLastDrops(dropRows(this), this.datapath, this.engine));
  private readonly askForms = () => this.running.flips.tick();
  private settleEnd: (end: End) => void = () => undefined;

  private constructor(private readonly running: Running) {
    this.engine = running.engine;
    this.datapath = running.datapath;
    this.pods = running.pods;
    this.deviceName = running.deviceName;
    this.bare = new BareCounters(running.deviceName);
    this.queueDrops = new QueueDrops(running.deviceName);
    this.calls = running.calls;
    this.refused = new RefusedPackets(running.log);
    this.watch = new Watch(running);
    running.pathProber.onChange = () => this.watch.pathsChanged();
    running.flips.onChange = () => this.watch.pathsChanged();
    running.calls.onChange = () => this.watch.callsChanged();
    this.bench = openBenchDesk(running);
    this.ended = new Promise((resolve) => {
      this.settleEnd = resolve;
    });
  }

  /**
   * Starts and resolves when the node forwards and its socket answers with ready:true.
   * @throws AgentError, ControlError, HostError, DatapathError: one line; the host is as it was.
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const log = options.log ?? (() => undefined);
    let agent: Agent | undefined;
    const asked = {
      status: () => agent?.countedStatus() ?? { ready: false },
      bench: (request: unknown) => ready(agent).bench.answer(request),
    };
    const booted = await boot(options, asked, log);
    try {
      agent = new Agent(await openRunning(booted, options, log));
    } catch (error) {
      await booted.undo();
      throw error;
    }
    try {
      await agent.begin();
    } catch (error) {
      await agent.abandon();
      throw error;
    }
    return agent;
  }

  private async begin(): Promise<void> {
    const { options, log, paths, engine } = this.running;
    await engine.apply(true);
    // Also a filter that cannot be put in place: who asked for it would think it stands.
    const steps = ["publish", "host", "pptp filter"];
    const failure = steps.map((step) => engine.failureOf(step)).find((one) => one !== undefined);
    if (failure !== undefined) {
      throw failure;
    }
    this.running.beat.add(this.askPeers);
    this.watchTraffic();
    this.running.beat.add(this.askPaths);
    this.running.beat.add(this.askForms);
    this.running.beat.add(this.lookAtStrangers);
    this.running.beat.add(this.lookAtRefused, REFUSED_BEATS);
    this.running.beat.add(this.calls.beat);
    await this.watch.start();
    this.servers.push(await ApiServer.listenOnSocket(paths.socket, routesOf(this), log));
    if (options.metricsListen !== undefined) {
      const at = options.metricsListen;
      this.servers.push(await ApiServer.listenOnTcp(at, [metricsRoute(this)], log));
    }
    this.isReady = true;
    const { name, state } = this.status().node;
    log("agent.ready", { node: name, state, device: this.deviceName, mtu: engine.plan().mtu });
    options.onReady?.(this.status());
  }

  /** The first packet after a pause is heard of by the worker that had it. */
  private watchTraffic(): void {
    if (!this.running.lowLatency.status().wanted) return;
    this.running.beat.add(this.lookAtTraffic);
    this.datapath.on("round", this.lookAtTraffic);
    this.lookAtTraffic();
  }

  private endWatches(): void {
    const { beat, lowLatency, prober, pathProber } = this.running;
    beat.remove(this.askPeers);
    prober.stop();
    beat.remove(this.askPaths);
    beat.remove(this.askForms);
    beat.remove(this.lookAtStrangers);
    beat.remove(this.lookAtRefused);
    beat.remove(this.calls.beat);
    pathProber.stop();
    beat.remove(this.lookAtTraffic);
    this.datapath.off("round", this.lookAtTraffic);
    lowLatency.release();
  }

  status(): AgentStatus {
    const { running } = this;
    const { session, membership, prober, pathProber, flips, options, lowLatency, kept } = running;
    return buildStatus({
      ...{ session, membership, prober, pathProber, flips, lowLatency, kept },
      ...{ bare: this.bare, queueDrops: this.queueDrops, calls: this.calls },
      ...{ engine: this.engine, datapath: this.datapath, pods: this.pods },
      deviceName: this.deviceName,
      version: options.version ?? "unknown",
      startedAt: this.startedAt,
      ready: this.isReady,
      warnings: this.watch.warnings(),
    });
  }

  /** With nftables' counts of this moment. */
  async countedStatus(): Promise<AgentStatus> {
    await this.bare.refresh(this.engine.plan().admission !== null);
    await this.engine.filter.refresh();
    return this.status();
  }

  /** The sum behind the size of packets to a peer; undefined when there is no peer of that name. */
  explainMtu(name: string): MtuExplanation | undefined {
    const { session, options, pathProber } = this.running;
    const plan = this.engine.plan();
    const index = plan.peers.findIndex((peer) => peer.name === name);
    const peer = plan.peers[index];
    const entry = plan.tables?.peers[index];
    if (peer === undefined || entry === undefined) {
      return undefined;
    }
    const snapshot = session.snapshot();
    return explainMtu({
      ...{ plan, peer, entry, underlay: this.engine.underlay(), deviceName: this.deviceName },
      setting: options.mtu ?? snapshot?.config.mtu ?? "auto",
      peerSays: snapshot?.nodes.get(peer.nodeId)?.mtu ?? null,
      finding: pathProber.finding(peer),
    });
  }

  /**
   * The process ends, the node stays: device, routes and pods remain, and nothing leaks
   * meanwhile.
   */
  stop(): Promise<void> {
    this.ending ??= this.end();
    return this.ending;
  }

  /** A leave that is under way comes to its end before. */
  private async end(): Promise<void> {
    await this.leaving?.catch(() => undefined);
    await this.close(this.hasLeft);
    this.settleEnd(this.hasLeft ? "left" : "stopped");
  }

  stopSoon(): void {
    setTimeout(() => void this.stop(), REPLY_MS);
  }

  async leave(options: LeaveOptions = {}): Promise<void> {
    if (this.ending !== undefined || this.leaving !== undefined) {
      throw new AgentError("MESHD_STOPPING", "the agent is already stopping");
    }
    const force = options.force === true;
    const count = this.pods.list().length;
    if (count > 0 && !force) {
      const them = count === 1 ? "it" : "them";
      const what = `${count} pod${count === 1 ? " exists" : "s exist"} on this node`;
      throw new AgentError(
        "MESHD_PODS_EXIST",
        `${what}: remove ${them} first, or leave with --force`,
      );
    }
    this.leaving = this.takeOut(force).finally(() => {
      this.leaving = undefined;
    });
    await this.leaving;
    // Our caller may be a request of the socket that is closed at the end.
    this.ending ??= sleep(REPLY_MS).then(() => this.end());
  }

  /** Gives the lease back and everything of ours off the host, or leaves all as it is. */
  private async takeOut(force: boolean): Promise<void> {
    await this.watch.stop();
    try {
      await this.giveBack(force);
    } catch (error) {
      await this.watch.start();
      throw error;
    }
    this.isReady = false;
    await this.uninstall();
    this.hasLeft = true;
  }

  /** Ends the membership at the controller. With force the host is cleaned even without it. */
  private async giveBack(force: boolean): Promise<void> {
    const { session, log } = this.running;
    // The membership has ended, or is another host's.
    if (this.engine.plan().member?.state === "removed" || session.twins.duplicate !== null) {
      return;
    }
    try {
      if (!session.connected) {
        const what = "NATS does not answer, so the lease cannot be given back";
        const fix = "try again later, or leave with --force and have the node removed";
        throw new AgentError("MESHD_NO_NATS", `${what}: ${fix} (meshd node remove)`);
      }
      await session.leave();
    } catch (error) {
      if (!force) {
        throw error;
      }
      log("agent.leave.failed", { error: messageOf(error) });
    }
  }

  /** Takes everything of ours off the host but the device, which goes when the datapath closes. */
  private async uninstall(): Promise<void> {
    const { paths, log } = this.running;
    this.endWatches();
    const { key, membership, ca, duplicate, snapshot, host, flips, dials, pods, secrets } = paths;
    const own = [key, membership, ca, duplicate, snapshot, host, flips, dials, pods, ...secrets];
    const steps = [
      () => this.pods.removeAll(),
      () => this.engine.remove(),
      () => removeFiles(...own),
    ];
    // The lease is given back: there is no way back here, so every step is tried.
    for (const step of steps) {
      await step().catch((error: unknown) => log("agent.leave.failed", { error }));
    }
    log("agent.left", { device: this.deviceName });
  }

  private async close(removeDevice: boolean): Promise<void> {
    const { session, lock, paths, log } = this.running;
    this.isReady = false;
    this.endWatches();
    await this.bench.stop();
    await this.watch.stop();
    await this.calls.stop();
    await Promise.all(this.servers.map((server) => server.close()));
    await removeFiles(paths.socket);
    if (!removeDevice) await this.engine.keepView();
    await session.close();
    await this.datapath.close({ removeDevice });
    await lock.release();
    log("agent.stopped", { device: this.deviceName, removeDevice });
  }

  /** A start that failed half-way: what a first start made is taken out again. */
  private async abandon(): Promise<void> {
    const { fresh } = this.running;
    await this.watch.stop();
    this.endWatches();
    await this.calls.stop();
    await Promise.all(this.servers.map((server) => server.close()));
    if (fresh) {
      await this.engine.remove().catch(() => undefined);
    }
    await this.datapath.close({ removeDevice: fresh });
    await this.running.undo();
    this.ending = Promise.resolve();
  }
}

function ready(agent: Agent | undefined): Agent {
  if (agent !== undefined) return agent;
  throw new AgentError("MESHD_STARTING", "the agent is still starting: try again in a moment");
}
