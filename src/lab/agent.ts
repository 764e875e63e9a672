// Asks a lab's agents at their sockets: a lab of many nodes would else start a program for each.
import { request } from "node:http";
import { join } from "node:path";
import type { Place } from "./program.js";

const ANSWER_LIMIT_MS = 10_000;

/** The parts of an agent's status that the lab reads. */
export interface AgentStatus {
  pid: number;
  mtu: number;
  device: string;
  lease: { podCIDRs: string[] };
}

/** The parts of a pod that the lab reads. */
export interface AgentPod {
  name: string;
  /** Name or path of its network namespace. */
  netns: string;
  addresses: string[];
}

/** One question; undefined when no agent answers (it may be down). */
function ask<T>({ runDir }: Place, path: string): Promise<T | undefined> {
  return new Promise((resolve) => {
    const nobody = () => resolve(undefined);
    const options = { socketPath: join(runDir, "agent.sock"), path, timeout: ANSWER_LIMIT_MS };
    const asked = request(options, (response) => {
      let said = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => {
        said += piece;
      });
      response.once("error", nobody);
      response.once("end", () =>
        resolve(response.statusCode === 200 ? parsed<T>(said) : undefined),
      );
    });
    asked.once("timeout", () => asked.destroy());
    asked.once("error", nobody);
    asked.once("close", nobody);
    asked.end();
  });
}

function parsed<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

/** Undefined when the agent does not answer: the lab says so by pid 0. */
export const askAgent = (node: Place) => ask<AgentStatus>(node, "/status");

/** Pods of a node; none when its agent does not answer. */
export const askPods = async (node: Place) => (await ask<AgentPod[]>(node, "/pods")) ?? [];
