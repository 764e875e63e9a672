// meshd node list | show | drain | remove | grant | rename: members, asked of the controllers.
import { formText, type NodeView, type TunnelForm } from "../../control/index.js";
import { checkValue, kinds, label } from "../config/index.js";
import { INSECURE } from "../pptp/index.js";
import { withAdmin } from "./admin.js";
import { type CommandGroup, type Context, type Invocation, UsageError } from "./command.js";
import { agoText, fields, print, tableOr } from "./output.js";

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const nodes = await withAdmin(invocation.settings, (admin) => admin.nodes.list());
  print(invocation, context, nodes, nodesText);
}

function nodesText(nodes: NodeView[]): string {
  const heads = ["NODE", "STATE", "ONLINE", "PODCIDRS", "UNDERLAY", "PODS", "LAST SEEN", "VERSION"];
  const rows = nodes.map((node) => [
    node.name,
    node.state,
    node.online ? "yes" : "no",
    node.podCIDRs.join(","),
    underlayText(node),
    node.endpoints.length,
    agoText(node.lastSeen),
    node.node?.version,
  ]);
  return tableOr(heads, rows, "no nodes; 'meshd join $(meshd token create)' makes this host one");
}

function underlayText({ node }: NodeView): string | null {
  const address = node?.underlay.addresses[0];
  if (node === null || address === undefined) return null;
  const { port } = node.underlay;
  // Encapsulations that are not in UDP have none.
  if (port === 0) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function addressesText({
  addresses,
  port,
}: {
  addresses: readonly string[];
  port: number;
}): string {
  return `${addresses.join(" ")}${port === 0 ? "" : ` port ${port}`}`;
}

async function show(invocation: Invocation, context: Context): Promise<undefined> {
  const node = await withAdmin(invocation.settings, (admin) => admin.nodes.show(word(invocation)));
  print(invocation, context, node, nodeText);
}

function nodeText(view: NodeView): string {
  const { node } = view;
  const lines = fields([
    ["node", view.name],
    ["id", view.nodeId],
    ["state", `${view.state}, ${view.online ? "online" : "offline"}`],
    ["role", view.role],
    ["PodCIDRs", `${view.podCIDRs.join(" and ")}, epoch ${view.epoch}`],
    ["granted", view.grantedPrefixes.join(" ") || undefined],
    ["PPTP", view.pptpServer ? "may serve accounts (insecure)" : undefined],
    ["joined", `${view.joined} (${agoText(view.joined)})`],
    ["token", view.tokenId],
    ["last seen", agoText(view.lastSeen)],
    ["underlay", node ? addressesText(node.underlay) : null],
    ["VTEP MAC", node?.vtepMac],
    ["protocols", node?.protocols.join(" ")],
    ["receives", formsText(node?.receives)],
    ["sends", formsText(node?.sends)],
    ["mtu", node?.mtu],
    ["version", node?.version],
  ]);
  const pods = view.endpoints.map((pod) => [pod.pod, pod.addresses.join(",")]);
  return pods.length === 0 ? lines : `${lines}\n${tableOr(["POD", "ADDRESSES"], pods, "")}`;
}

function formsText(forms: readonly TunnelForm[] | undefined): string | undefined {
  if (forms === undefined || forms.length === 0) return undefined;
  return forms.map(formText).join(", ");
}

async function drain(invocation: Invocation, context: Context): Promise<undefined> {
  const on = !invocation.has("undo");
  const node = await withAdmin(invocation.settings, (admin) =>
    admin.nodes.drain(word(invocation), on),
  );
  print(invocation, context, node, () => `node ${node.name} is ${node.state}\n`);
}

async function remove(invocation: Invocation, context: Context): Promise<undefined> {
  const node = await withAdmin(invocation.settings, (admin) =>
    admin.nodes.remove(word(invocation)),
  );
  const text = () => `node ${node.name} is removed; its PodCIDR rests before another gets it\n`;
  print(invocation, context, node, text);
}

async function rename(invocation: Invocation, context: Context): Promise<undefined> {
  const name = checkValue(label, "NEW-NAME", invocation.words[1]);
  const node = await withAdmin(invocation.settings, (admin) =>
    admin.nodes.rename(word(invocation), name),
  );
  const text = () => `node ${word(invocation)} is called ${node.name} now\n`;
  print(invocation, context, node, text);
}

async function grant(invocation: Invocation, context: Context): Promise<undefined> {
  const cidr = checkValue(kinds.anyCidr, "CIDR", invocation.words[1]);
  const on = !invocation.has("remove");
  const node = await withAdmin(invocation.settings, (admin) =>
    admin.nodes.grant(word(invocation), cidr, on),
  );
  const all = node.grantedPrefixes.join(" ") || "nothing";
  print(invocation, context, node, () => `node ${node.name} is granted ${all} now\n`);
}

async function pptp(invocation: Invocation, context: Context): Promise<undefined> {
  const [allow, deny] = [invocation.has("allow"), invocation.has("deny")];
  if (allow === deny) throw new UsageError("give one of --allow and --deny");
  const node = await withAdmin(invocation.settings, (admin) =>
    admin.nodes.pptp(word(invocation), allow),
  );
  const text = () =>
    allow
      ? `node ${node.name} may serve PPTP accounts; ${INSECURE}\n`
      : `node ${node.name} may not serve PPTP accounts; what it has learnt of them it may know: ` +
        "change the passwords if it is not trusted\n";
  print(invocation, context, node, text);
}

const word = (invocation: Invocation) => invocation.words[0] ?? "";

export const command: CommandGroup = {
  about: "The nodes of the mesh. A node is named by its name or its id.",
  commands: {
    list: {
      usage: "",
      about: "Lists all nodes.",
      example: "meshd node list --json",
      words: [0, 0],
      run: list,
    },
    show: {
      usage: "NODE",
      about: "Shows one node and its pods.",
      example: "meshd node show n1",
      words: [1, 1],
      run: show,
    },
    drain: {
      usage: "NODE",
      about: "Lets a node take no new pods; its traffic goes on.",
      example: "meshd node drain n1\nmeshd node drain n1 --undo",
      options: { undo: { about: "let it take pods again" } },
      words: [1, 1],
      run: drain,
    },
    remove: {
      usage: "NODE",
      about:
        "Ends a node's membership: no other node sends to it any more, and its PodCIDR rests " +
        "before another may get it. For a host that is gone; on a living one use 'meshd leave'.",
      example: "meshd node remove n3",
      words: [1, 1],
      run: remove,
    },
    grant: {
      usage: "NODE CIDR",
      about:
        "Routes one more network to a node, such as one that stands behind it; the node's own " +
        "routes take its packets on. With --remove it ends.",
      example: "meshd node grant n1 10.9.0.0/24\nmeshd node grant n1 10.9.0.0/24 --remove",
      options: { remove: { about: "take it away again" } },
      words: [2, 2],
      run: grant,
    },
    pptp: {
      usage: "NODE",
      about:
        "Lets a node have the PPTP accounts' secrets, so that it can serve them (its setting " +
        `pptpServer), or ends that. ${INSECURE}.`,
      example: "meshd node pptp n1 --allow\nmeshd node pptp n1 --deny",
      options: {
        allow: { about: "it may serve them" },
        deny: { about: "it may not, and forgets them; PPTP sessions there end" },
      },
      words: [1, 1],
      run: pptp,
    },
    rename: {
      usage: "NODE NEW-NAME",
      about: "Gives a node another name; addresses and traffic stay as they are.",
      example: "meshd node rename n1 web-1",
      words: [2, 2],
      run: rename,
    },
  },
};
