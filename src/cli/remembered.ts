// What `join` was given by flags and variables, kept beside the state so that a start without them
// (after a reboot, by systemd) gives the same node.
import { readFileSync, rmSync } from "node:fs";
import { ConfigError, isSettingName, type Remembered, type SettingName } from "../config/index.js";
import type { Invocation } from "./command.js";
import { writeSecret } from "./files.js";

/** Where join keeps its flags. */
export const rememberedFile = (stateDir: string) => `${stateDir}/settings.json`;

interface File {
  /** YAML file given by --config or MESHD_CONFIG, absolute. */
  config?: string;
  settings: Partial<Record<SettingName, unknown>>;
}

/** @throws ConfigError MESHD_CONFIG_FILE when the file is damaged. */
export function readRemembered(stateDir: string): Remembered {
  let text: string;
  try {
    text = readFileSync(rememberedFile(stateDir), "utf8");
  } catch {
    // Not there, or not for this user: nothing is remembered.
    return { values: {} };
  }
  try {
    const { config, settings } = JSON.parse(text) as File;
    const known = Object.entries(settings).filter(([key]) => isSettingName(key));
    const values = Object.fromEntries(known);
    return typeof config === "string" ? { file: config, values } : { values };
  } catch (cause) {
    const path = rememberedFile(stateDir);
    const message = `${path}: is damaged; remove it and give the flags of join again`;
    throw new ConfigError("MESHD_CONFIG_FILE", message, { cause });
  }
}

function contentsOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/**
 * Keeps what flags and variables said now of the settings `among`, and what was remembered before
 * of these and all others.
 * @returns takes it back: for a start that failed, whose flags must not bind the next one.
 */
export function remember(invocation: Invocation, among: readonly SettingName[]): () => void {
  const { settings, origins, namedFile } = invocation;
  const path = rememberedFile(settings.stateDir);
  const before = contentsOf(path);
  const lasting = ["flag", "variable", "remembered"];
  const kept = among.filter((name) => lasting.includes(origins[name]));
  const values = Object.fromEntries(kept.map((name) => [name, settings[name]]));
  const others = readRemembered(settings.stateDir).values;
  const all = { ...others, ...values };
  const file: File = { ...(namedFile && { config: namedFile }), settings: all };
  const text = `${JSON.stringify(file, null, 2)}\n`;
  // A start that brings nothing new needs no room on the disk.
  if (text !== before) writeSecret(path, text);
  return () => (before === undefined ? rmSync(path, { force: true }) : writeSecret(path, before));
}
