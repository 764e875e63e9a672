// meshd pptp nas: plain PPP from lines to a PPTP server. Runs until it is ended; needs no agent.
import { isAbsolute } from "node:path";
import { kinds } from "../config/index.js";
import type { LinePlace } from "../nas/index.js";
import { INSECURE } from "../pptp/index.js";
import { createLogger, eventLog } from "../telemetry/index.js";
import {
  type Command,
  CommandError,
  type Context,
  type Invocation,
  UsageError,
} from "./command.js";

/** "-", an absolute path, or ADDRESS:PORT. @throws UsageError */
function linePlace(text: string | undefined): LinePlace {
  if (text === undefined || text === "-") return { kind: "standard" };
  if (isAbsolute(text)) return { kind: "terminal", path: text };
  const at = kinds.splitHostPort(text);
  if (at !== undefined) return { kind: "tcp", address: at.host, port: at.port };
  const what = `--line ${JSON.stringify(text)} is no line`;
  throw new UsageError(`${what}: give -, a terminal's path, or ADDRESS:PORT to listen on`);
}

async function run(invocation: Invocation, context: Context): Promise<number> {
  const [server = ""] = invocation.words;
  const line = linePlace(invocation.text("line"));
  const { logLevel: level, logFormat: format } = invocation.settings;
  const log = eventLog(createLogger({ level, format }));
  const localAddress = invocation.text("local");
  const number = invocation.text("number");
  context.err(`${INSECURE}\n`);
  const { startNas } = await import("../nas/index.js");
  let noCall = null as string | null;
  const nas = await startNas({
    ...{ server, line, log },
    onNoCall: (reason) => {
      noCall = reason;
    },
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(number === undefined ? {} : { number }),
  }).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    const todo = "see --line in 'meshd pptp nas --help', and run it as root";
    throw new CommandError("MESHD_NAS_START", `the line or the raw socket: ${why}; ${todo}`, {
      cause,
    });
  });
  const signal = new Promise<void>((resolve) => {
    for (const name of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.once(name, resolve);
  });
  await Promise.race([nas.ended, signal]);
  const failure = line.kind === "tcp" ? null : noCall;
  await nas.close();
  if (failure === null) return 0;
  const todo = "check that a PPTP server is there, and that TCP 1723 and IP protocol 47 pass";
  throw new CommandError("MESHD_NAS_NO_CALL", `no call to ${server}: ${failure}; ${todo}`);
}

export const nas: Command = {
  usage: "SERVER",
  about:
    "Takes PPP from a line, as a modem would, and carries it through incoming calls to a PPTP " +
    "server, so that a client with no PPTP of its own reaches the mesh: who may, and what is " +
    "encrypted, the two agree on between themselves. The line is standard input and output (for " +
    "pppd's 'pty'), a terminal, or each TCP connection to an address. Runs until it is ended; as " +
    `root, without an agent. ${INSECURE}.`,
  example:
    'pppd pty "meshd pptp nas 192.0.2.1" user alice require-mppe-128 noauth\n' +
    "meshd pptp nas 192.0.2.1 --line 127.0.0.1:4000",
  options: {
    line: { value: "LINE", about: "- (default), a terminal's path, or ADDRESS:PORT to listen on" },
    local: { value: "ADDRESS", about: "own address towards the server (default: by the routes)" },
    number: { value: "TEXT", about: "told to the server as the number that was dialled" },
  },
  words: [1, 1],
  run,
};
