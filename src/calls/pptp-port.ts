// Control connections in truth: src/pptp's server and dials, on TCP 1723.
import { Collisions, type Dialed, dialPptp, PptpServer, type ServerCall } from "../pptp/index.js";
import type { ControlPort, OfferedCall } from "./control-port.js";
import type { CallsLog } from "./types.js";

/** Until a call is up; who does not answer is dialled again later. */
const DIAL_MS = 20_000;
const HOST_NAME = "meshd";

/** Told the addresses whose control connections are up, when they change. */
export type OnCallers = (addresses: readonly string[]) => Promise<void> | void;

function offered(call: ServerCall): OfferedCall {
  return {
    accept: ({ callId: id, window }) => call.accept({ id, window }),
    refuse: (why) => call.refuse(why),
    clear: (why) => call.clear(why),
    onConnected: (handler) => call.onConnected(handler),
    onEnd: (handler) => call.onEnd(handler),
    onStatistics: (handler) => call.onStatistics(handler),
  };
}

/** Calls wait until `onCallers` is done: what filters packets lets theirs in by then. */
export function pptpPort(log: CallsLog, onCallers: OnCallers = () => undefined): ControlPort {
  const collisions = new Collisions();
  const dialled = new Map<Dialed, string>();
  let served: readonly string[] = [];
  let settled: Promise<void> | void;
  const tell = () => {
    settled = onCallers([...new Set([...served, ...dialled.values()])].sort());
  };
  /** What goes wrong with one call ends that call alone. */
  const whenSettled = async (pass: () => void, giveUp: () => void) => {
    try {
      await settled;
      pass();
    } catch (error) {
      log("pptp.call.failed", { error: String(error) });
      giveUp();
    }
  };
  return {
    listen: async ({ address, onCall }) => {
      const server = await PptpServer.listen({
        ...{ address, collisions, hostName: HOST_NAME },
        onCall: (request, call) => {
          let isOver = false;
          call.onEnd(() => {
            isOver = true;
          });
          const pass = () => {
            if (!isOver) onCall(request, offered(call));
          };
          void whenSettled(pass, () => call.clear("lost"));
        },
        onPeers: (peers) => {
          served = peers;
          tell();
        },
        log: (what, fields) => log("pptp.control", { what, ...fields }),
      });
      return server;
    },
    dial: (options, events) => {
      const words = { hostName: HOST_NAME, timeout_ms: DIAL_MS, collisions };
      const dial = dialPptp(
        { ...options, ...words },
        {
          established: (address) => {
            dialled.set(dial, address);
            tell();
          },
          connected: (end) => {
            const pass = () => {
              if (dialled.has(dial)) events.connected(end);
            };
            void whenSettled(pass, () => void dial.clear("lost"));
          },
          ended: ({ message }) => {
            if (dialled.delete(dial)) tell();
            events.ended(message);
          },
        },
      );
      return { clear: (why) => void dial.clear(why) };
    },
  };
}
