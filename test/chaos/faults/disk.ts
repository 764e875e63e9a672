// Faults of disks and files: a disk that is full, a file that is spoiled.
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Random } from "../../support/random.js";
import { type Fault, holdFor, must, pickControl, pickNode, type World } from "../fault.js";
import type { Place } from "../lab.js";
import { hasEnded } from "../procs.js";

const FILLER = "filler";
const CHUNK = 64 * 1024;
/** Each is a line in an agent's log: some 100 bytes. */
const QUESTIONS = 60;

const noDisk = ({ lab }: World) =>
  lab.hasDisk(lab.control) ? undefined : "a tmpfs cannot be mounted here";

/** Writes until nothing more fits. */
function fill({ stateDir }: Place): void {
  const fd = openSync(join(stateDir, FILLER), "w");
  try {
    for (const size of [CHUNK, 512]) {
      try {
        for (;;) writeSync(fd, Buffer.alloc(size, 0xa5));
      } catch {
        // Full, to this size.
      }
    }
  } finally {
    closeSync(fd);
  }
}

const empty = ({ stateDir }: Place) => rmSync(join(stateDir, FILLER), { force: true });

function isFull({ stateDir }: Place): boolean {
  const path = join(stateDir, `${FILLER}.try`);
  try {
    writeFileSync(path, Buffer.alloc(CHUNK));
    return false;
  } catch {
    return true;
  } finally {
    rmSync(path, { force: true });
  }
}

/** Something that every agent would save. */
async function stir({ lab }: World, dice: Random): Promise<void> {
  const node = dice.pick(lab.nodeNames);
  for (const words of [
    ["drain", node],
    ["drain", node, "--undo"],
  ]) {
    await lab.tryMeshd(lab.control, ["node", ...words]);
  }
}

/** More lines than may still fit into what its log has of the disk. */
async function fillLog({ lab }: World, node: string): Promise<void> {
  for (let i = 0; i < QUESTIONS; i++) await lab.socket(node, "/no-such-question");
}

const nodeDisk: Fault = {
  name: "node-disk-full",
  about: "the disk of a node's state is full while the mesh changes",
  ...{ hurts: "control", isSafe: false },
  explains: [/ENOSPC|no space left/i],
  unavailable: noDisk,
  async strike(world, dice) {
    const node = pickNode(world, dice);
    const place = world.lab.node(node);
    const { pid } = await world.lab.status(node);
    fill(place);
    await stir(world, dice);
    await fillLog(world, node);
    return {
      target: node,
      hold_ms: holdFor(dice, 2, 5),
      proof: async () => {
        must(isFull(place), "the disk has room");
        const now = await world.lab.status(node);
        if (now.pid !== pid) throw new Error(`${node}'s agent ${pid} ended`);
      },
      heal: async () => empty(place),
    };
  },
};

const startOnFullDisk: Fault = {
  name: "agent-restart-disk-full",
  about: "an agent is killed and starts again on a full disk",
  ...{ hurts: "data", isSafe: false },
  explains: [/ENOSPC|no space left/i],
  unavailable: noDisk,
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const place = lab.node(node);
    const { pid, lease } = await lab.status(node);
    fill(place);
    process.kill(pid, "SIGKILL");
    await lab.meshd(place, ["join"]);
    await fillLog(world, node);
    return {
      target: node,
      hold_ms: holdFor(dice, 1, 3),
      proof: async () => must((await hasEnded(pid)) && isFull(place), "the disk has room"),
      heal: async () => {
        empty(place);
        const now = await lab.status(node);
        const [was, is] = [lease, now.lease].map((one) => JSON.stringify(one));
        if (was !== is) throw new Error(`${node} had lease ${was}, has ${is}`);
      },
    };
  },
};

