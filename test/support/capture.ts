// tcpdump of the tunnel's packets in a namespace, judged by tshark.
import { type ChildProcess, execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import { clearDirectory, makeDirectory } from "./ends.js";
import { runSync, spawnIn, until } from "./netns.js";

/** UDP port that tshark reads as VXLAN. */
const VXLAN_PORT = 8472;
/** UDP port whose payload tshark reads as an IP packet. */
const IP_IN_UDP_PORT = 8285;
const GENEVE_PORT = 6081;
/** Geneve that tshark took for something else. */
const MISREAD = `udp.dstport == ${GENEVE_PORT} && !geneve`;
/** Checksums that tshark looks at only when told so; a wrong one then has status "Bad" (0). */
const CHECKED = ["ip", "udp", "tcp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);
const BAD = ["ip", "udp", "tcp", "icmp", "icmpv6", "gre"].map(
  (name) => `${name}.checksum.status == 0`,
);
const WRONG = ["_ws.malformed", ...BAD].join(" || ");

/**
 * Display filter of every frame with a fault: malformed, or a bad checksum inside or outside.
 * `kernels`: addresses of Linux senders, whose offload path writes the TCP checksum 0 as 0xffff
 * (CSUM_MANGLED_0): every receiver takes both, tshark calls it bad.
 */
export function wrongFrames(...kernels: string[]): string {
  return `(${WRONG}) && !${mangledZero(kernels)}`;
}

/** As `wrongFrames`, of the TCP checksum alone. */
export function wrongTcp(...kernels: string[]): string {
  return `tcp.checksum.status == 0 && !${mangledZero(kernels)}`;
}

function mangledZero(kernels: readonly string[]): string {
  const source = (address: string) => `${isIPv6(address) ? "ipv6" : "ip"}.src == ${address}`;
  return `(tcp.checksum == 0xffff && (${kernels.map(source).join(" || ")}))`;
}

/** Without offloads on a device, what tcpdump sees there is what a real wire carries. */
export function plainWire(namespace: string, device: string): void {
  const features = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"];
  runSync(namespace, ["ethtool", "-K", device, ...features]);
}

/** Lines of its output. */
function tshark(argv: string[]): string[] {
  const text = execFileSync("tshark", argv, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    maxBuffer: 1 << 28,
  });
  return text.split("\n").filter((line) => line !== "");
}

let guesses: string[] | undefined;

/** From here on a system gives out ports of its own choice: they say nothing of what is carried. */
const CHOSEN_PORT_MIN = 32768;

/**
 * What tshark guesses from bytes that TCP and UDP carry, and from ports that nobody asked for: ours
 * are random, and a wrong guess would count as a malformed packet.
 */
function withoutGuesses(): string[] {
  if (guesses !== undefined) return guesses;
  const columns = (kind: string) => tshark(["-G", kind]).map((line) => line.split("\t"));
  const guessed = columns("heuristic-decodes").flatMap(([below, name]) =>
    (below === "tcp" || below === "udp") && name !== undefined ? [name] : [],
  );
  const byPort = columns("decodes").flatMap(([below, port, name]) => {
    const isPort = below === "tcp.port" || below === "udp.port";
    return isPort && Number(port) >= CHOSEN_PORT_MIN && name !== undefined ? [name] : [];
  });
  const names = new Set([...guessed, ...byPort]);
  guesses = [...names].flatMap((name) => ["--disable-protocol", name]);
  return guesses;
}

export class Capture {
  readonly #folder = makeDirectory("capture");
  readonly file = join(this.#folder, "frames.pcap");
  readonly #child: ChildProcess;
  /** Of the whole file: kept once the capture is over. */
  #misread: string[] | undefined;
  #isOver = false;
  #log = "";

  /** What passes the device; `filter` as tcpdump reads it; default: the tunnel's packets. */
  constructor(namespace: string, device: string, filter = `udp port ${VXLAN_PORT}`) {
    const keepAll = ["--immediate-mode", "-U", "-Z", "root", "-B", "65536", "-s", "0"];
    const argv = ["tcpdump", "-i", device, ...keepAll, "-w", this.file, ...filter.split(" ")];
    this.#child = spawnIn(namespace, argv);
    this.#child.stderr?.on("data", (piece: Buffer) => {
      this.#log += piece;
    });
  }

  async started(): Promise<void> {
    await until("tcpdump listens", () => this.#log.includes("listening on"));
  }

  /** Ends the capture; the file is whole then. */
  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.kill("SIGINT");
    await ended;
    this.#isOver = true;
  }

  /** Bytes captured; a file without a frame has 24. */
  size(): number {
    return statSync(this.file).size;
  }

  /** Lines that tshark prints for frames that match; "" = all. */
  frames(filter: string, columns: readonly string[] = []): string[] {
    const only = filter === "" ? [] : ["-Y", filter];
    return tshark([...this.#reading(this.#misreadPorts()), ...only, ...columns]);
  }

  /** How many frames match each of the filters: one run for all questions. */
  counts(filters: readonly string[]): number[] {
    // Most captures hold none that tshark misreads: they need no run of their own to find such.
    if (this.#misread !== undefined) return this.#count(this.#misread, filters);
    const [misread, ...counts] = this.#count([], [MISREAD, ...filters]);
    return misread === 0 ? counts : this.#count(this.#misreadPorts(), filters);
  }

  /**
   * Fails when a frame matches, and shows the first ones. For the counts that `counts` gave of the
   * same filters.
   */
  assertNone(filters: readonly string[], counts: readonly (number | undefined)[]): void {
    for (const [index, filter] of filters.entries()) {
      if (counts[index] === 0) continue;
      const shown = this.frames(filter).slice(0, 5);
      throw new Error(`${counts[index]} frames match ${filter}:\n${shown.join("\n")}`);
    }
  }

  #count(misread: readonly string[], filters: readonly string[]): number[] {
    const comma = filters.find((filter) => filter.includes(","));
    if (comma !== undefined) throw new Error(`a comma ends a filter here: ${comma}`);
    const statistics = ["-q", "-z", ["io,stat,0", ...filters].join(",")];
    const row = tshark([...this.#reading(misread), ...statistics]).find((l) => l.includes("<>"));
    // "| 0.000 <> 8.752 | FRAMES | BYTES | FRAMES | BYTES |", and an empty column or two.
    const cells = row?.split("|").slice(2) ?? [];
    return filters.map((filter, index) => {
      const frames = /^ *(\d+) *$/.exec(cells[2 * index] ?? "")?.[1];
      if (frames === undefined) throw new Error(`not counted: ${filter}`);
      return Number(frames);
    });
  }

  /** How tshark is to read the file. */
  #reading(misread: readonly string[]): string[] {
    const asNamed = [`${VXLAN_PORT},vxlan`, `${IP_IN_UDP_PORT},ip`];
    for (const port of misread) asNamed.push(`${port},geneve`);
    const decode = asNamed.flatMap((one) => ["-d", `udp.port==${one}`]);
    const settings = [...decode, "-o", "tcp.desegment_tcp_streams:FALSE", ...CHECKED];
    return ["-n", "-r", this.file, ...settings, ...withoutGuesses()];
  }

  /** How frames were read, once each ("eth:ip:gre:ppp:lcp"): one run for all questions. */
  stacks(): Set<string> {
    return new Set(this.frames("", ["-T", "fields", "-e", "frame.protocols"]));
  }

  /**
   * Linux' geneve sends from any port, and tshark goes by the lower of both: ports that it takes
   * for something else.
   */
  #misreadPorts(): string[] {
    if (this.#misread !== undefined) return this.#misread;
    const columns = ["-T", "fields", "-E", "occurrence=f", "-e", "udp.srcport"];
    // Without guesses: one at the wrong protocol may take a minute for a stream.
    const argv = ["-n", "-r", this.file, ...withoutGuesses(), "-Y", MISREAD, ...columns];
    const ports = [...new Set(tshark(argv))];
    if (this.#isOver) this.#misread = ports;
    return ports;
  }

  remove(): void {
    this.#child.kill("SIGKILL");
    clearDirectory(this.#folder);
  }
}
