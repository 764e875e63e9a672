// A one-thread C proxy between TUN and UDP (native/proxy.c): what a user-space tunnel costs at
// least when it does nothing clever.
import { compileFlags, nativeProgram } from "../../support/native.js";
import { daemonKind, type End } from "./daemon.js";
import { findProgram } from "./program.js";

/** As kernel VXLAN and meshd have it, though it adds but 28. */
const OVERHEAD = 50;

const commandOf = ({ device, address, port, other }: End): string[] => [
  nativeProgram("proxy"),
  ...[device, address, `${port}`, other.address],
];

export const proxy = daemonKind({
  title: "C proxy",
  network: 1,
  overhead: OVERHEAD,
  isAvailable: () => (findProgram("cc") === undefined ? "no C compiler (cc)" : undefined),
  version: () => `bench/native/proxy.c, cc ${compileFlags}`,
  prepare: (client, server) => [commandOf(client), commandOf(server)],
});
