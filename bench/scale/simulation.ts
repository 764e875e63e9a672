// One simulation: a real nats-server, a controller, crowds of agents; all join at once, then single
// changes are followed into every plan.
import { setTimeout as sleep } from "node:timers/promises";
import { AdminClient } from "../../control/index.js";
import { now_ms } from "./agent.js";
import { ControllerProcess, Crowd } from "./children.js";
import { type MeshFigures, type Spread, spreadOf, type Traffic } from "./figures.js";
import type { CrowdReport, Expected } from "./messages.js";
import { SimulatedStore } from "./server.js";

/** Without a plan of anybody: longer than changes are gathered. */
const quiet_ms = 4_000;

export interface SimulationOptions {
  nodes: number;
  processes: number;
  /** Agents of one process share what signature checks found. */
  shared: boolean;
  /** Of each kind of change. */
  changes: number;
  rest_s: number;
  say: (line: string) => void;
}

export class Simulation {
  private readonly crowds: Crowd[] = [];
  private nodeIds: string[] = [];

  private constructor(
    private readonly options: SimulationOptions,
    readonly store: SimulatedStore,
    readonly controller: ControllerProcess,
    readonly admin: AdminClient,
  ) {}

  static async start(options: SimulationOptions): Promise<Simulation> {
    const store = await SimulatedStore.start();
    const controller = await ControllerProcess.start(store.mesh.dir);
    const admin = await AdminClient.forMesh(store.mesh);
    const simulation = new Simulation(options, store, controller, admin);
    await simulation.make();
    return simulation;
  }

  private async make(): Promise<void> {
    const { nodes, processes, shared } = this.options;
    const { token } = await this.admin.tokens.create({ uses: null });
    const each = Math.ceil(nodes / processes);
    for (let first = 1; first <= nodes; first += each) {
      const crowd = new Crowd();
      this.crowds.push(crowd);
      const count = Math.min(each, nodes - first + 1);
      const { nodeIds } = await crowd.ask({ order: "make", first, count, token, shared }, "made");
      this.nodeIds.push(...nodeIds);
    }
  }

  private crowdOf(index: number): Crowd {
    const each = Math.ceil(this.options.nodes / this.options.processes);
    const crowd = this.crowds[Math.floor((index - 1) / each)];
    if (crowd === undefined) throw new Error(`there is no agent ${index}`);
    return crowd;
  }

  /** Seconds until all are members, and until all plans have all others. */
  async join(): Promise<{ members_s: number; whole_s: number }> {
    const began = now_ms();
    const { nodes } = this.options;
    const whole = this.expect({ kind: "peers", count: nodes - 1 });
    for (const crowd of this.crowds) crowd.send({ order: "join" });
    let members_s = 0;
    const follow = setInterval(() => {
      const joined = this.crowds.reduce((sum, crowd) => sum + crowd.joined, 0);
      this.options.say(`${joined} joined after ${((now_ms() - began) / 1000).toFixed(1)} s`);
      if (joined === nodes && members_s === 0) members_s = (now_ms() - began) / 1000;
      const failures = this.crowds.flatMap((crowd) => crowd.failures);
      if (failures.length > 0) this.options.say(`${failures.length} failed: ${failures[0]}`);
    }, 500);
    const times = await whole;
    clearInterval(follow);
    const whole_s = (Math.max(...times) - began) / 1000;
    return { members_s: members_s || whole_s, whole_s };
  }

  /** Unix milliseconds at which each agent's plan showed it. */
  private async expect(expected: Expected): Promise<number[]> {
    const asked = this.crowds.map((crowd) => crowd.ask({ order: "expect", expected }, "shown"));
    return (await Promise.all(asked)).flatMap(({ times }) => times);
  }

  /** Until nobody plans any more: each change is to be measured by itself. */
  private async quiet(): Promise<void> {
    let before = -1;
    for (let now = await this.plans(); now !== before; now = await this.plans()) {
      before = now;
      await sleep(quiet_ms);
    }
  }

  private async plans(): Promise<number> {
    const asked = this.crowds.map((crowd) => crowd.ask({ order: "count" }, "counted"));
    return (await Promise.all(asked)).reduce((total, { plans }) => total + plans, 0);
  }

