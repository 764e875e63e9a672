// The traffic that runs all the time: every node's first pod probes those of the others by UDP in
// both families, and every node's last pod streams to the next node's. One program in each pod.
import type { ChildProcess } from "node:child_process";
import { isIPv6 } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { LabStatusNode } from "../../src/lab/index.js";
import { spawnIn } from "../support/netns.js";
import type { ChaosLab } from "./lab.js";
import { LOST_MS, type LostProbe, type TalkReport, type TalkTargets } from "./talk.js";

const PROGRAM = fileURLToPath(new URL("./talk.js", import.meta.url));
const PORT = "40404";
const POLL_MS = 50;
/** So long everything must be answered before a mesh counts as well again. */
const CALM_MS = 1000;
/** Answers that come within this are late, not lost. */
const LATE_MS = 3000;
/** A program that had no time for so long is named beside what was lost. */
const LAG_MS = 200;

interface Talker {
  namespace: string;
  child: ChildProcess;
  targets: TalkTargets;
  last: TalkReport | undefined;
  /** By "address number". */
  lost: Map<string, LostProbe & { from: string }>;
  answered: number;
  /** Numbers of probes that came to it, by the address of who asked. */
  asked: Map<string, Set<number>>;
  late: number;
  refused: number;
  lag_ms: number;
  streamBase: { resumed: number; bad: number; acknowledged: number };
}

/** What came of the traffic since a mark. */
export interface TrafficCounts {
  lost: (LostProbe & { from: string })[];
  answered: number;
  /** Probes whose answers came, but later than after LOST_MS. */
  late: number;
  /** Streams that had to begin anew. */
  resumed: number;
  bad: number;
}

export interface Recovery {
  isWell: boolean;
  /** From the healing until the last probe that was lost had been sent. */
  probes_ms: number;
  /** From the healing until every stream went on. */
  streams_ms: number;
}

export class Traffic {
  readonly #talkers = new Map<string, Talker>();

  constructor(readonly lab: ChaosLab) {}

  /** Starts a program in each pod that has none, and tells all of them whom to talk to. */
  retarget(): void {
    const nodes = this.lab.nodes.filter(({ pods }) => pods.length > 0);
    for (const [index, node] of nodes.entries()) {
      const [first, last] = [node.pods[0], node.pods.at(-1)];
      const others = nodes.filter((other) => other !== node);
      const next = nodes[(index + 1) % nodes.length];
      const probes = others.flatMap((other) => other.pods[0]?.addresses ?? []);
      const stream = next === node ? undefined : streamAddress(next, index);
      const isSame = first === last;
      if (first !== undefined) {
        this.#tell(first.namespace, { probes, stream: isSame ? (stream ?? null) : null });
      }
      if (last !== undefined && !isSame) {
        this.#tell(last.namespace, { probes: [], stream: stream ?? null });
      }
    }
  }

