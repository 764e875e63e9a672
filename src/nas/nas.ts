// The network access server of 1997 (a PAC in RFC 2637): PPP from lines goes through incoming calls
// to a PPTP server, so a client that knows nothing of PPTP reaches it. PPP passes untouched.
import { randomInt } from "node:crypto";
import type { Duplex } from "node:stream";
import { ACCM_ALL, encodeHdlc, HdlcDecoder } from "../ppp/index.js";
import { type Dialed, type DialedEnd, dialPptp, INSECURE } from "../pptp/index.js";
import { callIdOf, GreCall } from "./gre-call.js";
import { GrePort } from "./gre-port.js";
import { type LinePlace, type Lines, openLines } from "./line.js";

export interface NasOptions {
  /** The PPTP server: address or name, and its port for tests. */
  server: string;
  port?: number;
  /** Own address towards it; the routes choose it when left out. */
  localAddress?: string;
  /** Told to the server as the number that was dialled. */
  number?: string;
  line: LinePlace;
  /** A line's call did not come up: refused, or no answer. */
  onNoCall?(reason: string): void;
  log(event: string, fields: Record<string, unknown>): void;
}

export interface Nas {
  /** Port of TCP lines, else null. */
  linePort: number | null;
  /** No more lines: standard input or the terminal ended, or `close`. */
  ended: Promise<void>;
  close(): Promise<void>;
}

/** PPP frames of MRU 1500 with headers, and some for peers that do not count well. */
const FRAME_MAX = 1600;
/** Data packets that we take; a line is slower than its network. */
const WINDOW = 64;
const DIAL_MS = 20_000;
const ACK_MS = 50;
const ERRORS_MS = 30_000;
/** What a line has not taken yet; more is thrown away, as a full modem does. */
const UNSENT_MAX = 65_536;
const ID_MAX = 0xffff;

/** @throws Error when the line or the raw socket cannot be had */
export async function startNas(options: NasOptions): Promise<Nas> {
  const calls = new Map<number, LineCall>();
  const gre = new GrePort(options.localAddress ?? "0.0.0.0", (source, packet) => {
    const id = callIdOf(packet);
    if (id !== undefined) calls.get(id)?.packet(source, packet);
  });
  const onLine = (line: Duplex, name: string) => {
    let id = randomInt(1, ID_MAX);
    while (calls.has(id)) id = (id % ID_MAX) + 1;
    const call = new LineCall(options, gre, line, name, id, () => calls.delete(id));
    calls.set(id, call);
  };
  let lines: Lines;
  try {
    lines = await openLines(options.line, onLine);
  } catch (error) {
    await gre.close();
    throw error;
  }
  options.log("nas.ready", { server: options.server, warning: INSECURE });
  return {
    linePort: lines.port,
    ended: lines.ended,
    close: async () => {
      const ends = [...calls.values()].map((call) => call.end("the access server stops"));
      await lines.close();
      await Promise.all(ends);
      await gre.close();
    },
  };
}

/** One line and its call. */
class LineCall {
  readonly #decoder: HdlcDecoder;
  readonly #dialed: Dialed;
  #end: DialedEnd | null = null;
  #gre: GreCall | null = null;
  #accm = ACCM_ALL;
  #ackTimer: NodeJS.Timeout | undefined;
  #errorsTimer: NodeJS.Timeout | undefined;
  #told = "";
  #dropped = 0;
  #isOver = false;

  constructor(
    private readonly options: NasOptions,
    private readonly port: GrePort,
    private readonly line: Duplex,
    private readonly name: string,
    id: number,
    private readonly gone: () => void,
  ) {
    const { server: address, port: tcpPort, localAddress, number = "" } = options;
    this.#decoder = new HdlcDecoder(FRAME_MAX, (frame) => this.#fromLine(frame));
    // Nothing is read before the call is up: then it waits in the line, and PPP asks again.
    line.pause();
    line.on("data", (bytes: Uint8Array) => this.#decoder.push(bytes));
    line.on("error", () => void this.end("the line failed"));
    line.once("close", () => void this.end("the line was closed"));
    line.once("end", () => void this.end("the line ended"));
    const words = { hostName: "meshd nas", phoneNumber: number, dialing: name.slice(0, 64) };
    const way = { ...(tcpPort && { port: tcpPort }), ...(localAddress && { localAddress }) };
    const own = { kind: "incoming", callId: id, window: WINDOW, timeout_ms: DIAL_MS } as const;
    this.#dialed = dialPptp(
      { address, ...way, ...words, ...own },
      {
        connected: (end) => this.#up(end),
        ended: ({ message }) => {
          if (this.#end === null && !this.#isOver) options.onNoCall?.(message);
          void this.end(message);
        },
        linkInfo: ({ send }) => {
          this.#accm = send;
        },
        statistics: () => this.#statistics(),
      },
    );
  }

  /** A GRE packet with our call id. */
  packet(source: string, packet: Buffer): void {
    if (this.#gre === null || source !== this.#end?.address) return;
    const frame = this.#gre.unwrap(packet);
    if (frame === null) return;
    this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ACK_MS);
    if (this.line.writableLength > UNSENT_MAX) this.#dropped += 1;
    else this.line.write(encodeHdlc(frame, this.#accm));
  }

  /** Ends both halves; told once. */
  async end(reason: string): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#ackTimer);
    clearInterval(this.#errorsTimer);
    this.options.log("nas.ended", { line: this.name, reason, statistics: this.#statistics() });
    this.line.destroy();
    await this.#dialed.clear("lost");
    this.gone();
  }

  #up(end: DialedEnd): void {
    const { address, hostName } = end;
    this.#end = end;
    this.#gre = new GreCall(end.peerCallId);
    this.options.log("nas.up", { line: this.name, address, hostName, warning: INSECURE });
    this.#errorsTimer = setInterval(() => this.#tellErrors(), ERRORS_MS);
    this.line.resume();
  }

  #fromLine(frame: Uint8Array): void {
    if (this.#gre === null || this.#end === null || this.#isOver) return;
    this.port.send(this.#end.address, this.#gre.wrap(frame));
  }

  #acknowledge(): void {
    this.#ackTimer = undefined;
    if (this.#end === null || this.#gre === null || !this.#gre.owesAck) return;
    this.port.send(this.#end.address, this.#gre.acknowledge());
  }

  /** WAN-Error-Notify, when there is something new. */
  #tellErrors(): void {
    const { crcErrors, framingErrors, bufferOverruns } = this.#decoder.counters;
    const nothing = { hardwareOverruns: 0, timeouts: 0, alignmentErrors: 0 };
    const errors = { crcErrors, framingErrors, bufferOverruns, ...nothing };
    const text = JSON.stringify(errors);
    if (crcErrors + framingErrors + bufferOverruns === 0 || text === this.#told) return;
    this.#told = text;
    this.#dialed.tellErrors(errors);
  }

  #statistics(): string {
    const { sent, received, late } = this.#gre?.counts ?? { sent: 0, received: 0, late: 0 };
    const { crcErrors } = this.#decoder.counters;
    return `to you ${sent}, from you ${received}, late ${late + this.#dropped}, crc ${crcErrors}`;
  }
}
