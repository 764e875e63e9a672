// A process of a simulation with many agents in it; orders come from its parent.
import { now_ms, SimulatedAgent } from "./agent.js";
import type { Answer, CrowdReport, Order } from "./messages.js";
import { checks, countChecks } from "./shared-checks.js";

let agents: SimulatedAgent[] = [];
let token = "";

const answer = (what: Answer) => void process.send?.(what);

function agentOf(index: number): SimulatedAgent {
  const found = agents.find((agent) => agent.index === index);
  if (found === undefined) throw new Error(`there is no agent ${index} here`);
  return found;
}

async function join(agent: SimulatedAgent): Promise<void> {
  const began = now_ms();
  const { nodeId } = await agent.join(token);
  answer({ answer: "joined", nodeId, took_ms: now_ms() - began });
}

function report(): CrowdReport {
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const sum = (of: (agent: SimulatedAgent) => number) =>
    agents.reduce((total, agent) => total + of(agent), 0);
  return {
    agents: agents.length,
    ...{ heap: heapUsed, external, resident: rss },
    cpu_s: (user + system) / 1e6,
    plans: sum(({ plans }) => plans),
    planning_ms: sum(({ planning_ms }) => planning_ms),
    planning_max_ms: Math.max(0, ...agents.map(({ planning_max_ms }) => planning_max_ms)),
    ...checks,
  };
}

async function obey(order: Order): Promise<void> {
  switch (order.order) {
    case "make": {
      countChecks(order.shared);
      token = order.token;
      const indexes = Array.from({ length: order.count }, (_, i) => order.first + i);
      agents = indexes.map((index) => new SimulatedAgent(index));
      return answer({ answer: "made", nodeIds: agents.map(({ nodeId }) => nodeId) });
    }
    case "join":
      await Promise.all(agents.map(join));
      return;
    case "expect": {
      const times = await Promise.all(agents.map((agent) => agent.expect(order.expected)));
      return answer({ answer: "shown", times });
    }
    case "move": {
      answer({ answer: "moved", at: now_ms() });
      return agentOf(order.index).move(order.address);
    }
    case "leave": {
      const agent = agentOf(order.index);
      answer({ answer: "left", at: now_ms() });
      agents = agents.filter((one) => one !== agent);
      await agent.session?.leave();
      return agent.close();
    }
    case "count": {
      const plans = agents.reduce((total, agent) => total + agent.plans, 0);
      return answer({ answer: "counted", plans });
    }
    case "report":
      return answer({ answer: "report", report: report() });
    case "end":
      await Promise.all(agents.map((agent) => agent.close()));
      answer({ answer: "ended" });
      process.disconnect();
  }
}

process.on("message", (order: Order) => {
  obey(order).catch((error: unknown) => answer({ answer: "failed", what: String(error) }));
});
// Without a parent nobody wants the agents any more.
process.on("disconnect", () => process.exit(0));
