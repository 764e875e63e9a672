// Moves a running datapath to another underlay address, port or encapsulation.
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { setCallsWorker, setUnderlay } from "./memory.js";
import type { Parts } from "./opening.js";
import type { UnderlayAddress } from "./sockets.js";

const REBIND_POLL_MS = 2;
const REBIND_DEADLINE_MS = 5000;

/** The datapath's other parts, as far as a change of sockets concerns them. */
export interface Rebound {
  isAlive(worker: number): boolean;
  wake(worker: number): void;
  /** The worker that has all packets of all calls, if there is one. */
  callsWorker(): number | undefined;
  /** New sockets are there, old ones may still be read. */
  replaced(): void;
  /** Every worker uses the new ones. */
  seen(): void;
  log(event: string, fields: Record<string, unknown>): void;
}

export class Rebinder {
  /** The address and port in use: those of open or of the last rebind. */
  current: UnderlayAddress;
  private changing: Promise<void> = Promise.resolve();

  constructor(
    private readonly parts: Pick<Parts, "options" | "memory" | "handles">,
    private readonly rebound: Rebound,
  ) {
    this.current = { protocol: "vxlan", ...parts.options.underlay, others: [] };
    setUnderlay(parts.memory, this.current.address);
  }

  /** One change after another. @throws {DatapathError} the old sockets stay in use then. */
  rebind(underlay: UnderlayAddress): Promise<void> {
    const change = this.changing.then(() => this.change(underlay));
    this.changing = change.catch(() => undefined);
    return change;
  }

  /** Resolves when no change is under way. */
  settled(): Promise<void> {
    return this.changing;
  }

  private async change(underlay: UnderlayAddress): Promise<void> {
    const { memory, handles } = this.parts;
    const wanted: UnderlayAddress = { protocol: "vxlan", others: [], ...underlay };
    if (isDeepStrictEqual(wanted, this.current)) return;
    const replaced = handles.replaceSockets(wanted);
    // Nobody's until all know whose: two workers must not have one call.
    if (this.rebound.callsWorker() === undefined) setCallsWorker(memory);
    this.current = wanted;
    setUnderlay(memory, wanted.address);
    this.rebound.replaced();
    for (const index of handles.workers.keys()) this.rebound.wake(index);
    await this.untilSeen();
    setCallsWorker(memory, memory.bases[this.rebound.callsWorker() ?? -1]);
    this.rebound.seen();
    handles.closeReplaced(replaced);
    this.rebound.log("underlay-rebound", { ...wanted });
  }

  /** Polls: workers answer within a round, and the packet path calls no control thread. */
  private async untilSeen(): Promise<void> {
    const end_ms = performance.now() + REBIND_DEADLINE_MS;
    const { workers } = this.parts.handles;
    const isSeen = () =>
      workers.every((ports, i) => ports.table.isSeen() || !this.rebound.isAlive(i));
    while (!isSeen() && performance.now() < end_ms) await sleep(REBIND_POLL_MS);
  }
}
