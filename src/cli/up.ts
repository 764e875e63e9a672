// meshd up: makes a mesh if there is none, and runs its nats-server and a controller here.
import { meshSettingNames } from "../config/index.js";
import type { Command } from "./command.js";

export const command: Command = {
  usage: "",
  about:
    "Makes a mesh, unless there is one in the state directory, and starts its nats-server and a " +
    "controller; returns when the controller answers. Settings of the mesh may be given the " +
    "first time; later 'meshd config set' changes them. 'meshd down' stops what up started; " +
    "'meshd up' starts it again, with the same keys and the same flags.",
  example: "meshd up --name prod --listen 192.0.2.10 --cluster-pool-ipv4-pod-cidr 10.60.0.0/16",
  options: {
    name: { value: "NAME", about: "name of the new mesh (default mesh)" },
    listen: { value: "ADDRESS", about: "address nats-server listens on (default 0.0.0.0)" },
    port: { value: "PORT", about: "port nats-server listens on (default 4222)" },
    advertise: {
      value: "ADDRESS",
      about: "address of this host for tokens (default: the listening one, or the default route's)",
    },
    cluster: {
      value: "HOST,HOST,HOST",
      about:
        "three (or five) hosts whose servers are to be one cluster, this one among them; writes " +
        "a bundle for each other one. Also on a mesh that runs: it grows when all are there",
    },
    "cluster-port": {
      value: "PORT",
      about: "port for the servers of the cluster among themselves (default 6222)",
    },
    "cluster-join": {
      value: "FILE",
      about: "make this host one of a cluster, by the bundle that its first host wrote for it",
    },
    foreground: { about: "stay, and log to standard error" },
    "no-systemd": { about: "start a process of its own although systemd runs" },
  },
  settings: meshSettingNames,
  words: [0, 0],
  // NATS client and controller are loaded when they are needed, not for a help text.
  run: async (invocation, context) => (await import("./up/run.js")).up(invocation, context),
};
