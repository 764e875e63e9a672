// Control connections in truth: src/pptp's server and dials, on TCP 1723.
import { Collisions, dialPptp, PptpServer } from "../pptp/index.js";
import type { ControlPort } from "./control-port.js";
import type { CallsLog } from "./types.js";

/** Until a call is up; who does not answer is dialled again later. */
const DIAL_MS = 20_000;
const HOST_NAME = "meshd";

/** How a call's end is told to those who wait for it. */
export function pptpPort(log: CallsLog): ControlPort {
  const collisions = new Collisions();
  return {
    listen: ({ address, onCall }) =>
      PptpServer.listen({
        ...{ address, collisions, hostName: HOST_NAME },
        onCall: (request, call) =>
          onCall(request, {
            accept: ({ callId: id, window }) => call.accept({ id, window }),
            refuse: (why) => call.refuse(why),
            clear: (why) => call.clear(why),
            onConnected: (handler) => call.onConnected(handler),
            onEnd: (handler) => call.onEnd(handler),
            onStatistics: (handler) => call.onStatistics(handler),
          }),
        log: (what, fields) => log("pptp.control", { what, ...fields }),
      }),
    dial: (options, events) => {
      const words = { hostName: HOST_NAME, timeout_ms: DIAL_MS, collisions };
      const dialled = dialPptp(
        { ...options, ...words },
        {
          connected: (end) => events.connected(end),
          ended: ({ message }) => events.ended(message),
        },
      );
      return { clear: (why) => void dialled.clear(why) };
    },
  };
}