  #tell(namespace: string, targets: TalkTargets): void {
    const known = this.#talkers.get(namespace);
    const talker = known ?? this.#start(namespace, targets);
    talker.targets = targets;
    talker.child.stdin?.write(`${JSON.stringify(targets)}\n`);
  }

  #start(namespace: string, targets: TalkTargets): Talker {
    const child = spawnIn(namespace, [process.execPath, PROGRAM, PORT], {}, "pipe");
    const streamBase = { resumed: 0, bad: 0, acknowledged: 0 };
    const talker: Talker = {
      ...{ namespace, child, targets, streamBase, last: undefined, answered: 0, late: 0 },
      ...{ lost: new Map(), asked: new Map(), refused: 0, lag_ms: 0 },
    };
    this.#talkers.set(namespace, talker);
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => hear(talker, JSON.parse(line) as TalkReport));
    child.stderr?.pipe(process.stderr, { end: false });
    return talker;
  }

  /** Ends the programs of a node's pods: the pods go. */
  async silence(namespaces: readonly string[]): Promise<void> {
    for (const namespace of namespaces) {
      const talker = this.#talkers.get(namespace);
      if (talker === undefined) continue;
      this.#talkers.delete(namespace);
      const ended = new Promise((resolve) => talker.child.once("close", resolve));
      talker.child.kill("SIGKILL");
      await ended;
    }
  }

  /** All begin to count from here. */
  mark(): void {
    for (const talker of this.#talkers.values()) {
      talker.lost.clear();
      talker.asked.clear();
      Object.assign(talker, { answered: 0, late: 0, refused: 0, lag_ms: 0 });
      const { resumed = 0, bad = 0, acknowledged = 0 } = talker.last?.stream ?? {};
      talker.streamBase = { resumed, bad, acknowledged };
    }
  }

  counts(): TrafficCounts {
    const all = [...this.#talkers.values()];
    const sum = (of: (talker: Talker) => number) => all.reduce((total, one) => total + of(one), 0);
    return {
      lost: all.flatMap(({ lost }) => [...lost.values()]),
      answered: sum(({ answered }) => answered),
      late: sum(({ late }) => late),
      resumed: sum(({ last, streamBase }) => (last?.stream.resumed ?? 0) - streamBase.resumed),
      bad: sum(({ last, streamBase }) => (last?.stream.bad ?? 0) - streamBase.bad),
    };
  }

  /** Every probe sent before this time is decided. */
  decided(): number {
    return Math.min(...[...this.#talkers.values()].map(({ last }) => last?.decided ?? 0));
  }

  /** Waits until it is known what came of all probes that were sent until now. */
  async settle(): Promise<void> {
    const now = Date.now();
    while (this.decided() < now) await sleep(POLL_MS);
  }

  /** As `settle`; what was lost may still come late, as on a machine without time for it. */
  async settleAll(): Promise<void> {
    await this.settle();
    if (this.counts().lost.length > 0) await sleep(LATE_MS);
  }

  /** Waits until all probes are answered again and all streams go on. */
  async recovered(healed: number, limit_ms: number): Promise<Recovery> {
    for (;;) {
      const found = this.#recovery(healed);
      if (found.isWell || Date.now() > healed + limit_ms + LOST_MS + CALM_MS) return found;
      await sleep(POLL_MS);
    }
  }

  #recovery(healed: number): Recovery {
    const lastLost = Math.max(healed, ...this.counts().lost.map(({ sent }) => sent + 1));
    const streams = [...this.#talkers.values()].filter(({ targets }) => targets.stream !== null);
    const heard = streams.map(({ last }) => last?.stream.acknowledgedAt ?? 0);
    const goOn = streams.map(({ last }) => last?.stream.goesOnSince ?? Number.POSITIVE_INFINITY);
    const areProbesWell = this.decided() >= lastLost + CALM_MS;
    const areStreamsWell = heard.every((at) => at > healed);
    return {
      isWell: areProbesWell && areStreamsWell,
      probes_ms: lastLost - healed,
      streams_ms: Math.max(0, ...goOn.map((at) => at - healed)),
    };
  }

  /** Whose pod an address is. */
  #owners(): Map<string, string> {
    const pods = this.lab.nodes.flatMap((node) => node.pods);
    return new Map(
      pods.flatMap(({ namespace, addresses }) => addresses.map((one) => [one, namespace])),
    );
  }

  /** Whether a probe without an answer came to the pod that it was for. */
  #hasArrived({ from, to, number }: LostProbe & { from: string }): boolean {
    const owners = this.#owners();
    const asked = this.#talkers.get(owners.get(to) ?? "")?.asked ?? new Map();
    const sources = [...asked].filter(([source]) => owners.get(source) === from);
    return sources.some(
      ([source, numbers]) => isIPv6(source) === isIPv6(to) && numbers.has(number),
    );
  }

  /** Which flows lost how many, on which way, and when the first and last were sent; for people. */
  lossText(): string {
    const owners = this.#owners();
    const flows = new Map<string, (LostProbe & { from: string })[]>();
    for (const probe of this.counts().lost) {
      const flow = `${probe.from} -> ${owners.get(probe.to) ?? probe.to} (${probe.to})`;
      flows.set(flow, [...(flows.get(flow) ?? []), probe]);
    }
    const rows = [...flows].map(([flow, probes]) => {
      const arrived = probes.filter((probe) => this.#hasArrived(probe)).length;
      const times = probes.map(({ sent }) => sent);
      const [first, last] = [Math.min(...times), Math.max(...times)].map(timeText);
      const when = first === last ? first : `${first} to ${last}`;
      const ways = `${probes.length - arrived} on the way there, ${arrived} on the way back`;
      return `${flow}: ${probes.length} (${ways}; sent ${when})`;
    });
    return rows.join(", ");
  }

  /** What the programs in the pods met themselves, for people; "": nothing. */
  troubleText(): string {
    const rows = [...this.#talkers.values()].filter(
      ({ refused, lag_ms }) => refused > 0 || lag_ms > LAG_MS,
    );
    return rows
      .map(({ namespace, refused, lag_ms }) => {
        return `${namespace} had no time for ${lag_ms} ms, and ${refused} packets refused`;
      })
      .join(", ");
  }
}

/** Of the day. */
const timeText = (ms: number) => new Date(ms).toISOString().slice(11, 23);

/** IPv4 and IPv6 in turn. */
function streamAddress(node: LabStatusNode | undefined, index: number): string | undefined {
  const addresses = node?.pods.at(-1)?.addresses ?? [];
  return addresses[index % Math.max(addresses.length, 1)];
}

function hear(talker: Talker, report: TalkReport): void {
  talker.last = report;
  talker.answered += report.answered;
  for (const probe of report.lost) {
    talker.lost.set(`${probe.to} ${probe.number}`, { ...probe, from: talker.namespace });
  }
  for (const { to, number } of report.late) talker.lost.delete(`${to} ${number}`);
  talker.late += report.late.length;
  talker.refused += report.refused;
  talker.lag_ms = Math.max(talker.lag_ms, report.lag_ms);
  for (const [source, numbers] of Object.entries(report.asked)) {
    const known = talker.asked.get(source) ?? new Set();
    talker.asked.set(source, known);
    for (const number of numbers) known.add(number);
  }
}
