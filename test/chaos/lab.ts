// The lab that is broken: a `meshd lab` of the suite's own, or one that an operator has up already.
// Driven through bin/meshd as a user would, but without holding up the event loop.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentStatus } from "../../src/agent/index.js";
import { type LabRoots, type LabStatusNode, labStatus } from "../../src/lab/index.js";
import { getJson } from "../mesh/mesh-lab.js";
import { atEnd } from "../support/ends.js";
import { type Finished, inNamespace } from "../support/netns.js";
import { type LabProcess, processesIn } from "./procs.js";

const COMMAND_LIMIT_MS = 120_000;
/** Disks of their own, so that they can be filled: a node's state, and a control host's. */
const NODE_DISK = "24m";
const CONTROL_DISK = "128m";

export interface Place {
  namespace: string;
  stateDir: string;
  runDir: string;
}

export interface LabShape {
  nodes: number;
  pods: number;
  subnets: number;
  /** Hosts of the control plane. */
  servers: number;
  /** More words for `meshd lab up`. */
  words: string[];
}

export interface CommandOptions {
  input?: string;
  env?: Record<string, string>;
}

/** A meshd command failed, with what it said. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed";
}

export class ChaosLab {
  readonly roots: LabRoots;
  /** Hosts of the control plane: nats-server and controller. */
  readonly controls: readonly Place[];
  /** Mounted by us. */
  readonly #disks: string[] = [];
  readonly #stopped = new Set<number>();
  readonly #running = new Set<ChildProcess>();
  #nodes: LabStatusNode[] = [];

  private constructor(
    readonly name: string,
    readonly folder: string,
    /** Made by us, and so ours to take down; else an operator's, which stays. */
    readonly isOwn: boolean,
    roots?: LabRoots,
    servers = 1,
  ) {
    this.roots = roots ?? { stateDir: join(folder, "s"), runDir: join(folder, "r") };
    this.controls = Array.from({ length: servers }, (_, index) => {
      const number = index === 0 ? "" : `${index + 1}`;
      return this.#place(`ctl${number}`, `control${number}`);
    });
  }

  /** Makes a lab of our own, each of its hosts with a small disk for its state. */
  static async make(shape: LabShape): Promise<ChaosLab> {
    const folder = mkdtempSync(join(tmpdir(), "meshd-chaos-"));
    const lab = new ChaosLab(`ch${process.pid}`, folder, true, undefined, shape.servers);
    lab.#guard();
    for (let number = 1; number <= shape.nodes; number++) {
      lab.#mount(lab.node(`n${number}`).stateDir, NODE_DISK);
    }
    for (const { stateDir } of lab.controls) lab.#mount(stateDir, CONTROL_DISK);
    const { nodes, pods, subnets, servers, words } = shape;
    const counts = { nodes, pods, subnets, ...(servers === 1 ? {} : { servers }) };
    const options = Object.entries(counts).flatMap(([name, count]) => [`--${name}`, `${count}`]);
    await lab.lab("up", ...options, ...words);
    await lab.refresh();
    return lab;
  }

  /** A lab that is up already; only what a lab can be healed of by `lab up` is done to it. */
  static async adopt(name: string, roots: LabRoots): Promise<ChaosLab> {
    const folder = mkdtempSync(join(tmpdir(), "meshd-chaos-"));
    const { controls } = await labStatus(roots, name);
    const lab = new ChaosLab(name, folder, false, roots, controls.length);
    lab.#guard();
    await lab.refresh();
    return lab;
  }

  #place(namespace: string, folder: string): Place {
    const below = join("labs", this.name, folder);
    return {
      namespace: `${this.name}-${namespace}`,
      stateDir: join(this.roots.stateDir, below),
      runDir: join(this.roots.runDir, below),
    };
  }

  #mount(path: string, size: string): void {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const options = `size=${size},mode=0700`;
    const done = spawnSync("mount", ["-t", "tmpfs", "-o", options, "meshd-chaos", path]);
    // Where nothing may be mounted, faults of disks say so.
    if (done.status === 0) this.#disks.push(path);
  }

  /** Where administrators type their commands. */
  get control(): Place {
    return this.controls[0] as Place;
  }

  /** A host's name in the lab: n1, ctl. */
  hostName({ namespace }: Place): string {
    return namespace.slice(this.name.length + 1);
  }

  /** Whether the place has a disk of its own, which can be filled. */
  hasDisk(place: Place): boolean {
    return this.#disks.includes(place.stateDir);
  }

  node(name: string): Place {
    return this.#place(name, name);
  }

  /** Nodes and their pods as of the last `refresh`. */
  get nodes(): readonly LabStatusNode[] {
    return this.#nodes;
  }

  get nodeNames(): string[] {
    return this.#nodes.map(({ namespace }) => namespace.slice(this.name.length + 1));
  }

  get networkSpace(): string {
    return `${this.name}-net`;
  }

  async refresh(): Promise<void> {
    this.#nodes = (await labStatus(this.roots, this.name)).nodes;
  }

  /** `meshd lab VERB` of this lab. @throws CommandFailed */
  lab(verb: string, ...rest: string[]): Promise<string> {
    const { stateDir, runDir } = this.roots;
    return this.meshd({ namespace: "", stateDir, runDir }, [
      ...["lab", verb, "--name", this.name],
      ...rest,
    ]);
  }

  /** A command that must succeed. @throws CommandFailed with its line */
  async meshd(place: Place, words: string[], options: CommandOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.tryMeshd(place, words, options);
    if (code === 0) return stdout;
    const line = stderr.trim().split("\n").at(-1) ?? "";
    const shown = words.map((word) => (word.length > 60 ? `${word.slice(0, 12)}...` : word));
    throw new CommandFailed(
      `meshd ${shown.join(" ")} in ${place.namespace}: exit ${code}: ${line}`,
    );
  }

  tryMeshd(place: Place, words: string[], options: CommandOptions = {}): Promise<Finished> {
    const where = ["--state-dir", place.stateDir, "--run-dir", place.runDir];
    const argv = [process.execPath, "bin/meshd", ...words, ...where];
    return this.run(place.namespace, argv, options);
  }

  /** Any program in a namespace ("": the machine's own), to its end. */
  run(namespace: string, argv: string[], options: CommandOptions = {}): Promise<Finished> {
    const [file = "", ...rest] = namespace === "" ? argv : inNamespace(namespace, argv);
    return new Promise((resolve) => {
      const child = spawn(file, rest, { env: { ...process.env, ...options.env } });
      this.#running.add(child);
      const limit = setTimeout(() => child.kill("SIGKILL"), COMMAND_LIMIT_MS);
      let [stdout, stderr] = ["", ""];
      child.stdout.on("data", (piece: Buffer) => {
        stdout += piece;
      });
      child.stderr.on("data", (piece: Buffer) => {
        stderr += piece;
      });
      const end = (code: number, more = "") => {
        clearTimeout(limit);
        this.#running.delete(child);
        resolve({ code, stdout, stderr: stderr + more });
      };
      child.once("error", (error) => end(127, error.message));
      child.once("close", (code) => end(code ?? 128));
      child.stdin.on("error", () => undefined);
      child.stdin.end(options.input ?? "");
    });
  }

  /** As `run`, which must succeed. */
  async must(namespace: string, argv: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(namespace, argv);
    if (code === 0) return stdout;
    throw new CommandFailed(`${argv.join(" ")} in ${namespace}: exit ${code}: ${stderr.trim()}`);
  }

  /** A command's JSON. */
  async ask<T>(place: Place | string, words: string[]): Promise<T> {
    const at = typeof place === "string" ? this.node(place) : place;
    return JSON.parse(await this.meshd(at, [...words, "--json"])) as T;
  }

  /** What an agent's socket answers, without a program. */
  async socket<T>(node: string, path: string): Promise<T> {
    return (await getJson(join(this.node(node).runDir, "agent.sock"), path)) as T;
  }

  status(node: string): Promise<AgentStatus> {
    return this.socket<AgentStatus>(node, "/status");
  }

  get namespaces(): string[] {
    const pods = this.#nodes.flatMap((node) => node.pods.map(({ namespace }) => namespace));
    const hosts = this.#nodes.map(({ namespace }) => namespace);
    const controls = this.controls.map(({ namespace }) => namespace);
    return [...hosts, ...pods, ...controls, this.networkSpace];
  }

  processes(): LabProcess[] {
    return processesIn(this.namespaces);
  }

  /** The processes of a kind at a place. */
  pidsOf(namespace: string, kind: LabProcess["kind"]): number[] {
    return processesIn([namespace])
      .filter((one) => one.kind === kind)
      .map(({ pid }) => pid);
  }

  stop(pid: number): void {
    this.#stopped.add(pid);
    process.kill(pid, "SIGSTOP");
  }

  goOn(pid: number): void {
    this.#stopped.delete(pid);
    process.kill(pid, "SIGCONT");
  }

  /** A program that must not outlive us. */
  endWithUs(child: ChildProcess): void {
    this.#running.add(child);
    child.once("exit", () => this.#running.delete(child));
  }

  #guard(): void {
    atEnd(() => this.remove());
  }

  #isRemoved = false;

  /** Takes down what is ours; of an operator's lab, heals what we still hold. */
  remove(): void {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    for (const child of this.#running) child.kill("SIGKILL");
    for (const pid of this.#stopped) {
      try {
        process.kill(pid, "SIGCONT");
      } catch {
        // It has ended.
      }
    }
    const where = ["--state-dir", this.roots.stateDir, "--run-dir", this.roots.runDir];
    const lab = (...words: string[]) => {
      const argv = ["bin/meshd", "lab", ...words, "--name", this.name, ...where];
      spawnSync(process.execPath, argv, { timeout: COMMAND_LIMIT_MS });
    };
    if (this.isOwn) {
      for (const disk of this.#disks) spawnSync("umount", ["-l", disk]);
      lab("down");
    } else {
      const controls = this.controls.map((place) => this.hostName(place));
      for (const host of [...this.nodeNames, ...controls]) lab("impair", host, "--clear");
      lab("up");
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
