// Services under systemd: the text of a unit, and when and how it is used.
import { execFile } from "node:child_process";
import { existsSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { RUN_DIR_DEFAULT, STATE_DIR_DEFAULT } from "../../config/index.js";
import { CommandError } from "../command.js";
import type { Place, ServiceName } from "./process-files.js";

const runProgram = promisify(execFile);

/** systemd on this host, or a test's. */
export interface Systemd {
  /** Folder of unit files. */
  units: string;
  systemctl(argv: readonly string[]): Promise<string>;
  /** The last lines a unit has logged. */
  journal(unit: string): Promise<string>;
}

const SUMMARY: Record<ServiceName, string> = {
  agent: "meshd node",
  controller: "meshd controller and NATS server",
};

export const unitName = (name: ServiceName) => (name === "agent" ? "meshd" : "meshd-controller");

export const hostSystemd: Systemd = {
  units: "/etc/systemd/system",
  systemctl: async (argv) => (await runProgram("systemctl", [...argv])).stdout,
  async journal(unit) {
    const argv = ["-u", unit, "-n", "20", "-o", "cat", "--no-pager"];
    return (await runProgram("journalctl", argv)).stdout;
  },
};

/**
 * Whether services are handed to systemd: it runs, the directories are the host's own, and this
 * process is in the host's network namespace (a unit would start in that one).
 */
export function systemdFits(place: Place, wanted: boolean): boolean {
  const usual = place.stateDir === STATE_DIR_DEFAULT && place.runDir === RUN_DIR_DEFAULT;
  return wanted && usual && existsSync("/run/systemd/system") && inHostNamespace();
}

function inHostNamespace(): boolean {
  try {
    return readlinkSync("/proc/self/ns/net") === readlinkSync("/proc/1/ns/net");
  } catch {
    return false;
  }
}

/**
 * A word of ExecStart: quoted, with systemd's specifiers and variables switched off. A line feed
 * would begin another directive.
 */
function unitWord(word: string): string {
  if (/\p{Cc}/u.test(word)) {
    const message = `${JSON.stringify(word)} cannot stand in a unit file; try --no-systemd`;
    throw new CommandError("MESHD_SYSTEMD", message);
  }
  const escaped = word.replace(/[\\"]/g, "\\$&").replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9_@./:=,+-]+$/.test(word) ? word : `"${escaped}"`;
}

/** The unit file. `argv` is the whole command, absolute path first. */
export function unitText(name: ServiceName, argv: readonly string[]): string {
  // The agent leaves TUN, routes and pods in place when it stops: a restart must not cut traffic.
  return `# Written by meshd; changes belong in a drop-in: systemctl edit ${unitName(name)}
[Unit]
Description=${SUMMARY[name]}
Wants=network-online.target
After=network-online.target${name === "agent" ? " meshd-controller.service" : ""}

[Service]
Type=exec
ExecStart=${argv.map(unitWord).join(" ")}
Restart=on-failure
RestartSec=1
KillMode=mixed
TimeoutStopSec=30
LimitNOFILE=1048576
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
`;
}

/** Writes, enables and starts the unit. @throws CommandError MESHD_SYSTEMD */
export async function startUnit(
  systemd: Systemd,
  name: ServiceName,
  argv: readonly string[],
): Promise<void> {
  const unit = unitName(name);
  writeFileSync(`${systemd.units}/${unit}.service`, unitText(name, argv), { mode: 0o644 });
  await control(systemd, ["daemon-reload"]);
  await control(systemd, ["enable", `${unit}.service`]);
  await control(systemd, ["restart", `${unit}.service`]);
}

/** "active", "failed", "inactive" ... and the main process. */
export async function unitState(
  systemd: Systemd,
  name: ServiceName,
): Promise<{ state: string; pid: number; restarts: number }> {
  const argv = ["show", "-p", "ActiveState,MainPID,NRestarts", `${unitName(name)}.service`];
  const text = await control(systemd, argv);
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, "m").exec(text)?.[1] ?? "";
  const number = (key: string) => Number(value(key)) || 0;
  return { state: value("ActiveState"), pid: number("MainPID"), restarts: number("NRestarts") };
}

export function hasUnit(systemd: Systemd, name: ServiceName): boolean {
  return existsSync(`${systemd.units}/${unitName(name)}.service`);
}

/** Stops the unit; with `remove` it does not start at boot any more. */
export async function stopUnit(
  systemd: Systemd,
  name: ServiceName,
  remove: boolean,
): Promise<void> {
  const unit = `${unitName(name)}.service`;
  await control(systemd, ["stop", unit]);
  if (!remove) return;
  await control(systemd, ["disable", unit]);
  rmSync(`${systemd.units}/${unit}`, { force: true });
  await control(systemd, ["daemon-reload"]);
}

async function control(systemd: Systemd, argv: readonly string[]): Promise<string> {
  try {
    return await systemd.systemctl(argv);
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.trim().split("\n").at(-1) : String(cause);
    const message = `'systemctl ${argv.join(" ")}' failed: ${said}; --no-systemd does without it`;
    throw new CommandError("MESHD_SYSTEMD", message, { cause });
  }
}
