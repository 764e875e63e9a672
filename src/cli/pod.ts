// meshd pod add | list | remove: pods of this node, asked of its agent.
import { basename } from "node:path";
import { AGENT_WORK_TIMEOUT_MS, checkValue, label as podName } from "../config/index.js";
import type { Pod } from "./agent-answers.js";
import { askAgent, isObject } from "./agent-client.js";
import { type CommandGroup, type Context, type Invocation, UsageError } from "./command.js";
import { agoText, print, tableOr } from "./output.js";

/** JSON of a pod; stable. */
interface PodView {
  name: string;
  /** Name of the network namespace, for `ip netns exec`. */
  namespace: string;
  /** The namespace as it was given: a name or a path. */
  netns: string;
  addresses: string[];
  labels: Record<string, string>;
  hostDevice: string;
  createdAt: string;
}

function viewOf(pod: Pod): PodView {
  const { name, netns, addresses, labels, hostDevice, createdAt } = pod;
  return { name, namespace: basename(netns), netns, addresses, labels, hostDevice, createdAt };
}

/** "k=v" words to a map. @throws UsageError */
function labelsOf(words: readonly string[]): Record<string, string> {
  const pairs = words.map((word) => {
    const at = word.indexOf("=");
    if (at < 1)
      throw new UsageError(`--label ${word}: allowed is KEY=VALUE; see meshd pod add --help`);
    return [word.slice(0, at), word.slice(at + 1)] as const;
  });
  return Object.fromEntries(pairs);
}

async function add(invocation: Invocation, context: Context): Promise<undefined> {
  const name = checkValue(podName, "NAME", invocation.words[0]);
  const netns = invocation.text("netns");
  const body = {
    name,
    ...(netns === undefined ? {} : { netns }),
    labels: labelsOf(invocation.list("label")),
  };
  const question = { method: "POST", body, timeout_ms: AGENT_WORK_TIMEOUT_MS } as const;
  const pod = viewOf((await askAgent(invocation.settings, "/pods", question)) as Pod);
  print(
    invocation,
    context,
    pod,
    () => `pod ${pod.name}: ${pod.addresses.join(" and ")} in namespace ${pod.namespace}\n`,
  );
}

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const answer = await askAgent(invocation.settings, "/pods");
  const pods = (Array.isArray(answer) ? answer : isObject(answer) ? answer.pods : []) as Pod[];
  print(invocation, context, pods.map(viewOf), (views) =>
    tableOr(
      ["POD", "ADDRESSES", "NAMESPACE", "HOST DEVICE", "LABELS", "AGE"],
      views.map((pod) => [
        pod.name,
        pod.addresses.join(","),
        pod.namespace,
        pod.hostDevice,
        Object.entries(pod.labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(","),
        agoText(pod.createdAt),
      ]),
      "no pods; 'meshd pod add NAME' makes one",
    ),
  );
}

async function remove(invocation: Invocation, context: Context): Promise<undefined> {
  const name = checkValue(podName, "NAME", invocation.words[0]);
  const question = { method: "DELETE", timeout_ms: AGENT_WORK_TIMEOUT_MS } as const;
  await askAgent(invocation.settings, `/pods/${encodeURIComponent(name)}`, question);
  print(invocation, context, { removed: name }, () => `pod ${name} is removed\n`);
}

export const command: CommandGroup = {
  about: "Pods of this node: a network namespace with an address of the node's PodCIDR each.",
  commands: {
    add: {
      usage: "NAME",
      about:
        "Makes a pod: a network namespace with an interface eth0 and an address of each family. " +
        "It stays when the agent is restarted.",
      example: "meshd pod add web --label app=shop\nip netns exec web ping 10.244.1.2",
      options: {
        netns: {
          value: "PATH|NAME",
          about: "namespace to use; a name is made when absent (default: the pod's name)",
        },
        label: { value: "KEY=VALUE", multiple: true, about: "label; may be given again" },
      },
      words: [1, 1],
      run: add,
    },
    list: {
      usage: "",
      about: "Lists the pods of this node.",
      example: "meshd pod list --json",
      words: [0, 0],
      run: list,
    },
    remove: {
      usage: "NAME",
      about: "Removes a pod, and its namespace when meshd made it.",
      example: "meshd pod remove web",
      words: [1, 1],
      run: remove,
    },
  },
};
