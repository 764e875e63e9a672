// The paths of agent.sock: what can be asked, what a body must look like.
import type { Datapath } from "../datapath/index.js";
import type { Pod, PodRequest, Pods } from "../pods/index.js";
import { METRICS_CONTENT_TYPE } from "../telemetry/index.js";
import { type Route, text } from "./api.js";
import type { BareCounters } from "./bare-counters.js";
import { bad, fieldsOf } from "./body.js";
import type { CallKeeper } from "./call-keeper.js";
import { callPaths } from "./call-paths.js";
import type { Engine } from "./engine.js";
import { AgentError } from "./errors.js";
import { withLastDrops } from "./last-drops.js";
import { metricsText } from "./metrics.js";
import type { MtuExplanation } from "./pmtu/report.js";
import type { QueueDrops } from "./queue-drops.js";
import { dropRows, fibRows, routeRows } from "./status.js";
import type { AgentStatus, LeaveOptions } from "./types.js";

/** What the paths need of the agent. */
export interface Answering {
  countedStatus(): Promise<AgentStatus>;
  engine: Engine;
  datapath: Datapath;
  bare: BareCounters;
  queueDrops: QueueDrops;
  pods: Pods;
  calls: CallKeeper;
  deviceName: string;
  /** undefined: no such peer. */
  explainMtu(peer: string): MtuExplanation | undefined;
  leave(options: LeaveOptions): Promise<void>;
  /** Begins to stop; the process ends after the reply went out. */
  stopSoon(): void;
}

function isLabels(value: unknown): value is Record<string, string> {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((one) => typeof one === "string")
  );
}

export function readPodRequest(body: unknown): PodRequest {
  const { name, netns, labels } = fieldsOf(body, ["name", "netns", "labels"]);
  if (typeof name !== "string") {
    throw bad("name must be text: one DNS label");
  }
  if (netns !== undefined && (typeof netns !== "string" || netns === "")) {
    throw bad("netns must be the name or path of a network namespace");
  }
  if (labels !== undefined && !isLabels(labels)) {
    throw bad("labels must be an object of texts");
  }
  return {
    name,
    ...(netns === undefined ? {} : { netns }),
    ...(labels === undefined ? {} : { labels }),
  };
}

export function readLeaveOptions(body: unknown): LeaveOptions {
  const { force } = fieldsOf(body, ["force"]);
  if (force !== undefined && typeof force !== "boolean") {
    throw bad("force must be true or false");
  }
  return force === undefined ? {} : { force };
}

async function addPod(agent: Answering, body: unknown): Promise<Pod> {
  const request = readPodRequest(body);
  const state = agent.engine.plan().member?.state;
  if (state !== "active") {
    const what = `this node is ${state ?? "no member"} and takes no new pods`;
    throw new AgentError("MESHD_DRAINING", what);
  }
  const pod = await agent.pods.add(request);
  agent.engine.announce();
  return pod;
}

async function removePod(agent: Answering, name: string): Promise<Pod> {
  const pod = await agent.pods.remove(name);
  agent.engine.announce();
  return pod;
}

/** With the workers' heaps and the kernel's counts of this moment: only a question reads them. */
async function measuredStatus(agent: Answering): Promise<AgentStatus> {
  await agent.datapath.measureHeaps();
  return agent.countedStatus();
}

/** Why packets to a peer, by its name, are as large as they are. */
function explanation(agent: Answering, name: string): MtuExplanation {
  const found = agent.explainMtu(name);
  if (found !== undefined) return found;
  const names = agent.engine.plan().peers.map((peer) => peer.name);
  const what = `this node has no peer ${JSON.stringify(name)}`;
  const known =
    names.length === 0 ? "it has none at all" : `it has ${names.slice(0, 10).join(", ")}`;
  throw new AgentError("MESHD_NOT_FOUND", `${what}; ${known}`);
}

/** /metrics alone: what may also be served on TCP. */
export function metricsRoute(agent: Answering): Route {
  const handle = async () =>
    text(METRICS_CONTENT_TYPE, metricsText(await measuredStatus(agent), agent));
  return { method: "GET", path: /^\/metrics$/, handle };
}

/** Every path of the socket. Lists are plain JSON arrays. */
export function routesOf(agent: Answering): Route[] {
  const get = (path: RegExp, handle: () => unknown): Route => ({ method: "GET", path, handle });
  return [
    get(/^\/status$/, () => measuredStatus(agent)),
    get(/^\/counters$/, () => agent.datapath.counters()),
    get(/^\/drops$/, async () => {
      await agent.countedStatus();
      return withLastDrops(dropRows(agent), agent.datapath, agent.engine);
    }),
    get(/^\/fib$/, () => fibRows(agent.engine)),
    get(/^\/routes$/, () => routeRows(agent.engine, agent.deviceName)),
    {
      method: "GET",
      path: /^\/mtu\/([^/]+)$/,
      handle: ([name = ""]) => explanation(agent, name),
    },
    get(/^\/pods$/, () => agent.pods.list()),
    ...callPaths(agent.calls),
    metricsRoute(agent),
    { method: "POST", path: /^\/pods$/, handle: (_, body) => addPod(agent, body) },
    {
      method: "DELETE",
      path: /^\/pods\/([^/]+)$/,
      handle: ([name = ""]) => removePod(agent, name),
    },
    {
      method: "POST",
      path: /^\/leave$/,
      handle: async (_, body) => {
        await agent.leave(readLeaveOptions(body));
        return { left: true };
      },
    },
    {
      method: "POST",
      path: /^\/stop$/,
      handle: () => {
        agent.stopSoon();
        return { stopping: true };
      },
    },
  ];
}
