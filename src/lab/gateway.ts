// A way from the host to the lab's NATS server: loopback TCP here, a unix socket across, TCP there.
// A unix socket is a file and so reaches from one network namespace into another.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LabError } from "./error.js";
import type { LabPlan } from "./plan.js";
import { inNamespace } from "./program.js";

const NATS_PORT = 4222;
const START_LIMIT_MS = 10_000;
/** A server that is lost without a word: the next one is tried. */
const CONNECT_LIMIT_MS = 2_000;

interface GatewayFile {
  pid: number;
  port: number;
}

const gatewayFile = (plan: LabPlan) => join(plan.control.runDir, "gateway.json");

function readGateway(plan: LabPlan): GatewayFile | undefined {
  if (!existsSync(gatewayFile(plan))) return undefined;
  try {
    return JSON.parse(readFileSync(gatewayFile(plan), "utf8")) as GatewayFile;
  } catch {
    return undefined;
  }
}

/** Compares the command line, so that a number that another process has by now is not taken. */
function isRunning({ pid }: GatewayFile, plan: LabPlan): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return words.includes(gatewayFile(plan));
  } catch {
    return false;
  }
}

/** Port on the host's loopback that leads to the lab's NATS server; undefined when it is down. */
export function gatewayPort(plan: LabPlan): number | undefined {
  const gateway = readGateway(plan);
  return gateway !== undefined && isRunning(gateway, plan) ? gateway.port : undefined;
}

/** Ends the gateway by its own pid; its far half ends with it. */
export function stopGateway(plan: LabPlan): void {
  const gateway = readGateway(plan);
  if (gateway !== undefined && isRunning(gateway, plan)) process.kill(gateway.pid, "SIGTERM");
  rmSync(gatewayFile(plan), { force: true });
}

/** Starts the gateway unless it runs. @throws LabError MESHD_LAB_GATEWAY */
export async function ensureGateway(plan: LabPlan): Promise<void> {
  if (gatewayPort(plan) !== undefined) return;
  mkdirSync(plan.control.runDir, { recursive: true, mode: 0o700 });
  const { namespace } = plan.control;
  const addresses = plan.controls.map((control) => control.address).join(",");
  const argv = [fileURLToPath(import.meta.url), "near", namespace, addresses, gatewayFile(plan)];
  spawn(process.execPath, argv, { detached: true, stdio: "ignore" }).unref();
  const deadline = Date.now() + START_LIMIT_MS;
  while (gatewayPort(plan) === undefined) {
    if (Date.now() > deadline) {
      throw new LabError("MESHD_LAB_GATEWAY", `the way to NATS in ${namespace} did not open`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A server that joins each connection to a new one: the first of `targets` that takes it. */
function relay(targets: NetConnectOpts[]): Server {
  return createServer((near) => {
    near.on("error", () => undefined);
    joinTo(near, targets);
  });
}

function joinTo(near: Socket, [target, ...others]: NetConnectOpts[]): void {
  if (target === undefined) {
    near.destroy();
    return;
  }
  const far = connect(target);
  let isJoined = false;
  far.setTimeout(CONNECT_LIMIT_MS, () => far.destroy(new Error("no answer")));
  far.once("connect", () => {
    isJoined = true;
    far.setTimeout(0);
    near.pipe(far).pipe(near);
    near.once("close", () => far.destroy());
  });
  far.on("error", () => (isJoined ? near.destroy() : joinTo(near, others)));
}

/** Far half, inside the control namespace: unix socket -> NATS. Ends when the near half is gone. */
function runFar(socketPath: string, address: string): void {
  rmSync(socketPath, { force: true });
  const targets = address.split(",").map((host) => ({ host, port: NATS_PORT }));
  relay(targets).listen(socketPath, () => process.send?.("up"));
  process.on("disconnect", () => process.exit(0));
}

/** Near half, on the host: loopback -> unix socket. Writes pid and port when both halves are up. */
function runNear(namespace: string, address: string, file: string): void {
  const socketPath = join(dirname(file), "nats.sock");
  const self = [process.execPath, fileURLToPath(import.meta.url), "far", socketPath, address];
  const [command = "", ...rest] = inNamespace(namespace, self);
  const stdio: ["ignore", "ignore", "ignore", "ipc"] = ["ignore", "ignore", "ignore", "ipc"];
  const far: ChildProcess = spawn(command, rest, { stdio });
  far.once("exit", () => process.exit(1));
  far.once("message", () => {
    const server = relay([{ path: socketPath }]);
    server.listen(0, "127.0.0.1", () => {
      const bound = server.address();
      const port = typeof bound === "object" && bound !== null ? bound.port : 0;
      writeFileSync(file, JSON.stringify({ pid: process.pid, port }), { mode: 0o600 });
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , half, ...rest] = process.argv;
  if (half === "near") runNear(rest[0] ?? "", rest[1] ?? "", rest[2] ?? "");
  else runFar(rest[0] ?? "", rest[1] ?? "");
}
