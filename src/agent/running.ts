// What a node that runs consists of: the packet path, what asks peers and paths, the engine.
import { Datapath } from "../datapath/index.js";
import { accountsOf } from "./accounts.js";
import { Beat } from "./beat.js";
import type { Booted } from "./boot.js";
import { CallKeeper } from "./call-keeper.js";
import { Engine, protocolOf } from "./engine.js";
import { readText } from "./files.js";
import { parseFlipState } from "./flip-state.js";
import { Flips } from "./flips.js";
import { HostKeeper } from "./host-keeper.js";
import { workerCount } from "./local.js";
import { LowLatency } from "./low-latency.js";
import { NeighbourProbes } from "./neighbour-probes.js";
import { PathProber } from "./pmtu/prober.js";
import { Prober } from "./probes.js";
import type { AgentLog, AgentOptions } from "./types.js";

export interface Running extends Booted {
  options: AgentOptions;
  log: AgentLog;
  datapath: Datapath;
  prober: Prober;
  beat: Beat;
  lowLatency: LowLatency;
  pathProber: PathProber;
  flips: Flips;
  calls: CallKeeper;
  keeper: HostKeeper;
  engine: Engine;
}

/** Opens the packet path and puts the parts together; nothing is published or asked yet. */
export async function openRunning(
  booted: Booted,
  options: AgentOptions,
  log: AgentLog,
): Promise<Running> {
  const { deviceName, underlay, plan, config, paths, session, pods } = booted;
  const keeper = await HostKeeper.open(deviceName, paths.host);
  const { family, address } = underlay;
  const { peerCapacity, prefixCapacity, socketBuffer, steering = "auto" } = options;
  const datapath = await Datapath.open({
    deviceName,
    workers: workerCount(options, config),
    steering,
    underlay: { family, address, port: plan.port, protocol: protocolOf(plan) },
    persist: true,
    ...(peerCapacity === undefined ? {} : { peerCapacity }),
    ...(prefixCapacity === undefined ? {} : { prefixCapacity }),
    ...(socketBuffer === undefined ? {} : { socketBuffer }),
    log,
  });
  const traffic = () => datapath.traffic();
  const prober = new Prober({
    inject: (packet) => datapath.inject(packet),
    signs: () => datapath.peerSigns.read(),
    others: () => pathProber.takeIdleAsked(),
    neighbours: (ear) => new NeighbourProbes(ear),
    log,
  });
  const { lowLatency: wanted = false } = options;
  const listen = () => datapath.listen();
  const lowLatency = new LowLatency({ wanted, traffic, listen, log });
  const pathProber = new PathProber({
    inject: (packet) => datapath.inject(packet),
    onAnswer: (key, asked_ms) => prober.onAnswerElsewhere(key, asked_ms),
    packetsTo: (peers) => datapath.peerSigns.packetsTo(peers),
    ...(options.pathTimers === undefined ? {} : { timers: options.pathTimers }),
  });
  const saved = parseFlipState(await readText(paths.flips));
  const flips = new Flips({
    ask: (packet, index) => datapath.injectTo(packet, index),
    ...(saved === undefined ? {} : { saved }),
  });
  datapath.onPunt(
    (packet) => prober.onPunt(packet) || pathProber.onPunt(packet) || flips.onPunt(packet),
  );
  const calls = await CallKeeper.open({
    ...{ options, session, pods, log, port: datapath.calls, path: paths.dials },
    accounts: accountsOf(session),
  });
  const probers = { prober, pathProber, flips, calls };
  const parts = { options, deviceName, session, datapath, keeper, pods, ...probers, log };
  const files = { kept: booted.kept, flipsPath: paths.flips };
  const engine = new Engine({ ...parts, ...files }, underlay, plan);
  return { ...booted, ...parts, engine, lowLatency, beat: new Beat() };
}
