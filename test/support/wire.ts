// An impaired wire (src/lab/wire) for tests: two TAPs in a namespace, moved to where they belong.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askWire, wireArgv, wireReady } from "../../src/lab/wire/client.js";
import { type Impairment, UNIMPAIRED, type WireSettings } from "../../src/lab/wire/impairment.js";
import type { WireAnswer } from "../../src/lab/wire/program.js";
import { inNamespace, uniqueDevice } from "./netns.js";

/** The same faults both ways. */
export function bothWays(faults: Partial<Impairment>, seed = 1): WireSettings {
  const impairment = { ...UNIMPAIRED, ...faults };
  return { seed, toNode: impairment, fromNode: impairment };
}

export class TestWire {
  readonly #folder = mkdtempSync(join(tmpdir(), "meshd-wire-"));
  readonly #socketPath = join(this.#folder, "wire.sock");
  /** Its two ends, without addresses and down. */
  readonly network = uniqueDevice("wo");
  readonly node = uniqueDevice("wi");

  private constructor() {
    process.once("exit", () => rmSync(this.#folder, { recursive: true, force: true }));
  }

  /** Starts one whose ends are in `namespace`; it ends with the test process. */
  static async start(namespace: string, settings: WireSettings): Promise<TestWire> {
    const wire = new TestWire();
    const place = { socketPath: wire.#socketPath, network: wire.network, node: wire.node };
    const [file = "", ...argv] = inNamespace(namespace, wireArgv(place, settings));
    // The channel tells it of our end.
    const child = spawn(file, argv, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    child.unref();
    child.channel?.unref();
    await wireReady(wire.#socketPath);
    return wire;
  }

  /** Settings and counts now; with `set` both begin anew. */
  ask(set?: WireSettings): Promise<WireAnswer> {
    return askWire(this.#socketPath, set === undefined ? {} : { set });
  }

  async stop(): Promise<void> {
    await askWire(this.#socketPath, { end: true });
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
