// meshd version.
import type { Command } from "./command.js";
import { print } from "./output.js";

export const command: Command = {
  usage: "",
  about: "Prints the version of meshd and of Node.",
  example: "meshd version --json",
  words: [0, 0],
  async run(invocation, context) {
    const value = { version: context.version, node: process.versions.node };
    print(invocation, context, value, () => `meshd ${value.version} (Node ${value.node})\n`);
    return undefined;
  },
};
