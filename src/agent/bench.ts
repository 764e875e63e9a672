// What the bench desk knows of this node and its peers: the plan's addresses, the setting's word.
import type { MemberSession } from "../../control/index.js";
import { BenchDesk, type BenchOwn } from "../bench/index.js";
import type { Engine } from "./engine.js";
import type { AgentLog, AgentOptions } from "./types.js";

export interface BenchParts {
  options: AgentOptions;
  engine: Engine;
  session: MemberSession;
  log: AgentLog;
}

function ownEnd({ options, engine, session }: BenchParts): BenchOwn {
  const plan = engine.plan();
  return {
    name: plan.member?.name ?? session.membership.name,
    nodeId: session.nodeId,
    overlay: plan.tables?.self.addresses ?? [],
    underlay: engine.underlay().address,
    // The node's own setting wins: its operator has the last word.
    rule: options.bench ?? session.snapshot()?.config.bench ?? "off",
    tunnelProtocol: plan.routingMode === "native" ? "native" : plan.tunnelProtocol,
    mtu: plan.mtu,
  };
}

export function openBenchDesk(parts: BenchParts): BenchDesk {
  return new BenchDesk({
    version: parts.options.version ?? "unknown",
    own: () => ownEnd(parts),
    peer: (nodeId) => {
      const { peers } = parts.engine.plan();
      const peer = peers.find((one) => one.kind === "member" && one.nodeId === nodeId);
      if (peer === undefined) return undefined;
      return { name: peer.name, overlay: peer.probeAddresses, underlay: peer.address };
    },
    log: parts.log,
  });
}
