// A stock Debian kernel in a small virtual machine, with network cards in namespaces of ours: the
// other end for protocols that this machine's own kernel may lack.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { namespacePath, until } from "../support/netns.js";
import { ControlPorts, type GuestCommand, GuestError, type GuestFinished } from "./control.js";
import { findImage } from "./image.js";
import { makeFolder, notePid } from "./processes.js";
import { type Accelerator, bestAccelerator, commandLine, type Machine } from "./qemu.js";

const LAUNCHER = join(process.cwd(), "test/peers/launch.pl");
const BOOT_LIMIT_MS = 90_000;
const COMMAND_LIMIT_MS = 60_000;
/** Commands that a guest runs at once. */
const PORTS = 8;
/** The guest powers itself off then: a crashed run leaves nothing behind for ever. */
const LIFE_S = 1800;

/** A network card: eth0, eth1 ... in the guest; its other end is a TAP in the namespace. */
export interface Card {
  namespace: string;
  tap: string;
  mtu?: number;
  /** CIDRs inside the guest, and of the TAP. */
  addresses: string[];
  tapAddresses: string[];
}

export interface PeerOptions {
  name: string;
  cards: readonly Card[];
  memory_mb?: number;
}

const MTU = 1500;

/** Locally administered, and the same for the same guest and card. */
function macOf(name: string, index: number): string {
  const hash = createHash("sha256").update(`${name}/${index}`).digest("hex");
  return `52:54:00:${hash.slice(0, 2)}:${hash.slice(2, 4)}:${hash.slice(4, 6)}`;
}

/** Cards are found by their MAC addresses, as the kernel's order is not ours. */
function networkScript({ name, cards }: PeerOptions): string {
  const find = [
    'find_mac() { for d in /sys/class/net/*; do [ "$(cat $d/address)" = "$1" ] && {',
    '  basename $d; return; }; done; echo "no card $1" >&2; exit 1; }',
    "i=0; for d in /sys/class/net/eth*; do",
    "  ip link set $(basename $d) name kptmp$i; i=$((i+1)); done",
  ];
  const each = cards.flatMap(({ addresses, mtu }, index) => [
    `ip link set $(find_mac ${macOf(name, index)}) name eth${index}`,
    `ip link set eth${index} mtu ${mtu ?? MTU}`,
    ...addresses.map((one) => {
      return `ip addr add ${one} dev eth${index} ${one.includes(":") ? "nodad" : ""}`;
    }),
    `ip link set eth${index} up`,
  ]);
  return [...find, ...each, ""].join("\n");
}

/** A running guest. It ends with the test process. */
export class KernelPeer {
  /** Release of its kernel. */
  readonly version: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #ports: ControlPorts;
  readonly #ended: Promise<unknown>;

  private constructor(machine: Machine, cards: readonly Card[], accelerator: Accelerator) {
    this.version = machine.image.version;
    this.#folder = machine.folder;
    this.#ports = new ControlPorts(machine.ports);
    const taps = cards.flatMap((card) => [
      ...[namespacePath(card.namespace), card.tap, `${card.mtu ?? MTU}`],
      card.tapAddresses.join(","),
    ]);
    const argv = [LAUNCHER, `${cards.length}`, ...taps, ...commandLine(machine, accelerator)];
    const log = openSync(join(machine.folder, "qemu.log"), "w");
    this.#child = spawn("perl", argv, { stdio: ["ignore", log, log] });
    closeSync(log);
    this.#ended = new Promise((resolve) => this.#child.once("close", resolve));
    process.once("exit", this.#end);
    notePid(machine.folder, this.#child.pid ?? 0);
  }

  /**
   * Boots a guest and resolves when it answers: some four seconds.
   * @throws {Error} with its last words when it does not
   */
  static async start(options: PeerOptions): Promise<KernelPeer> {
    const accelerator = bestAccelerator();
    try {
      return await KernelPeer.#boot(options, accelerator);
    } catch (error) {
      if (accelerator === "tcg") throw error;
      return KernelPeer.#boot(options, "tcg");
    }
  }

  static async #boot(options: PeerOptions, accelerator: Accelerator): Promise<KernelPeer> {
    const image = findImage();
    if (image === undefined) throw new Error("there is no image of a kernel peer: make it first");
    const folder = makeFolder();
    const machine = {
      name: options.name,
      image,
      folder,
      macs: options.cards.map((_, index) => macOf(options.name, index)),
      ports: Array.from({ length: PORTS }, (_, index) => join(folder, `c${index + 1}`)),
      memory_mb: options.memory_mb ?? 320,
      life_s: LIFE_S,
    };
    const peer = new KernelPeer(machine, options.cards, accelerator);
    try {
      await peer.#untilReady(machine.ports);
      await peer.sh(networkScript(options));
      return peer;
    } catch (error) {
      const words = peer.#lastWords();
      await peer.stop();
      throw new Error(`the kernel peer did not start (${accelerator}): ${words}`, { cause: error });
    }
  }

  /** Runs a command in the guest. @throws {GuestError} when it fails, with what it said */
  async exec(argv: readonly string[], more: Partial<GuestCommand> = {}): Promise<string> {
    const done = await this.tryExec(argv, more);
    if (done.code === 0) return done.stdout;
    const said = `${done.stderr}${done.stdout}`.trim();
    throw new GuestError(`'${argv.join(" ")}' in the guest: exit ${done.code}: ${said}`);
  }

  /** Runs a command in the guest and gives what came of it, failed or not. */
  tryExec(argv: readonly string[], more: Partial<GuestCommand> = {}): Promise<GuestFinished> {
    return this.#ports.run({ argv, timeout_ms: COMMAND_LIMIT_MS, ...more });
  }

  /** Runs a shell script in the guest, up to its first command that fails. */
  sh(script: string): Promise<string> {
    return this.exec(["sh", "-e", "-s"], { input: script });
  }

  /** Starts a program that stays; gives its process id in the guest. */
  async spawn(argv: readonly string[]): Promise<number> {
    return Number(await this.exec(argv, { detached: true }));
  }

  async stop(): Promise<void> {
    this.#end();
    await this.#ended;
  }

  readonly #end = (): void => {
    process.off("exit", this.#end);
    this.#child.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  };

  async #untilReady(ports: readonly string[]): Promise<void> {
    const isGone = () => this.#child.exitCode !== null || this.#child.signalCode !== null;
    // The sockets are there once qemu has read its arguments.
    await until("qemu runs", () => isGone() || ports.every((path) => existsSync(path)));
    if (isGone()) throw new GuestError("qemu ended");
    await this.exec(["true"], { timeout_ms: BOOT_LIMIT_MS });
  }

  #lastWords(): string {
    const texts = ["qemu.log", "console"].map((name) => {
      const path = join(this.#folder, name);
      return existsSync(path) ? readFileSync(path, "utf8").trim() : "";
    });
    return texts.join("\n").split("\n").slice(-15).join("\n").trim();
  }
}
