// What `up` is to start: remembered from the last time, changed by flags.
import { rmSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { checkSetting } from "../../../control/index.js";
import {
  checkValue,
  kinds,
  limits,
  type MeshSettings,
  meshSettingNames,
  SETTINGS,
} from "../../config/index.js";
import { CommandError, type Invocation } from "../command.js";
import { readIfThere, writeSecret } from "../files.js";
import { clusterHosts, ownHost } from "./cluster.js";

/** Kept in up.json, so that `meshd up` after a reboot needs no flags. */
export interface UpPlan {
  /** Address nats-server listens on. */
  listen: string;
  port: number;
  /** Address that join tokens name. */
  advertise: string;
}

const port = kinds.integer(1, limits.PORT_MAX);
const host = kinds.text(
  "an IPv4 or IPv6 address, or a host's name",
  (given) =>
    kinds.address.parse(given) !== undefined || /^[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$/.test(given),
);
const fileIn = (stateDir: string) => `${stateDir}/up.json`;

/** Flags over what was remembered over defaults. @throws ConfigError */
export async function planUp(invocation: Invocation, bundled?: Partial<UpPlan>): Promise<UpPlan> {
  const before = bundled ?? rememberedPlan(invocation.settings.stateDir);
  const listenText = invocation.text("listen") ?? before?.listen ?? "0.0.0.0";
  const listen = checkValue(kinds.address, "--listen", listenText);
  const portText = invocation.text("port") ?? before?.port ?? limits.NATS_PORT_DEFAULT;
  const given = invocation.text("advertise");
  const hosts = clusterHosts(invocation);
  const among = hosts && (await ownHost(hosts, given ?? before?.advertise));
  const kept = invocation.has("listen") && !bundled ? undefined : before?.advertise;
  const text = given ?? among ?? kept ?? (await advertisedFor(listen));
  const advertise = checkValue(host, "--advertise", text);
  return { listen, port: checkValue(port, "--port", portText), advertise };
}

/** @returns takes it back: for a start that failed, whose flags must not bind the next one. */
export function rememberPlan(stateDir: string, plan: UpPlan): () => void {
  const path = fileIn(stateDir);
  const before = readIfThere(path);
  writeSecret(path, `${JSON.stringify(plan, null, 2)}\n`);
  return () => (before === undefined ? rmSync(path, { force: true }) : writeSecret(path, before));
}

/** A server that runs listens where it was started: other flags are refused, not ignored. */
export async function checkSamePlan(invocation: Invocation): Promise<void> {
  const before = rememberedPlan(invocation.settings.stateDir);
  const plan = await planUp(invocation);
  const names = ["listen", "port", "advertise"] as const;
  const differs = names.find((name) => invocation.has(name) && plan[name] !== before?.[name]);
  if (differs === undefined) return;
  const message =
    `--${differs} ${plan[differs]}: it runs with ${before?.[differs]}; 'meshd down' first, ` +
    "then 'meshd up' with the new flags";
  throw new CommandError("MESHD_ALREADY_RUNNING", message);
}

function rememberedPlan(stateDir: string): Partial<UpPlan> | undefined {
  const text = readIfThere(fileIn(stateDir));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Partial<UpPlan>;
  } catch (cause) {
    const message = `${fileIn(stateDir)} is damaged; remove it and give the flags of up again`;
    throw new CommandError("MESHD_STATE", message, { cause });
  }
}

/** URL of the server as other hosts reach it. */
export function advertisedUrl(plan: UpPlan): string {
  const host = plan.advertise.includes(":") ? `[${plan.advertise}]` : plan.advertise;
  return `tls://${host}:${plan.port}`;
}

/** An address others can reach: the one listened on, else the source of the default route. */
async function advertisedFor(listen: string): Promise<string> {
  if (listen !== "0.0.0.0" && listen !== "::") return listen;
  const family = listen === "::" ? 6 : 4;
  const { defaultSource } = await import("../../host/index.js");
  return (await defaultSource(family)) ?? firstAddress(family) ?? "127.0.0.1";
}

function firstAddress(family: 4 | 6): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const wanted = `IPv${family}`;
  return all.find((one) => one.family === wanted && !one.internal && !/^fe80:/i.test(one.address))
    ?.address;
}

/**
 * Settings of the mesh that somebody gave, by file, variable or flag. Those that a node may have
 * for itself count for the mesh only as flags of `up`: in the file of this host they are its own.
 */
export function givenMeshSettings(invocation: Invocation): Partial<MeshSettings> {
  const given = meshSettingNames.filter((name) => {
    const origin = invocation.origins[name];
    return origin === "flag" || (SETTINGS[name].scope === "mesh" && origin !== "default");
  });
  return Object.fromEntries(given.map((name) => [name, invocation.settings[name]]));
}

/**
 * A mesh that exists has its settings in its store: flags that differ from what it began with are
 * refused rather than ignored.
 */
export function checkUnchanged(
  invocation: Invocation,
  begun: Readonly<Record<string, unknown>>,
): void {
  const differs = meshSettingNames.find((name) => {
    // As the control plane writes it: an IPv6 prefix has many spellings.
    const given = () => checkSetting(name, invocation.settings[name]).value;
    return invocation.origins[name] === "flag" && given() !== begun[name];
  });
  if (differs === undefined) return;
  const message =
    `${differs}: the mesh exists and began with ${JSON.stringify(begun[differs])}; ` +
    `use 'meshd config set ${differs} ${invocation.settings[differs]}'`;
  throw new CommandError("MESHD_MESH_EXISTS", message);
}
