// meshd pptp list | disconnect | dial | hang-up: PPTP calls of this node, asked of its agent.
import { setTimeout as sleep } from "node:timers/promises";
import { AGENT_WORK_TIMEOUT_MS, checkValue, kinds } from "../config/index.js";
import { INSECURE } from "../pptp/index.js";
import type { SessionView } from "./agent-answers.js";
import { askAgent } from "./agent-client.js";
import {
  CommandError,
  type CommandGroup,
  type Context,
  type Invocation,
  UsageError,
} from "./command.js";
import { agoText, bytesText, print, tableOr } from "./output.js";
import { readPassword } from "./password.js";
import { nas } from "./pptp-nas.js";

/** How long `dial` waits for the call that it asked for, and how often it looks. */
const UP_MS = 25_000;
const LOOK_MS = 250;

const auth = kinds.oneOf("ms-chap-v2", "ms-chap-v1", "chap-md5", "pap");
const encryption = kinds.oneOf("required-128", "required", "optional", "off");
const session = kinds.integer(0, 65_535);

async function sessionsOf(invocation: Invocation): Promise<SessionView[]> {
  return (await askAgent(invocation.settings, "/calls")) as SessionView[];
}

async function list(invocation: Invocation, context: Context): Promise<undefined> {
  const sessions = await sessionsOf(invocation);
  print(invocation, context, sessions, () => {
    const rows = sessions.map((one) => [
      one.slot,
      one.kind,
      one.name,
      one.underlay,
      one.address,
      one.state,
      one.encryption,
      agoText(one.since),
      bytesText(one.statistics.receivedBytes),
      bytesText(one.statistics.sentBytes),
      one.problem,
    ]);
    const heads = ["SESSION", "KIND", "NAME", "UNDERLAY", "ADDRESS", "STATE", "ENCRYPTION"];
    const more = ["SINCE", "RECEIVED", "SENT", "PROBLEM"];
    return `${tableOr([...heads, ...more], rows, "no calls")}${INSECURE}\n`;
  });
}

async function disconnect(invocation: Invocation, context: Context): Promise<undefined> {
  const [word = ""] = invocation.words;
  const slots = /^\d+$/.test(word)
    ? [checkValue(session, "SESSION", word)]
    : (await sessionsOf(invocation))
        .filter(({ kind, name }) => kind === "dial-in" && name === word)
        .flatMap(({ slot }) => slot ?? []);
  if (slots.length === 0) {
    const message = `no session of user ${word} here; see 'meshd pptp list'`;
    throw new CommandError("MESHD_NOT_FOUND", message);
  }
  for (const slot of slots) {
    await askAgent(invocation.settings, `/calls/${slot}`, { method: "DELETE" });
  }
  print(
    invocation,
    context,
    { disconnected: slots },
    () => `disconnected session ${slots.join(", ")}; 'meshd user set' or 'remove' keeps one out\n`,
  );
}

async function dial(invocation: Invocation, context: Context): Promise<undefined> {
  const [host = ""] = invocation.words;
  const user = invocation.text("user");
  if (user === undefined) throw new UsageError("--user is missing; see meshd pptp dial --help");
  const methods = invocation.list("auth").map((one) => checkValue(auth, "--auth", one));
  const rule = invocation.text("encryption");
  const body = {
    ...{ host, user },
    routes: invocation.list("route").map((cidr) => checkValue(kinds.cidr(4), "--route", cidr)),
    ...(methods.length === 0 ? {} : { auth: methods }),
    ...(rule === undefined ? {} : { encryption: checkValue(encryption, "--encryption", rule) }),
    password: await readPassword(invocation, context),
  };
  context.err(`${INSECURE}\n`);
  const question = { method: "POST", body, timeout_ms: AGENT_WORK_TIMEOUT_MS } as const;
  await askAgent(invocation.settings, "/calls", question);
  const up = await untilUp(invocation, host);
  print(invocation, context, up, () => `connected to ${host} as ${user}: ${up.address}\n`);
}

/** The call when it is up. @throws CommandError MESHD_PPTP_NOT_UP */
async function untilUp(invocation: Invocation, host: string): Promise<SessionView> {
  const deadline = performance.now() + UP_MS;
  for (;;) {
    const all = await sessionsOf(invocation);
    const found = all.find(({ kind, name }) => kind === "dial-out" && name === host);
    if (found?.state === "up") return found;
    const problem = found?.problem ?? null;
    if (problem !== null || performance.now() > deadline) {
      const what = `${host}: ${problem ?? whyNotYet(found)}; the node goes on dialling`;
      throw new CommandError(
        "MESHD_PPTP_NOT_UP",
        `${what}, 'meshd pptp hang-up ${host}' ends that`,
      );
    }
    await sleep(LOOK_MS);
  }
}

/** What passes and what does not: TCP alone is what a NAT or firewall usually leaves of PPTP. */
function whyNotYet(found: SessionView | undefined): string {
  if (found?.state !== "link") return "no call yet";
  if (found.statistics.receivedPackets > 0) return "the two are not yet agreed";
  return (
    "TCP 1723 answers, but nothing comes by GRE: let IP protocol 47 pass both ways; " +
    "a NAT between must know PPTP"
  );
}

async function hangUp(invocation: Invocation, context: Context): Promise<undefined> {
  const [host = ""] = invocation.words;
  const path = `/dials/${encodeURIComponent(host)}`;
  await askAgent(invocation.settings, path, { method: "DELETE" });
  print(invocation, context, { hungUp: host }, () => `hung up ${host}\n`);
}

export const command: CommandGroup = {
  about:
    "PPTP calls of this node: users who dialled in, foreign servers, other members. " +
    `${INSECURE}.`,
  commands: {
    list: {
      usage: "",
      about:
        "Lists the calls of this node, with user or server, addresses, encryption, age and bytes.",
      example: "meshd pptp list",
      words: [0, 0],
      run: list,
    },
    disconnect: {
      usage: "SESSION|USER",
      about: "Ends a session of a user who dialled in, or all that a user has here.",
      example: "meshd pptp disconnect alice",
      words: [1, 1],
      run: disconnect,
    },
    dial: {
      usage: "HOST",
      about:
        "Connects this node to a foreign PPTP server, and goes on doing so until 'hang-up', over " +
        "restarts too. Pods reach the given networks with the address that the server gives.",
      example: "meshd pptp dial vpn.example.net --user gate7 --route 10.99.0.0/16",
      options: {
        user: { value: "NAME", about: "user at that server, DOMAIN\\NAME where it wants that" },
        "password-file": { value: "FILE", about: "file that holds the password (default: asked)" },
        route: { value: "CIDR", multiple: true, about: "network behind it; may be given again" },
        auth: {
          value: "METHOD",
          multiple: true,
          about: "ms-chap-v2 (default), ms-chap-v1, chap-md5 or pap; may be given again",
        },
        encryption: {
          value: "RULE",
          about: "required-128 (default), required, optional or off; all are insecure",
        },
      },
      words: [1, 1],
      run: dial,
    },
    "hang-up": {
      usage: "HOST",
      about: "Ends the connection to a foreign PPTP server and forgets it.",
      example: "meshd pptp hang-up vpn.example.net",
      words: [1, 1],
      run: hangUp,
    },
    nas,
  },
};
