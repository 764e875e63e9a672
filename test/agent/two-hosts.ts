// Two hosts with a real agent each, a real nats-server and controller, joined by tokens:
//
//   ns one --192.168.77.1/24-- hub (router, nats-server, controller) --192.168.78.1/24-- ns two
//   pods p1, p2 behind one and two; VXLAN crosses the hub as ordinary UDP
import { join } from "node:path";
import * as assert from "uvu/assert";
import type { AgentOptions } from "../../src/agent/index.js";
import type { Pod } from "../../src/pods/index.js";
import { clearDirectory, makeDirectory } from "../support/ends.js";
import {
  adoptNamespace,
  createNamespace,
  deleteNamespace,
  joinByVeth,
  pings,
  runSync,
  uniqueDevice,
  uniqueName,
} from "../support/netns.js";
import { DrivenAgent, DrivenController } from "./driven.js";

const NATS_PORT = 4222;
const config = {
  clusterPoolIPv6PodCIDR: "fd00:244::/48",
  clusterPoolIPv6MaskSize: 64,
  leaseQuarantine: 600,
};

/** Starts what comes behind it without CAP_NET_RAW. */
export const WITHOUT_RAW = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"];

export class TwoHosts {
  private readonly directory = makeDirectory("e2e");
  private readonly hub = createNamespace("hub");
  private readonly agents: DrivenAgent[] = [];
  private readonly pods: Pod[] = [];
  readonly controller: DrivenController;

