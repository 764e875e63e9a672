// Starts wires and asks them.
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { LabError } from "../error.js";
import type { WireSettings } from "./impairment.js";
import type { WireAnswer, WireQuestion } from "./program.js";

const PROGRAM = fileURLToPath(new URL("./program.js", import.meta.url));
const ANSWER_LIMIT_MS = 5000;

export interface WirePlace {
  /** Unix socket to make. */
  socketPath: string;
  /** Names of the TAPs to make. */
  network: string;
  node: string;
}

/** The argv of a wire's process, which makes its TAPs in the namespace that it is started in. */
export function wireArgv({ socketPath, network, node }: WirePlace, settings: WireSettings) {
  return [process.execPath, PROGRAM, socketPath, network, node, JSON.stringify(settings)];
}

/** Asks a wire. @throws LabError MESHD_LAB_WIRE when none answers */
export async function askWire(socketPath: string, question: WireQuestion): Promise<WireAnswer> {
  const socket = connect(socketPath);
  socket.setTimeout(ANSWER_LIMIT_MS, () => socket.destroy());
  let said = "";
  try {
    await once(socket, "connect");
    socket.write(`${JSON.stringify(question)}\n`);
    for await (const piece of socket) said += piece;
    return JSON.parse(said) as WireAnswer;
  } catch (cause) {
    throw new LabError("MESHD_LAB_WIRE", `no wire answers at ${socketPath}`, { cause });
  } finally {
    socket.destroy();
  }
}

/** As `askWire`; undefined when none answers. */
export async function findWire(socketPath: string): Promise<WireAnswer | undefined> {
  return askWire(socketPath, {}).catch(() => undefined);
}

/** Waits until a wire that was started answers. @throws LabError MESHD_LAB_WIRE */
export async function wireReady(socketPath: string): Promise<void> {
  const deadline = Date.now() + ANSWER_LIMIT_MS * 2;
  while ((await findWire(socketPath)) === undefined) {
    if (Date.now() > deadline) {
      throw new LabError("MESHD_LAB_WIRE", `no wire came up at ${socketPath}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
