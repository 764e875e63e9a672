// The nats-server of a simulation, started by the product's own code, with its monitoring port open
// on loopback: it counts what each connection sends and gets.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMesh, type Mesh, setMeshServers } from "../../control/index.js";
import { type NatsServer, startNatsServer } from "../../src/natsd/index.js";
import { freePort } from "../../test/support/ports.js";

export interface Traffic {
  /** Sum over the connections of agents: what they got and sent. */
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
  connections: number;
}

export interface ServerUse {
  cpu_s: number;
  resident: number;
  /** Messages ever stored in the mesh's bucket. */
  writes: number;
}

/** A program that starts the real one with one option more. */
async function wrapper(dir: string, monitor: number): Promise<string> {
  const path = join(dir, "nats-server");
  const folders = "PATH=$PATH:/usr/sbin:/usr/local/bin";
  const text = `#!/bin/sh\n${folders}\nexec nats-server -m ${monitor} "$@"\n`;
  await writeFile(path, text, { mode: 0o700 });
  return path;
}

export class SimulatedStore {
  private constructor(
    private readonly dir: string,
    readonly mesh: Mesh,
    private readonly server: NatsServer,
    private readonly monitor: number,
  ) {}

  static async start(): Promise<SimulatedStore> {
    const dir = await mkdtemp(join(tmpdir(), "meshd-scale-"));
    const monitor = await freePort();
    const config = { clusterPoolIPv4PodCIDR: "10.64.0.0/10" };
    const made = await createMesh(join(dir, "mesh"), { servers: [], config });
    const binary = await wrapper(dir, monitor);
    const server = await startNatsServer({ mesh: made, dir: join(dir, "nats"), port: 0, binary });
    const mesh = await setMeshServers(made.dir, [server.url]);
    return new SimulatedStore(dir, mesh, server, monitor);
  }

  private async ask(path: string): Promise<Record<string, unknown>> {
    const answer = await fetch(`http://127.0.0.1:${this.monitor}/${path}`);
    return (await answer.json()) as Record<string, unknown>;
  }

  async traffic(): Promise<Traffic> {
    const { connections } = await this.ask("connz?limit=4096");
    const all = connections as Record<string, number | string>[];
    const agents = all.filter(({ name }) => /^meshd n\d+$/.test(String(name)));
    const sum = (field: string) => agents.reduce((total, one) => total + Number(one[field]), 0);
    // As the server names them: out is what the agents got.
    return {
      messagesIn: sum("out_msgs"),
      messagesOut: sum("in_msgs"),
      bytesIn: sum("out_bytes"),
      bytesOut: sum("in_bytes"),
      connections: agents.length,
    };
  }

  async use(): Promise<ServerUse> {
    const { account_details: accounts } = (await this.ask("jsz?accounts=1&streams=1")) as Accounts;
    const streams = (accounts ?? []).flatMap(({ stream_detail }) => stream_detail ?? []);
    const bucket = streams.find(({ name }) => name === `KV_${this.mesh.name}`);
    const [line, status] = await Promise.all(
      ["stat", "status"].map((name) => readFile(`/proc/${this.server.pid}/${name}`, "utf8")),
    );
    const fields = (line ?? "").slice((line ?? "").lastIndexOf(")") + 2).split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    const resident_kb = Number(/^VmRSS:\s+(\d+)/m.exec(status ?? "")?.[1] ?? 0);
    const writes = bucket?.state?.last_seq ?? 0;
    return { cpu_s: ticks / 100, resident: resident_kb * 1024, writes };
  }

  async stop(): Promise<void> {
    await this.server.stop();
    await rm(this.dir, { recursive: true, force: true });
  }
}

interface Accounts {
  account_details?: { stream_detail?: { name: string; state?: { last_seq: number } }[] }[];
}