  private constructor(private readonly extra: Partial<AgentOptions>) {
    runSync(this.hub, ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
    this.makeHost("192.168.77");
    this.makeHost("192.168.78");
    if (extra.underlayProtocol === "ipv6") this.addIPv6();
    const mesh = join(this.directory, "mesh");
    this.controller = new DrivenController(this.hub, mesh, "192.168.77.254", NATS_PORT, config);
  }

  private readonly namespaces: string[] = [];

  /** Both agents are ready and have joined; no pods yet. */
  static async start(extra: Partial<AgentOptions> = {}): Promise<TwoHosts> {
    const hosts = new TwoHosts(extra);
    await hosts.controller.started();
    for (const [index, name] of ["n1", "n2"].entries()) {
      await hosts.restart(index, await hosts.controller.token(), name);
    }
    return hosts;
  }

  async stop(): Promise<void> {
    for (const one of this.agents) if (one.child.exitCode === null) await one.end("SIGKILL");
    await this.controller.stop();
    for (const one of this.pods) deleteNamespace(one.netns);
    clearDirectory(this.directory);
  }

  optionsOf(name: string, token?: string): AgentOptions {
    return {
      stateDir: join(this.directory, name, "state"),
      runDir: join(this.directory, name, "run"),
      name,
      version: "0.1.0",
      // One node with one worker, one with two: both kinds of device are opened and taken up.
      workers: name === "n2" ? 2 : 1,
      metricsListen: { host: "127.0.0.1", port: 9477 },
      ...this.extra,
      ...(token === undefined ? {} : { token }),
    };
  }

  /** A host at the hub: `subnet`.1, default route by `subnet`.254. */
  makeHost(subnet: string): string {
    const device = uniqueDevice("hub");
    const namespace = createNamespace("node");
    joinByVeth(
      { namespace, device: "eth0", addresses: [`${subnet}.1/24`] },
      { namespace: this.hub, device, addresses: [`${subnet}.254/24`] },
    );
    runSync(namespace, ["ip", "route", "add", "default", "via", `${subnet}.254`]);
    this.namespaces.push(namespace);
    return namespace;
  }

  /** Each link gets IPv6 too, fd77::/64 and fd78::/64, for tunnels that run over it. */
  private addIPv6(): void {
    runSync(this.hub, ["sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1"]);
    for (const [index, host] of this.namespaces.entries()) {
      const { device, subnet6 } = this.hubLink(index);
      const [first, last] = [subnet6.replace("/", "1/"), subnet6.replace("/", "fe/")];
      runSync(this.hub, ["ip", "address", "add", last, "dev", device, "nodad"]);
      runSync(host, ["ip", "address", "add", first, "dev", "eth0", "nodad"]);
      runSync(host, ["ip", "-6", "route", "add", "default", "via", last.replace("/64", "")]);
    }
  }

  /**
   * The hub forwards no packet larger than this to a host (null: again what its link carries) and
   * tells nobody: the way from that host stays as it is.
   */
  narrow(index: number, mtu: number | null): void {
    const { subnet, subnet6, device } = this.hubLink(index);
    const way = ["dev", device, ...(mtu === null ? [] : ["mtu", `${mtu}`])];
    runSync(this.hub, ["ip", "route", "replace", subnet, ...way]);
    if (this.extra.underlayProtocol !== "ipv6") return;
    // Not the kernel's own route for the prefix, which has a worse metric than this.
    runSync(this.hub, ["ip", "-6", "route", "replace", subnet6, ...way, "metric", "1"]);
  }

  /** The hub's link to a host gets `subnet`.254, too. */
  addSubnet(index: number, subnet: string): void {
    const { device } = this.hubLink(index);
    runSync(this.hub, ["ip", "address", "add", `${subnet}.254/24`, "dev", device]);
  }

  private hubLink(index: number): { subnet: string; subnet6: string; device: string } {
    const subnet = `192.168.${77 + index}.0/24`;
    const shown = runSync(this.hub, ["ip", "route", "show", subnet]);
    const device = /dev (\S+)/.exec(shown)?.[1] ?? "";
    return { subnet, subnet6: `fd${77 + index}::/64`, device };
  }

  /** Sets the MTU of both ends of a host's link. */
  resize(index: number, mtu: number): void {
    const set = (device: string) => ["ip", "link", "set", "dev", device, "mtu", `${mtu}`];
    runSync(this.hub, set(this.hubLink(index).device));
    runSync(this.agent(index).namespace, set("eth0"));
  }

  /** Takes every ICMP error away that the hub would send. */
  filterErrors(): void {
    const rules = `table inet silent { chain output { type filter hook output priority 0;
      icmp type destination-unreachable counter drop
      icmpv6 type packet-too-big counter drop
    }
    }`;
    runSync(this.hub, ["nft", "-f", "-"], { input: rules });
  }

  /** Starts the agent of a host whose process has ended, and waits until it is ready. */
  async restart(index: number, token?: string, name = `n${index + 1}`): Promise<DrivenAgent> {
    const started = this.begin(index, token, name);
    await started.started();
    return started;
  }

  /** Starts it, perhaps under another program, and does not wait. */
  begin(
    index: number,
    token?: string,
    name = `n${index + 1}`,
    under: readonly string[] = [],
  ): DrivenAgent {
    const namespace = this.namespaces[index] ?? "";
    const begun = new DrivenAgent(namespace, this.optionsOf(name, token), under);
    this.agents[index] = begun;
    return begun;
  }

  agent(index: number): DrivenAgent {
    return this.agents[index] as DrivenAgent;
  }

  pod(index: number): Pod {
    return this.pods[index] as Pod;
  }

  /** Adds pod p1 to the first host and p2 to the second. */
  async addPods(): Promise<void> {
    for (const index of [0, 1]) {
      const netns = uniqueName(`p${index + 1}`);
      adoptNamespace(netns);
      const body = { name: `p${index + 1}`, netns };
      const answer = await this.agent(index).ask("POST", "/pods", body);
      assert.is(answer.status, 200, JSON.stringify(answer.json));
      this.pods[index] = answer.json as Pod;
    }
  }

  /** One ping from the first pod to the second. */
  reaches(): boolean {
    return pings(this.pod(0).netns, this.pod(1).addresses[0] ?? "", 56, 1);
  }

  /** Both pods ping each other in both families with `size` bytes of payload. */
  everyPairPings(size = 56): void {
    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ] as const) {
      for (const address of this.pod(to).addresses) {
        const reached = pings(this.pod(from).netns, address, size);
        assert.ok(reached, `${this.pod(from).name} -> ${address} (${size} bytes)`);
      }
    }
  }
}
