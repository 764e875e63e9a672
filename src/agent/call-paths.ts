// The paths of agent.sock for calls: what is up, who is to be disconnected, dialled, hung up.
import type { Route } from "./api.js";
import { fieldsOf } from "./body.js";
import type { CallKeeper } from "./call-keeper.js";
import { readDialRequest } from "./dials.js";
import { AgentError } from "./errors.js";

const FIELDS = ["host", "user", "password", "auth", "encryption", "routes"];

export function callPaths(calls: CallKeeper): Route[] {
  return [
    { method: "GET", path: /^\/calls$/, handle: () => calls.list() },
    {
      method: "POST",
      path: /^\/calls$/,
      handle: async (_, body) => {
        const dial = readDialRequest(fieldsOf(body, FIELDS));
        await calls.dial(dial);
        return { dialling: dial.host };
      },
    },
    {
      method: "DELETE",
      path: /^\/calls\/(\d{1,5})$/,
      handle: ([slot = ""]) => {
        calls.disconnect(Number(slot));
        return { disconnected: Number(slot) };
      },
    },
    {
      method: "DELETE",
      path: /^\/dials\/([^/]+)$/,
      handle: async ([host = ""]) => {
        if (host === "") throw new AgentError("MESHD_BAD_REQUEST", "host must not be empty");
        await calls.hangUp(host);
        return { hungUp: host };
      },
    },
  ];
}
