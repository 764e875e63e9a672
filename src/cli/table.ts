// The commands by name: a summary for `meshd --help`, and the file that is read only when it runs.
import type { CommandModule } from "./command.js";

export interface TableEntry {
  summary: string;
  load(): Promise<CommandModule>;
}

export const COMMANDS: Readonly<Record<string, TableEntry>> = {
  up: { summary: "start a mesh here: nats-server and controller", load: () => import("./up.js") },
  down: { summary: "stop what up, join or controller started", load: () => import("./down.js") },
  join: { summary: "make this host a node, or start it again", load: () => import("./join.js") },
  leave: { summary: "give the PodCIDR back and undo join", load: () => import("./leave.js") },
  status: { summary: "state of this node", load: () => import("./status.js") },
  cluster: { summary: "which servers and controllers live", load: () => import("./cluster.js") },
  controller: { summary: "run one more controller", load: () => import("./controller.js") },
  node: { summary: "list, show, drain, remove, grant, rename", load: () => import("./node.js") },
  lease: { summary: "list, audit, reclaim or reserve PodCIDRs", load: () => import("./lease.js") },
  store: { summary: "what a lost or older store lacked", load: () => import("./store.js") },
  route: { summary: "list the routes of the mesh", load: () => import("./route.js") },
  token: { summary: "create, list or revoke join tokens", load: () => import("./token.js") },
  admin: {
    summary: "add, list or remove administrators",
    load: () => import("./administrators.js"),
  },
  config: { summary: "get or set settings of the mesh", load: () => import("./settings.js") },
  keys: {
    summary: "list the mesh's keys, move two off this host",
    load: () => import("./keys.js"),
  },
  peer: { summary: "add, list or remove static peers", load: () => import("./peer.js") },
  mtu: { summary: "why packets to a peer are no larger", load: () => import("./mtu.js") },
  pod: { summary: "add, list or remove pods of this node", load: () => import("./pod.js") },
  pptp: { summary: "list, end or make PPTP calls", load: () => import("./pptp.js") },
  user: { summary: "add, list, remove or change PPTP accounts", load: () => import("./user.js") },
  drops: { summary: "dropped packets by reason", load: () => import("./drops.js") },
  sysdump: { summary: "one archive for a bug report", load: () => import("./sysdump.js") },
  bench: { summary: "measure between two nodes", load: () => import("./bench.js") },
  lab: { summary: "a mesh of many hosts on this machine", load: () => import("./lab.js") },
  version: { summary: "print the version", load: () => import("./version.js") },
};
