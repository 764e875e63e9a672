// What `join` was given by flags and variables, kept beside the state so that a start without them
// (after a reboot, by systemd) gives the same node.
import { readFileSync } from "node:fs";
import { ConfigError, type SettingName, settingNames } from "../config/index.js";
import type { Invocation } from "./command.js";
import { writeSecret } from "./files.js";

/** Where join keeps its flags. */
export const rememberedFile = (stateDir: string) => `${stateDir}/settings.json`;

/** Never remembered: where state is says where to look, and the rest are for one call. */
const PASSING: readonly SettingName[] = ["stateDir", "runDir"];

/** @throws ConfigError MESHD_CONFIG_FILE when the file is damaged. */
export function readRemembered(stateDir: string): Partial<Record<SettingName, unknown>> {
  let text: string;
  try {
    text = readFileSync(rememberedFile(stateDir), "utf8");
  } catch {
    // Not there, or not for this user: nothing is remembered.
    return {};
  }
  try {
    const read: unknown = JSON.parse(text);
    if (typeof read !== "object" || read === null) throw new Error("it holds no object");
    return Object.fromEntries(
      Object.entries(read).filter(([key]) => settingNames.some((name) => name === key)),
    );
  } catch (cause) {
    const path = rememberedFile(stateDir);
    const message = `${path}: is damaged; remove it and give the flags of join again`;
    throw new ConfigError("MESHD_CONFIG_FILE", message, { cause });
  }
}

/** Keeps what flags and variables said now, together with what was remembered before. */
export function remember(invocation: Invocation, among: readonly SettingName[]): void {
  const kept = among.filter(
    (name) =>
      !PASSING.includes(name) &&
      ["flag", "variable", "remembered"].includes(invocation.origins[name]),
  );
  const values = Object.fromEntries(kept.map((name) => [name, invocation.settings[name]]));
  writeSecret(rememberedFile(invocation.settings.stateDir), `${JSON.stringify(values, null, 2)}\n`);
}
