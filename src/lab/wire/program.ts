// A wire as a process: opens two TAPs in the namespace it runs in, starts the thread that moves
// their frames, and answers on a unix socket. Without persistence: the TAPs go with it.
//
//   node program.js SOCKET NETWORK-TAP NODE-TAP SETTINGS
//
// A connection carries one line of JSON each way: WireQuestion, WireAnswer.
import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { Worker } from "node:worker_threads";
import { openTun, openWake, wake } from "node-tun";
import { checkWire, type WireSettings } from "./impairment.js";
import type { PumpCommand, PumpSetup, WireCounts } from "./pump.js";

export interface WireQuestion {
  /** These settings hold from now on, and counts begin anew. */
  set?: WireSettings;
  /** The wire ends; its last counts are the answer. */
  end?: boolean;
}

export interface WireAnswer extends WireCounts {
  settings: WireSettings;
}

class WireProcess {
  readonly #wake = openWake();
  readonly #pump: Worker;
  readonly #waiting: ((counts: WireCounts) => void)[] = [];

  constructor(
    readonly socketPath: string,
    taps: readonly [string, string],
    public settings: WireSettings,
  ) {
    const [network, node] = taps.map((name) => openTun({ name, kind: "tap", exclusive: true }).fd);
    const ends = { network: network ?? -1, node: node ?? -1 };
    const setup: PumpSetup = { ...ends, wake: this.#wake, settings };
    this.#pump = new Worker(new URL("./pump.js", import.meta.url), { workerData: setup });
    this.#pump.on("message", (counts: WireCounts) => this.#waiting.shift()?.(counts));
    // Also when a TAP was deleted under it.
    this.#pump.on("error", (error) => process.stderr.write(`wire: ${error.message}\n`));
    this.#pump.on("exit", (code) => {
      rmSync(socketPath, { force: true });
      process.exit(code);
    });
  }

  end(): void {
    this.#tell({ end: true });
  }

  serve(): void {
    rmSync(this.socketPath, { force: true });
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      createInterface({ input: socket }).once("line", (line) => void this.#answer(line, socket));
    });
    server.listen(this.socketPath);
  }

  async #answer(line: string, socket: Socket): Promise<void> {
    try {
      const { set, end } = JSON.parse(line) as WireQuestion;
      if (set !== undefined) {
        checkWire(set);
        this.settings = set;
      }
      const counted = new Promise<WireCounts>((resolve) => this.#waiting.push(resolve));
      this.#tell(set === undefined ? {} : { set });
      const answer: WireAnswer = { settings: this.settings, ...(await counted) };
      socket.end(`${JSON.stringify(answer)}\n`, () => {
        if (end === true) this.end();
      });
    } catch {
      socket.destroy();
    }
  }

  #tell(command: PumpCommand): void {
    this.#pump.postMessage(command);
    wake(this.#wake);
  }
}

const [socketPath = "", network = "", node = "", settings = ""] = process.argv.slice(2);
const wire = new WireProcess(socketPath, [network, node], JSON.parse(settings) as WireSettings);
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => wire.end());
// Started by a test: it ends with it.
if (process.send !== undefined) process.on("disconnect", () => wire.end());
wire.serve();
