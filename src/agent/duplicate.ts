// A node key that runs on another host, too: what was found is kept, so that a copied disk does not
// take the node over while the host that it was copied from is down for a moment.
import type { ControlError, Identity, MemberSession } from "../../control/index.js";
import { replaceFile } from "../host/index.js";
import { AgentError, codeOf, messageOf } from "./errors.js";
import { readText, removeFiles } from "./files.js";
import type { AgentLog } from "./types.js";

/** One that runs where the node did not run last is asked about before it starts. */
const AWAY_MS = 3_000;
/** A new member is known to have a server that answers. */
const NEW_MS = 1_500;

/**
 * Refuses a host that was found to be a copy, while it still has that key.
 * @throws AgentError MESHD_DUPLICATE_NODE
 */
export async function refuseKnownCopy(path: string, identity: Identity): Promise<void> {
  const text = await readText(path);
  if (text === null) return;
  const mark = parseMark(text);
  if (mark.nodeId === identity.nodeId) {
    throw new AgentError("MESHD_DUPLICATE_NODE", `${mark.message} (found at ${mark.found})`);
  }
  await removeFiles(path);
}

function parseMark(text: string): { nodeId: string; message: string; found: string } {
  try {
    const { nodeId, message, found } = JSON.parse(text) as Record<string, unknown>;
    return { nodeId: String(nodeId), message: String(message), found: String(found) };
  } catch {
    return { nodeId: "", message: "", found: "" };
  }
}

/** Keeps what an error says, if it says that; the error goes on its way. */
export async function keepMark(path: string, nodeId: string, error: unknown): Promise<void> {
  if (codeOf(error) !== "MESHD_DUPLICATE_NODE") return;
  const mark = { nodeId, message: messageOf(error), found: new Date().toISOString() };
  await replaceFile(path, `${JSON.stringify(mark, null, 2)}\n`);
}

/** From now on whatever is found is kept. */
export function watchForCopies(session: MemberSession, path: string, log: AgentLog): void {
  session.on("duplicate", (error: ControlError) => {
    keepMark(path, session.nodeId, error).catch((cause: unknown) => {
      log("agent.duplicate.not-kept", { error: messageOf(cause) });
    });
  });
}

/**
 * Waits for word of another with this key where one is to be expected: not on the host that the
 * node ran on last, which starts without any server.
 * @throws ControlError MESHD_DUPLICATE_NODE
 */
export async function refuseCopy(session: MemberSession, isNew: boolean): Promise<void> {
  if (isNew) await session.twins.settled(NEW_MS);
  else if (!session.twins.isHome) await session.twins.settled(AWAY_MS);
}
