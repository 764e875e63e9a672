// When the engine runs again: after every change of the view, at once for a device that was lost,
// and by a timer that compares the whole host. Also looks for what stands in the way: address,
// firewall.
import { networkInterfaces } from "node:os";
import { linkFeature, linkMtu } from "node-tun";
import type { MemberSession } from "../../control/index.js";
import type { Datapath } from "../datapath/index.js";
import {
  findFirewall,
  findPoolConflicts,
  gatherFacts,
  type HostFacts,
  underlayOf,
} from "../host/index.js";
import type { Pods } from "../pods/index.js";
import type { Beat } from "./beat.js";
import type { Engine } from "./engine.js";
import { messageOf } from "./errors.js";
import { HostEvents } from "./host-events.js";
import { canonicalAddress } from "./prefix.js";
import type { AgentLog, AgentOptions } from "./types.js";
import { chooseUnderlay, underlayWish } from "./underlay.js";

/**
 * The whole host is compared when something changed there, so often at most; when nothing is heard
 * of it, for what no event tells (inside of pods), so often at least. A step that failed is tried
 * again sooner, and while it goes on failing ever later.
 */
const FULL_MS = 30_000;
const UNHEARD_MS = 120_000;
/** Routes on the underlay's interface go when it does, and with whoever manages it. */
const FULL_BARE_MS = 5000;
const RETRY_MS = 3000;
/** Changes that come within this time are applied together. */
const GATHER_MS = 50;

/** UDP datagrams inside ipip or gre that the underlay's interface joins are never cut again. */
function joiningProblem(device: string, ipProtocols: readonly number[]): string[] {
  if (ipProtocols.length === 0 || !linkFeature(device, "rx-udp-gro-forwarding")) return [];
  const why = "joins UDP datagrams inside ipip and gre for good";
  return [
    `${device}: rx-udp-gro-forwarding ${why}: ethtool -K ${device} rx-udp-gro-forwarding off`,
  ];
}

export interface WatchParts {
  options: AgentOptions;
  deviceName: string;
  session: MemberSession;
  datapath: Datapath;
  pods: Pods;
  engine: Engine;
  beat: Beat;
  log: AgentLog;
  /** Conflicts found at start that were only worth a warning. */
  readonly warnings: readonly string[];
}

export class Watch {
  private timer: NodeJS.Timeout | undefined;
  private hasAddress = true;
  private tail: Promise<void> = Promise.resolve();
  private due_ms = 0;
  private retry_ms = RETRY_MS;
  private fullAt_ms = 0;
  private lookedAt_ms = 0;
  private events: HostEvents | undefined;
  private running = false;
  private firewall: string[] = [];
  private joined: string[] = [];
  private conflicts: readonly string[];
  private underlayProblem: string | undefined;

  private readonly onBeat = () => this.hear();
  private readonly onSnapshot = () => this.wake(GATHER_MS);
  private readonly onDevice = () => {
    this.parts.engine.forgetPublished();
    this.fullAt_ms = 0;
    this.wake(0);
  };
  private readonly onPublishFailed = ({ error }: { error: unknown }) => {
    this.parts.log("agent.publish.failed", { error: messageOf(error) });
    this.parts.engine.forgetPublished();
    this.wake(RETRY_MS);
  };

  constructor(private readonly parts: WatchParts) {
    this.conflicts = parts.warnings;
  }

  warnings(): string[] {
    const underlay = this.underlayProblem === undefined ? [] : [this.underlayProblem];
    return [...this.conflicts, ...underlay, ...this.firewall, ...this.joined];
  }

  /** Begins to watch; the first look for a firewall is done when it resolves. */
  async start(): Promise<void> {
    const { session, datapath } = this.parts;
    session.on("snapshot", this.onSnapshot);
    session.on("duplicate", this.onSnapshot);
    datapath.on("device-recreated", this.onDevice);
    datapath.on("publish-failed", this.onPublishFailed);
    this.running = true;
    this.events ??= HostEvents.open(this.parts.log);
    this.parts.beat.add(this.onBeat);
    await this.lookForFirewall();
    this.noteLook();
    this.wake(0);
  }

  /** Stops; resolves when the round at work is done. */
  async stop(): Promise<void> {
    const { session, datapath } = this.parts;
    session.off("snapshot", this.onSnapshot);
    session.off("duplicate", this.onSnapshot);
    datapath.off("device-recreated", this.onDevice);
    datapath.off("publish-failed", this.onPublishFailed);
    this.running = false;
    clearTimeout(this.timer);
    this.parts.beat.remove(this.onBeat);
    this.events?.close();
    this.events = undefined;
    await this.tail;
  }

