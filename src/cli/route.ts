// meshd route list: which prefix leads where; from the controllers, or as this node's workers
// see it.
import type { RouteView } from "../../control/index.js";
import { hasAdmin, withAdmin } from "./admin.js";
import type { AgentStatus, FibRow } from "./agent-answers.js";
import { askAgent, isObject } from "./agent-client.js";
import type { CommandGroup, Context, Invocation } from "./command.js";
import { print, tableOr } from "./output.js";

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const { settings } = invocation;
  const fromHere = invocation.has("here") || !(await hasAdmin(settings));
  const routes = fromHere
    ? await routesHere(invocation)
    : await withAdmin(settings, (admin) => admin.routes.list());
  print(invocation, context, routes, routesText);
}

/** The table this node's workers forward by, in the shape of the controllers' answer. */
async function routesHere({ settings }: Invocation): Promise<RouteView[]> {
  const answer = await askAgent(settings, "/fib");
  const rows = (Array.isArray(answer) ? answer : isObject(answer) ? answer.fib : []) as FibRow[];
  const { peers } = (await askAgent(settings, "/status")) as AgentStatus;
  return rows.map((row) => {
    const peer = peers.find((one) => one.name === row.peer);
    return {
      prefix: row.prefix,
      via: peer?.kind === "static" ? "peer" : "node",
      name: row.peer,
      nodeId: peer?.nodeId || null,
      underlay: row.nextHop,
      port: row.port,
      protocol: row.way === "tunnel" ? row.protocol : row.way,
      state: peer?.reachable ?? "unknown",
    };
  });
}

function routesText(routes: readonly RouteView[]): string {
  return tableOr(
    ["PREFIX", "VIA", "NAME", "UNDERLAY", "PORT", "PROTOCOL", "STATE"],
    routes.map((route) => [
      route.prefix,
      route.via,
      route.name,
      route.underlay,
      route.port || "-",
      route.protocol,
      route.state,
    ]),
    "no routes",
  );
}

export const command: CommandGroup = {
  about: "Routes of the mesh: prefix, and the node or static peer it leads to.",
  commands: {
    list: {
      usage: "",
      about:
        "Lists the routes of the mesh as the controllers know them; on a host without admin " +
        "credentials, or with --here, those this node's workers use now.",
      example: "meshd route list --here --json",
      options: { here: { about: "the table of this node's workers" } },
      words: [0, 0],
      run: list,
    },
  },
};
