// meshd token create | list | revoke: who may join.
import type { NodeView, TokenOptions, TokenView } from "../../control/index.js";
import { checkValue, kinds, limits } from "../config/index.js";
import { withAdmin } from "./admin.js";
import type { Command, CommandGroup, Context, Invocation } from "./command.js";
import { duration } from "./duration.js";
import { agoText, print, tableOr } from "./output.js";

const uses: kinds.Kind<number | null> = {
  allowed: `a number from 1 to ${limits.TOKEN_USES_MAX}, or unlimited`,
  parse: (given) =>
    given === "unlimited" ? null : kinds.integer(1, limits.TOKEN_USES_MAX).parse(given),
};

/** Of the nodes that used one token; JSON has all. */
const USERS_SHOWN = 5;

/** As the control plane has them; it checks them, too. */
const roles = kinds.oneOf("node");

async function create(invocation: Invocation, context: Context): Promise<undefined> {
  const expires = invocation.text("expires");
  const times = invocation.text("uses");
  const description = invocation.text("description");
  const role = invocation.text("role");
  const options: TokenOptions = {
    ...(expires === undefined ? {} : { expires_s: checkValue(duration, "--expires", expires) }),
    ...(times === undefined ? {} : { uses: checkValue(uses, "--uses", times) }),
    ...(description === undefined ? {} : { description }),
    ...(invocation.has("pptp-server") ? { pptpServer: true } : {}),
    ...(role === undefined ? {} : { role: checkValue(roles, "--role", role) }),
  };
  const made = await withAdmin(invocation.settings, (admin) => admin.tokens.create(options));
  const value = { token: made.token, ...made.view };
  print(invocation, context, value, ({ token }) => `${token}\n`);
}

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const { tokens, nodes } = await withAdmin(invocation.settings, async (admin) => ({
    tokens: await admin.tokens.list(),
    nodes: invocation.json ? [] : await admin.nodes.list(),
  }));
  print(invocation, context, tokens, () => tokensText(tokens, nodes));
}

function tokensText(tokens: TokenView[], nodes: NodeView[]): string {
  const names = new Map(nodes.map((node) => [node.nodeId, node.name]));
  const heads = ["TOKEN", "STATE", "USES", "EXPIRES", "ROLE", "CREATED", "USED BY", "DESCRIPTION"];
  const rows = tokens.map((token) => [
    token.tokenId,
    stateOf(token),
    `${token.uses} of ${token.usesMax ?? "any"}`,
    token.expires === null ? "never" : agoText(token.expires),
    token.role,
    agoText(token.created),
    usersText(token, names),
    token.description,
  ]);
  return tableOr(heads, rows, "no tokens; 'meshd token create' makes one");
}

/** Names of those who joined with it; who has left since has none. */
function usersText({ usedBy }: TokenView, names: ReadonlyMap<string, string>): string {
  const there = usedBy.flatMap((nodeId) => names.get(nodeId) ?? []);
  const gone = usedBy.length - there.length;
  const shown = there.slice(0, USERS_SHOWN);
  if (there.length > shown.length) shown.push(`${there.length - shown.length} more`);
  return [...shown, ...(gone === 0 ? [] : [`${gone} gone`])].join(", ");
}

function stateOf(token: TokenView): string {
  if (token.revoked) return "revoked";
  if (token.expires !== null && Date.parse(token.expires) <= Date.now()) return "expired";
  return token.usesMax !== null && token.uses >= token.usesMax ? "used" : "valid";
}

async function revoke(invocation: Invocation, context: Context): Promise<undefined> {
  const [tokenId = ""] = invocation.words;
  const isNodesToo = invocation.has("nodes");
  const view = await withAdmin(invocation.settings, (admin) =>
    admin.tokens.revoke(tokenId, isNodesToo),
  );
  print(invocation, context, view, ({ nodes, removed }) => {
    const gone = removed.length > 0 ? `; removed with it: ${removed.join(" ")}` : "";
    const stay = nodes.length > 0 ? `; these joined with it and stay: ${nodes.join(" ")}` : "";
    const hint = nodes.length > 0 ? " ('--nodes' removes them)" : "";
    return `token ${view.tokenId} is revoked${gone}${stay}${hint}\n`;
  });
}

const createCommand: Command = {
  usage: "",
  about:
    "Makes a join token and prints it alone, so that it can be handed on. A token is a secret: " +
    "who has it can join.",
  example: "meshd join $(meshd token create --expires 15m)",
  options: {
    expires: { value: "TIME", about: `${duration.allowed} (default 24h)` },
    uses: { value: "N", about: `how many nodes may join with it: ${uses.allowed} (default 1)` },
    description: { value: "TEXT", about: "shown in token list" },
    "pptp-server": {
      about: "nodes that join with it may serve PPTP accounts, which are insecure (user, pptp)",
    },
    role: {
      value: "ROLE",
      about: `role of the nodes that join with it: ${roles.allowed} (default node)`,
    },
  },
  words: [0, 0],
  run: create,
};

export const command: CommandGroup = {
  about: "Join tokens: expiring, and good for one node unless said otherwise.",
  commands: {
    create: createCommand,
    list: {
      usage: "",
      about: "Lists tokens with their uses; never the secret itself.",
      example: "meshd token list --json",
      words: [0, 0],
      run: list,
    },
    revoke: {
      usage: "TOKEN-ID",
      about:
        "Makes a token useless. Nodes that joined with it stay and are named; with --nodes they " +
        "are removed.",
      example:
        "meshd token revoke 3f9c0a12d8e44b7790c2a15be6f80d31\n" +
        "meshd token revoke 3f9c0a12d8e44b7790c2a15be6f80d31 --nodes",
      options: { nodes: { about: "remove the nodes that joined with it, too" } },
      words: [1, 1],
      run: revoke,
    },
  },
};