  async moves(): Promise<Spread> {
    const all: number[] = [];
    for (let turn = 0; turn < this.options.changes; turn++) {
      await this.quiet();
      const index = 1 + Math.floor(Math.random() * this.options.nodes);
      const address = `172.16.${turn}.${(index % 250) + 1}`;
      const nodeId = this.nodeIds[index - 1] ?? "";
      const shown = this.expect({ kind: "address", nodeId, address });
      const { at } = await this.crowdOf(index).ask({ order: "move", index, address }, "moved");
      const times = await shown;
      all.push(...times.map((time) => time - at));
    }
    return spreadOf(all);
  }

  async settings(): Promise<Spread> {
    const all: number[] = [];
    for (let turn = 0; turn < this.options.changes; turn++) {
      await this.quiet();
      const mtu = 1300 + turn;
      const shown = this.expect({ kind: "mtu", mtu });
      const at = now_ms();
      await this.admin.config.set("mtu", mtu);
      all.push(...(await shown).map((time) => time - at));
    }
    return spreadOf(all);
  }

  async leaves(): Promise<Spread> {
    const all: number[] = [];
    for (let turn = 0; turn < this.options.changes; turn++) {
      await this.quiet();
      const index = this.options.nodes - turn;
      const nodeId = this.nodeIds[index - 1] ?? "";
      const { at } = await this.crowdOf(index).ask({ order: "leave", index }, "left");
      all.push(...(await this.expect({ kind: "gone", nodeId })).map((time) => time - at));
    }
    return spreadOf(all);
  }

  async reports(): Promise<CrowdReport[]> {
    return Promise.all(this.crowds.map((crowd) => crowd.report()));
  }

  /** What the agents got and sent in a time of rest, for each node and second. */
  private async resting(): Promise<Traffic> {
    const before = await this.store.traffic();
    const began = performance.now();
    await sleep(this.options.rest_s * 1000);
    const after = await this.store.traffic();
    const seconds = (performance.now() - began) / 1000;
    return perNode(after, before, this.options.nodes * seconds);
  }

  /** Joins all, follows changes, measures rest. */
  async measure(): Promise<MeshFigures> {
    const { nodes, say } = this.options;
    const empty = await this.reports();
    const { members_s, whole_s } = await this.join();
    say(`${nodes} nodes: every plan has all others after ${whole_s.toFixed(1)} s`);
    const [reports, controller, server, traffic] = await Promise.all([
      this.reports(),
      this.controller.use(),
      this.store.use(),
      this.store.traffic(),
    ]);
    const sum = (list: CrowdReport[], of: (report: CrowdReport) => number) =>
      list.reduce((total, report) => total + of(report), 0);
    const held = ({ heap, external }: CrowdReport) => heap + external;
    await sleep(3000);
    const resting = await this.resting();
    return {
      ...{ nodes, members_s, whole_s },
      address: await this.moves(),
      leave: await this.leaves(),
      setting: await this.settings(),
      memory: (sum(reports, held) - sum(empty, held)) / nodes,
      plans: sum(reports, ({ plans }) => plans) / nodes,
      planning_ms: sum(reports, ({ planning_ms }) => planning_ms) / nodes,
      planning_max_ms: Math.max(...reports.map(({ planning_max_ms }) => planning_max_ms)),
      computed: sum(reports, ({ computed }) => computed) / nodes,
      joining: perNode(traffic, NO_TRAFFIC, nodes),
      resting,
      writes: server.writes / nodes,
      agents_cpu_s: sum(reports, ({ cpu_s }) => cpu_s) - sum(empty, ({ cpu_s }) => cpu_s),
      controller_cpu_s: controller.cpu_s,
      server_cpu_s: server.cpu_s,
      controller_memory: controller.resident,
      server_memory: server.resident,
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.crowds.map((crowd) => crowd.end()));
    await this.admin.close();
    await this.controller.end();
    await this.store.stop();
  }
}

const NO_TRAFFIC: Traffic = { messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 };

function perNode(after: Traffic, before: Traffic, share: number): Traffic {
  return {
    messagesIn: (after.messagesIn - before.messagesIn) / share,
    messagesOut: (after.messagesOut - before.messagesOut) / share,
    bytesIn: (after.bytesIn - before.bytesIn) / share,
    bytesOut: (after.bytesOut - before.bytesOut) / share,
  };
}