  /** Each beat. On a host that lets us hear nothing, the address is looked at and no more. */
  private hear(): void {
    const changed = this.events?.read() ?? { any: false, addresses: true };
    if (changed.addresses) this.checkAddress();
    if (!changed.any) return;
    const isBare = this.parts.engine.plan().admission !== null;
    const pause_ms = isBare ? FULL_BARE_MS : FULL_MS;
    const next = Math.max(this.lookedAt_ms + pause_ms, performance.now());
    this.fullAt_ms = Math.min(this.fullAt_ms, next);
    this.wake(this.fullAt_ms - performance.now());
  }

  /** The whole host is looked at now: when does it have to be looked at again? */
  private noteLook(): void {
    this.lookedAt_ms = performance.now();
    this.fullAt_ms = this.lookedAt_ms + (this.events === undefined ? FULL_MS : UNHEARD_MS);
  }

  /** Probes found that a path carries more or less than the tables say. */
  pathsChanged(): void {
    this.wake(GATHER_MS);
  }

  /** A call came up or went: packets wait for the tables. */
  callsChanged(): void {
    this.wake(0);
  }

  /** The advertised address went or came back, or its interface's MTU changed: no need to wait. */
  private checkAddress(): void {
    const { address, device, mtu } = this.parts.engine.underlay();
    const held = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const has = held.some((item) => canonicalAddress(item.address) === canonicalAddress(address));
    const now = linkMtu(device);
    // One that is away is looked for with each change: another may have come in its place.
    if (!has || !this.hasAddress || (now > 0 && now !== mtu)) {
      this.hasAddress = has;
      this.fullAt_ms = 0;
      this.wake(0);
    }
  }

  /** Asks for a round in `delay_ms`, or earlier if one is due earlier. */
  private wake(delay_ms: number): void {
    const at = performance.now() + delay_ms;
    if (!this.running || (this.timer !== undefined && this.due_ms <= at)) {
      return;
    }
    clearTimeout(this.timer);
    this.due_ms = at;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.tail = this.tail.then(() => this.round());
    }, delay_ms);
  }

  private async round(): Promise<void> {
    if (!this.running) {
      return;
    }
    const full = performance.now() >= this.fullAt_ms;
    try {
      if (full) {
        this.noteLook();
        await this.lookAtHost();
        await this.lookForFirewall();
      }
      await this.parts.engine.apply(full);
    } catch (error) {
      this.parts.log("agent.round.failed", { error: messageOf(error) });
    }
    this.wake(this.nextRound_ms());
  }

  /** What fails again and again, such as a pod whose namespace is gone, is tried ever later. */
  private nextRound_ms(): number {
    if (!this.parts.engine.isTroubled()) {
      this.retry_ms = RETRY_MS;
      return Math.max(this.fullAt_ms - performance.now(), 0);
    }
    const wait_ms = this.retry_ms;
    this.retry_ms = Math.min(2 * wait_ms, FULL_MS);
    return wait_ms;
  }

  private async lookForFirewall(): Promise<void> {
    const { engine, deviceName } = this.parts;
    const { port, admission } = engine.plan();
    const ipProtocols = engine.raw()?.ipProtocols ?? [];
    const tunnel = port === 0 ? { ipProtocols } : { udpPort: port };
    // Bare packets are forwarded by the underlay's interface: a rule for mesh0 is no answer there.
    const bare = admission === null ? [] : [admission.device];
    const looks = [deviceName, ...bare].map((device) =>
      findFirewall({ device, pools: engine.ownPools(), ...tunnel }).catch(() => []),
    );
    const found = (await Promise.all(looks)).flat();
    const lines = [...new Set(found.map((obstacle) => obstacle.message))];
    if (lines.join() !== this.firewall.join() && lines.length > 0) {
      this.parts.log("agent.firewall", { found: lines });
    }
    this.firewall = lines;
    this.joined = joiningProblem(engine.underlay().device, ipProtocols);
  }

  /** What came to stand in the way since the start: refused then, a warning now. */
  private async lookAtHost(): Promise<void> {
    const { engine, deviceName, pods } = this.parts;
    const left = engine.plan().leftToUnderlay;
    const own = { devices: [deviceName, ...pods.devices()], pools: engine.ownPools(), left };
    const facts = await gatherFacts();
    this.conflicts = findPoolConflicts(facts, own).map(({ message }) => message);
    await this.refreshUnderlay(facts);
  }

  /** Keeps the advertised address while the host has it; else chooses again, as a start would. */
  private async refreshUnderlay(facts: HostFacts): Promise<void> {
    const { engine, options, deviceName, pods, session } = this.parts;
    const now = engine.underlay();
    const own = { devices: [deviceName, ...pods.devices()], pools: engine.ownPools() };
    try {
      const config = session.snapshot()?.config ?? null;
      const kept = underlayOf(facts, now.address);
      const next = kept ?? (await chooseUnderlay(underlayWish(options, config), own));
      engine.setUnderlay(next);
      if (next.address !== now.address) {
        this.parts.log("agent.underlay", { from: now.address, to: next.address });
        await session.reconnect();
      }
      this.underlayProblem = undefined;
    } catch (error) {
      this.underlayProblem = messageOf(error);
    }
  }
}
