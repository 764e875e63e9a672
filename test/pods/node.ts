// A node for the pods' tests: a namespace with an overlay device and addresses, and in it a process
// that runs the pods room.
//   namespace NODE: mesh0 (TUN, no default route)   mp... -- eth0 in pod   mp... -- eth0 in pod
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  enableForwarding,
  reconcileAddresses,
  run,
  SysctlKeeper,
  setLink,
} from "../../src/host/index.js";
import type { Pod, PodRequest, PodsOptions } from "../../src/pods/index.js";
import { adoptNamespace, createNamespace, inNamespace, uniqueName } from "../support/netns.js";
import type { Answer, Call } from "./node-process.js";

/** Taken away when this process ends. */
const stateDirs = new Set<string>();
const processes = new Set<ChildProcess>();

process.once("exit", () => {
  for (const child of processes) child.kill("SIGKILL");
  for (const stateDir of stateDirs) rmSync(stateDir, { recursive: true, force: true });
});

const SCRIPT = fileURLToPath(new URL("./node-process.js", import.meta.url));

interface Running {
  child: ChildProcess;
  /** Answers that are due: only these keep the test process alive. */
  due: number;
}

export class TestNode {
  readonly netns: string;
  readonly stateDir: string;
  private running: Running | undefined;
  private serial = 0;
  private readonly options: PodsOptions;

  private constructor(options: Partial<PodsOptions>) {
    this.netns = createNamespace("node");
    this.stateDir = mkdtempSync(join(tmpdir(), "meshd-pods-"));
    stateDirs.add(this.stateDir);
    const podCidrs = ["10.244.1.0/24", "fd00:244:0:1::/64"];
    this.options = { stateDir: this.stateDir, device: "mesh0", podCidrs, mtu: 1450, ...options };
  }

  static async start(options: Partial<PodsOptions> = {}): Promise<TestNode> {
    const node = new TestNode(options);
    const { netns } = node;
    const { device } = node.options;
    await run(["ip", "tuntap", "add", "mode", "tun", device], { netns });
    await setLink(device, { mtu: 1450, addressMode: "none", up: true }, { netns });
    await reconcileAddresses(device, ["10.244.1.0/32", "fd00:244:0:1::/128"], { netns });
    const keeper = new SysctlKeeper();
    await enableForwarding(keeper, 4, [], { netns });
    await enableForwarding(keeper, 6, [], { netns });
    await node.open();
    return node;
  }

  /** Starts the process (again): what an agent does after it was killed. */
  async open(options: Partial<PodsOptions> = {}): Promise<void> {
    this.running?.child.kill("SIGKILL");
    const [file = "", ...rest] = inNamespace(this.netns, [process.execPath, SCRIPT]);
    const child = spawn(file, rest, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    child.unref();
    child.channel?.unref();
    processes.add(child);
    this.running = { child, due: 0 };
    await this.call("open", { ...this.options, ...options });
  }

  /** Adds a pod; its namespace goes with the test unless `netns` names one. */
  async add(request: PodRequest): Promise<Pod> {
    const netns = request.netns ?? uniqueName(request.name);
    if (!netns.startsWith("/")) adoptNamespace(netns);
    return (await this.call("add", { ...request, netns })) as Pod;
  }

  async restore(): Promise<{ changes: number; failed: string[][] }> {
    return (await this.call("restore")) as { changes: number; failed: string[][] };
  }

  async list(): Promise<Pod[]> {
    return (await this.call("list")) as Pod[];
  }

  async call(method: Call["method"], argument?: unknown): Promise<unknown> {
    const { running } = this;
    if (running === undefined) throw new Error("the node's process is not there");
    const { child } = running;
    this.serial += 1;
    const id = this.serial;
    running.due += 1;
    child.channel?.ref();
    return new Promise<unknown>((resolve, fail) => {
      const onExit = (): void => fail(new Error("the node's process ended"));
      const onAnswer = (answer: Answer): void => {
        if (answer.id !== id) return;
        child.off("message", onAnswer).off("exit", onExit);
        const { error } = answer;
        if (error === undefined) resolve(answer.value);
        else fail(Object.assign(new Error(error.message), { code: error.code }));
      };
      child.on("message", onAnswer).once("exit", onExit).setMaxListeners(100);
      child.send({ id, method, argument } satisfies Call);
    }).finally(() => {
      running.due -= 1;
      if (running.due === 0) child.channel?.unref();
    });
  }

  /** The code of the error that a call ends in; undefined when it succeeds. */
  async codeFrom(method: Call["method"], argument?: unknown): Promise<string | undefined> {
    return this.call(method, argument).then(
      () => undefined,
      (error: unknown) => (error as { code?: string }).code,
    );
  }
}
