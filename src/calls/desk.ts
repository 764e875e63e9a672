// What all sorts of calls share: places, links, timers, and who gets the frames of which place.
import type { LinkOptions } from "../ppp/index.js";
import { Call, type CallEvents } from "./call.js";
import type { ControlPort } from "./control-port.js";
import type { CallKind, CallPort, CallsLog, Clock, WindowMode } from "./types.js";

export interface DeskOptions {
  port: CallPort;
  control: ControlPort;
  clock: Clock;
  log: CallsLog;
  /** Facts are others than before. */
  onChange: () => void;
}

/**
 * Packets that we take without having acknowledged one, as we tell the other end. A burst of large
 * packets that were cut is some forty at once; foreign ends may take a huge number for nonsense.
 * Of members we know that a socket's buffer holds as many.
 */
const FOREIGN_WINDOW = 1024;
export const OWN_WINDOW: Record<CallKind, number> = {
  ...{ "dial-in": FOREIGN_WINDOW, "dial-out": FOREIGN_WINDOW },
  pair: 8192,
};

/** A place in the hot path that is taken, before there is a link. */
export interface Place {
  slot: number;
  localId: number;
}

export class Desk {
  private readonly calls = new Map<number, Call>();

  constructor(readonly options: DeskOptions) {
    options.port.onFrame((slot, frame) => this.calls.get(slot)?.receive(frame));
    options.port.onEvent((slot, event) => {
      const call = this.calls.get(slot);
      if (event === "needs-reset") call?.needsReset();
      else call?.close("what comes does not fit its keys any more");
    });
  }

  /** null: none is free. */
  reserve(): Place | null {
    try {
      return this.options.port.reserve();
    } catch (error) {
      this.options.log("pptp.full", { error });
      return null;
    }
  }

  /** Lets frames pass and begins with PPP. */
  open(
    { slot }: Place,
    end: { peerId: number; address: string; window: number; windowMode: WindowMode },
    link: LinkOptions,
    events: CallEvents,
    wait_ms = 0,
  ): Call {
    const { port, clock } = this.options;
    port.open(slot, end);
    const ended = (reason: string) => {
      this.calls.delete(slot);
      events.ended(reason);
    };
    const call = new Call({ port, clock, slot, link, events: { ...events, ended } });
    this.calls.set(slot, call);
    call.start(wait_ms);
    return call;
  }
}
