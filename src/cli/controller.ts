// meshd controller: one more controller of a mesh whose keys are here, on a NATS server that runs.
import type { Command } from "./command.js";

export const command: Command = {
  usage: "",
  about:
    "Runs one more controller for a mesh, without a nats-server of its own. The mesh's keys must " +
    "be in the state directory: copy the folder 'mesh' from the host where 'meshd up' ran, over " +
    "a safe channel. Returns when the controller answers; 'meshd down' stops it.",
  example: "meshd controller --nats tls://192.0.2.10:4222",
  options: {
    foreground: { about: "stay, and log to standard error" },
    "no-systemd": { about: "start a process of its own although systemd runs" },
  },
  words: [0, 0],
  run: async (invocation, context) =>
    (await import("./service/controller-run.js")).controller(invocation, context),
};
