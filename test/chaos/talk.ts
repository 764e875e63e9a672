// One pod's traffic, as a program in its namespace. It answers numbered UDP probes, sends its own
// to the pods it is told of, and carries one paced TCP stream of pieces whose hashes are checked.
//
//   node talk.js PORT
//
// In: one TalkTargets a line. Out: one TalkReport a line, every REPORT_MS.
import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { openSink, type StreamCounts, StreamSender } from "./stream.js";

/** Between two probes of one flow. */
export const PROBE_MS = 50;
/** Without an answer for so long a probe counts as lost; one that comes later is taken back. */
export const LOST_MS = 1000;
const FORGET_MS = 20_000;
const REPORT_MS = 200;
const BUFFER = 1 << 20;

export interface TalkTargets {
  /** Pod addresses to probe, IPv4 and IPv6. */
  probes: string[];
  /** Pod address to stream to; null: none. */
  stream: string | null;
}

/** A probe that had no answer: where to, and when it was sent (milliseconds since 1970). */
export interface LostProbe {
  to: string;
  sent: number;
  number: number;
}

export interface TalkReport {
  /** Every probe sent before this time is decided. */
  decided: number;
  answered: number;
  lost: LostProbe[];
  /** Counted as lost before, answered after all. */
  late: LostProbe[];
  twice: number;
  /** Probes that came to us, by whom. */
  asked: Record<string, number[]>;
  /** Packets that our own kernel did not take. */
  refused: number;
  /** So much too late our timer came, at worst: the machine had no time for us. */
  lag_ms: number;
  stream: StreamCounts;
}

interface Flow {
  to: string;
  next: number;
  /** Sent times of probes without an answer, by number. */
  open: Map<number, { sent: number; isLost: boolean }>;
}

const ASK = 1;
const ANSWER = 2;

class Talker {
  readonly #sockets: { 4: Socket; 6: Socket };
  readonly #sender: StreamSender;
  #flows: Flow[] = [];
  #report = emptyReport();
  #probed = Date.now();

  constructor(readonly port: number) {
    this.#sockets = { 4: this.#open("udp4"), 6: this.#open("udp6") };
    this.#sender = new StreamSender(port);
    openSink(port, this.#sender.counts);
    setInterval(() => this.#probe(), PROBE_MS);
    setInterval(() => this.#say(), REPORT_MS);
  }

  obey({ probes, stream }: TalkTargets): void {
    this.#flows = probes.map((to) => {
      const known = this.#flows.find((flow) => flow.to === to);
      return known ?? { to, next: 0, open: new Map() };
    });
    this.#sender.sendTo(stream);
  }

  #open(type: "udp4" | "udp6"): Socket {
    const socket = createSocket({ type, ipv6Only: type === "udp6", recvBufferSize: BUFFER });
    socket.on("message", (packet, { address, port }) => {
      const kind = packet.readUInt8();
      if (kind === ANSWER) this.#answered(address, packet.readUInt32LE(1));
      if (kind !== ASK) return;
      const asked = this.#report.asked[address] ?? [];
      this.#report.asked[address] = asked;
      asked.push(packet.readUInt32LE(1));
      packet.writeUInt8(ANSWER);
      socket.send(packet, port, address, this.#sent);
    });
    // A route that is away for a moment: the probe counts as lost.
    socket.on("error", () => undefined);
    socket.bind(this.port);
    return socket;
  }

  readonly #sent = (error: Error | null) => {
    this.#report.refused += error === null ? 0 : 1;
  };

  #probe(): void {
    const now = Date.now();
    this.#report.lag_ms = Math.max(this.#report.lag_ms, now - this.#probed - PROBE_MS);
    this.#probed = now;
    for (const flow of this.#flows) {
      const packet = Buffer.alloc(64);
      packet.writeUInt8(ASK);
      packet.writeUInt32LE(flow.next, 1);
      flow.open.set(flow.next, { sent: now, isLost: false });
      flow.next += 1;
      const socket = this.#sockets[isIPv6(flow.to) ? 6 : 4];
      socket.send(packet, this.port, flow.to, this.#sent);
    }
  }

  #answered(from: string, number: number): void {
    const flow = this.#flows.find(({ to }) => to === from);
    if (flow === undefined) return;
    const probe = flow.open.get(number);
    if (probe === undefined) {
      this.#report.twice += 1;
      return;
    }
    flow.open.delete(number);
    this.#report.answered += 1;
    if (probe.isLost) this.#report.late.push({ to: from, sent: probe.sent, number });
  }

  #say(): void {
    const now = Date.now();
    for (const { to, open } of this.#flows) {
      for (const [number, probe] of open) {
        if (!probe.isLost && now - probe.sent > LOST_MS) {
          probe.isLost = true;
          this.#report.lost.push({ to, sent: probe.sent, number });
        }
        if (now - probe.sent > FORGET_MS) open.delete(number);
      }
    }
    const report = { ...this.#report, decided: now - LOST_MS, stream: this.#sender.counts };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    this.#report = emptyReport();
  }
}

function emptyReport(): Omit<TalkReport, "decided" | "stream"> {
  return { answered: 0, lost: [], late: [], twice: 0, asked: {}, refused: 0, lag_ms: 0 };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const talker = new Talker(Number(process.argv[2]));
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => talker.obey(JSON.parse(line) as TalkTargets));
  // Its master is gone.
  lines.on("close", () => process.exit(0));
}
