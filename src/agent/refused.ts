// Says in the log what the workers refuse because of who sent it: a line for each reason when it
// begins, and while it goes on one in a minute.
import type { AgentLog, DropRow } from "./types.js";

/** Whose packets these are is the reason; others are chatter, or broken. */
const REASONS = ["UNKNOWN_PEER", "SPOOFED_SOURCE"];
const EVERY_MS = 60_000;

export class RefusedPackets {
  private readonly said = new Map<string, { packets: number; at_ms: number }>();

  constructor(
    private readonly log: AgentLog,
    private readonly now_ms: () => number = () => performance.now(),
  ) {}

  look(rows: readonly DropRow[]): void {
    for (const { reason, direction, packets, last } of rows) {
      if (direction !== "ingress" || !REASONS.includes(reason)) continue;
      const before = this.said.get(reason) ?? { packets: 0, at_ms: Number.NEGATIVE_INFINITY };
      // A worker that was started anew counts from nothing.
      if (packets < before.packets) this.said.set(reason, { ...before, packets });
      if (packets <= before.packets || this.now_ms() - before.at_ms < EVERY_MS) continue;
      this.said.set(reason, { packets, at_ms: this.now_ms() });
      const whence = last ? { from: last.from, peer: last.peer, source: last.source } : {};
      this.log("packets.refused", { reason, packets: packets - before.packets, ...whence });
    }
  }
}