const storeDisk: Fault = {
  name: "store-disk-full",
  about: "the disk of nats-server's store is full while an administrator writes",
  ...{ hurts: "control", isSafe: false },
  explains: [/ENOSPC|no space left|out of space|JetStream|error=/i],
  unavailable: noDisk,
  async strike(world, dice) {
    const { lab } = world;
    const place = pickControl(world, dice);
    fill(place);
    await stir(world, dice);
    return {
      target: lab.hostName(place),
      hold_ms: holdFor(dice, 2, 6),
      proof: async () => must(isFull(place), "the disk has room"),
      heal: async () => {
        empty(place);
        // What the write tests left half-done on the full disk.
        for (const name of lab.nodeNames) {
          await lab.tryMeshd(lab.control, ["node", "drain", name, "--undo"]);
        }
      },
    };
  },
};

/** A refusal must be one line with a code. */
function refusalOf(text: string): string {
  const line = text.split("\n").find((one) => one.startsWith('{"error":')) ?? "";
  const code = /"code":\s*"(MESHD_[A-Z_]+)"/.exec(text)?.[1];
  if (code === undefined) throw new Error(`no clear refusal: ${(line || text).slice(0, 400)}`);
  return code;
}

const SPOILS: Readonly<Record<string, (bytes: Buffer, dice: Random) => Buffer>> = {
  empty: () => Buffer.alloc(0),
  truncated: (bytes, dice) => bytes.subarray(0, dice.between(1, Math.max(1, bytes.length - 2))),
  zeroed: (bytes) => Buffer.alloc(bytes.length),
  garbage: (bytes, dice) => Buffer.from(dice.bytes(bytes.length)),
};

type Cure = "token" | "remove" | "restore";

/** Files of a node's state, and what an operator does where the agent refuses to start. */
const CURES: Readonly<Record<string, readonly Cure[]>> = {
  "membership.json": ["token"],
  "snapshot.json": [],
  "forms.json": [],
  "host.json": ["remove"],
  "pods.json": ["restore"],
  "settings.json": ["remove"],
  "agent.lock": [],
  "node.key": ["restore"],
};

const spoiledFile: Fault = {
  name: "state-file",
  about: "a file of a node's state is truncated, zeroed or garbage when its agent starts",
  ...{ hurts: "data", isSafe: false },
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const place = lab.node(node);
    const { pid, lease, underlay } = await lab.status(node);
    const files = Object.keys(CURES).filter((file) => existsSync(join(place.stateDir, file)));
    const file = dice.pick(files);
    const how = dice.pick(Object.keys(SPOILS));
    const path = join(place.stateDir, file);
    process.kill(pid, "SIGKILL");
    const whole = readFileSync(path);
    const mode = statSync(path).mode & 0o777;
    writeFileSync(path, SPOILS[how]?.(whole, dice) ?? "", { mode });
    const done = await lab.tryMeshd(place, ["join", "--json"]);
    const code = done.code === 0 ? "" : refusalOf(done.stdout + done.stderr);
    const cure = done.code === 0 ? undefined : CURES[file]?.[0];
    if (done.code !== 0 && cure === undefined) {
      throw new Error(`${node} should start without ${file}, and says ${done.stderr.trim()}`);
    }
    return {
      target: `${node}: ${file} ${how}: ${done.code === 0 ? "it starts" : `${code}, ${cure}`}`,
      hold_ms: 0,
      heal: async () => {
        if (cure === "restore") writeFileSync(path, whole, { mode });
        if (cure === "remove") rmSync(path);
        const words = ["join"];
        if (cure === "token") {
          words.push((await lab.meshd(lab.control, ["token", "create"])).trim());
        }
        if (cure === "token" || file === "settings.json") {
          words.push("--name", node, "--underlay-address", underlay.address);
        }
        if (cure !== undefined) await lab.meshd(place, words);
        const now = await lab.status(node);
        const [was, is] = [lease, now.lease].map(({ podCIDRs }) => JSON.stringify(podCIDRs));
        if (was !== is) throw new Error(`${node} had ${was}, has ${is}`);
      },
    };
  },
};

export const diskFaults: readonly Fault[] = [nodeDisk, startOnFullDisk, storeDisk, spoiledFile];
