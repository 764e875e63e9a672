// What is said of the two ways to a peer: fields, lines for people, and the log's, within a rate.
import type { AgentLog, PathState, Reachability } from "../types.js";
import type { Verdict } from "./peer-life.js";

/** Lines of the log at once, and one more in so long a time. */
const LINES_MAX = 20;
const LINE_MS = 2000;

const STATES: Readonly<Record<Verdict, { reachable: Reachability; path: PathState }>> = {
  unknown: { reachable: "unknown", path: { toPeer: "unknown", fromPeer: "unknown" } },
  heard: { reachable: "unknown", path: { toPeer: "unknown", fromPeer: "ok" } },
  ok: { reachable: "reachable", path: { toPeer: "ok", fromPeer: "ok" } },
  unanswered: { reachable: "unreachable", path: { toPeer: "unknown", fromPeer: "unknown" } },
  unheard: { reachable: "unreachable", path: { toPeer: "lost", fromPeer: "ok" } },
  silent: { reachable: "unreachable", path: { toPeer: "unknown", fromPeer: "lost" } },
};

/** One that is no meshd, and is heard, is there: it need not answer. */
export function stateOf(
  verdict: Verdict,
  kind: "member" | "static",
): { reachable: Reachability; path: PathState } {
  const { reachable, path } = STATES[verdict];
  const isThere = verdict === "heard" && kind === "static";
  return { reachable: isThere ? "reachable" : reachable, path: { ...path } };
}

/** What is wrong on the way, who does not hear whom; null: nothing. */
export function wayProblem(verdict: Verdict, name: string, heard_ms: number | null): string | null {
  const since = heard_ms === null ? "ever" : `for ${Math.max(Math.round(heard_ms / 1000), 1)} s`;
  if (verdict === "unanswered") return `no answer, and nothing heard ${since}`;
  if (verdict === "unheard") {
    return `one-way: ${name} does not hear this node, while its own packets arrive`;
  }
  if (verdict !== "silent") return null;
  return `this node does not hear ${name} (nothing ${since}): it is down, or its packets are lost`;
}

/** A peer of which something else is believed than before. */
export interface Change {
  name: string;
  verdict: Verdict;
  before: Verdict;
  heard_ms: number | null;
}

const isBad = (verdict: Verdict) => wayProblem(verdict, "", null) !== null;

/** Writes a line for each change from or to something bad; what is too much is counted. */
export class LifeLog {
  private lines = LINES_MAX;
  private at_ms = 0;
  private left = 0;

  constructor(private readonly log: AgentLog) {}

  note({ name, verdict, before, heard_ms }: Change, now: number): void {
    if (!isBad(verdict) && !isBad(before)) return;
    this.lines = Math.min(this.lines + (now - this.at_ms) / LINE_MS, LINES_MAX);
    this.at_ms = now;
    if (this.lines < 1) {
      this.left++;
      return;
    }
    this.lines--;
    const { reachable, path } = STATES[verdict];
    const said = wayProblem(verdict, name, heard_ms) ?? "both ways carry packets";
    const more = this.left === 0 ? {} : { unsaid: this.left };
    this.left = 0;
    const event = isBad(verdict) ? "agent.peer.lost" : "agent.peer.back";
    this.log(event, { peer: name, reachable, ...path, said, ...more });
  }
}
