// A plain PPP client on an asynchronous line, without PPTP and without encryption:
//   ppp-line HOST:PORT|- USER PASSWORD TARGET [NOISE]
// Logs in over a TCP connection (or standard input and output), pings TARGET through the link, says
// what came of it as JSON, and hangs up in order. NOISE: a frame with a wrong checksum goes first.
import { connect } from "node:net";
import { Duplex } from "node:stream";
import { encodeHdlc, HdlcDecoder, PppLink } from "../../src/ppp/index.js";

const FRAME_MAX = 1600;
const ASK_MS = 250;
const PATIENCE_MS = 20_000;
const IPV4 = 0x0021;
const ALL = 0xffffffff;

const [place = "-", user = "", password = "", target = "", noise] = process.argv.slice(2);
const [host = "", port = ""] = place.split(":");
const line =
  place === "-"
    ? Duplex.from({ readable: process.stdin, writable: process.stdout })
    : connect({ host, port: Number(port) });

function sumOf(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum ^ 0xffff;
}

/** An echo request of 84 bytes, as ping sends it. */
function echoRequest(from: string, number: number): Buffer {
  const packet = Buffer.alloc(84);
  packet.writeUInt32BE(0x45000054);
  packet.writeUInt16BE(0x4001, 8);
  packet.set(from.split(".").map(Number), 12);
  packet.set(target.split(".").map(Number), 16);
  packet.writeUInt16BE(sumOf(packet.subarray(0, 20)), 10);
  packet.writeUInt32BE(0x08000000, 20);
  packet.writeUInt16BE(number, 26);
  packet.writeUInt16BE(sumOf(packet.subarray(20)), 22);
  return packet;
}

const frames = { sent: 0, received: 0 };
let address = "";
let replies = 0;
let asked = 0;
let tick: NodeJS.Timeout | undefined;
let asking: NodeJS.Timeout | undefined;

function write(frame: Uint8Array): void {
  frames.sent += 1;
  line.write(encodeHdlc(Buffer.concat([Buffer.of(0xff, 0x03), frame]), ALL));
}

/** Says it on standard error, as standard output may be the line. */
function over(reason: string): void {
  clearTimeout(tick);
  clearInterval(asking);
  process.stderr.write(`${JSON.stringify({ address, replies, asked, reason, frames })}\n`);
  line.end(() => process.exit(replies > 0 ? 0 : 1));
}

const link = new PppLink(
  {
    mru: 1400,
    auth: { role: "peer", methods: ["ms-chap-v2"], user, secret: { clear: password } },
    mppe: null,
    ipcp: { local: "0.0.0.0", remote: null, dns: [], nbns: [], askAddress: true },
    ipv6cp: null,
    acfc: false,
    pfc: false,
  },
  {
    send: write,
    settings: () => undefined,
    authenticated: () => undefined,
    authFailed: () => undefined,
    up: ({ local }) => {
      address = local ?? "";
      asking ??= setInterval(() => {
        write(Buffer.concat([Buffer.of(0, IPV4), echoRequest(address, ++asked)]));
      }, ASK_MS);
    },
    down: () => undefined,
    closed: over,
  },
);

function arm(): void {
  clearTimeout(tick);
  const next = link.nextDeadline();
  if (next === null) return;
  tick = setTimeout(() => turn(() => link.tick(performance.now())), next - performance.now());
}

function turn(work: () => void): void {
  work();
  arm();
}

const decoder = new HdlcDecoder(FRAME_MAX, (whole) => {
  frames.received += 1;
  const isLong = whole[0] === 0xff && whole[1] === 0x03;
  const frame = Buffer.from(isLong ? whole.subarray(2) : whole);
  if (frame.readUInt16BE(0) !== IPV4) {
    turn(() => link.receive(frame, performance.now()));
    return;
  }
  const isReply = frame[2 + 9] === 1 && frame[2 + 20] === 0;
  if (!isReply || frame.subarray(14, 18).join(".") !== target) return;
  replies += 1;
  if (replies === 3) turn(() => link.close("enough", performance.now()));
});

line.on("data", (bytes: Uint8Array) => decoder.push(bytes));
line.on("error", () => undefined);
line.once("close", () => over("the line was closed"));
if (noise !== undefined) line.write(Buffer.from("7eff03c0210100000412347e", "hex"));
setTimeout(() => over("no patience"), PATIENCE_MS).unref();
turn(() => link.start(performance.now()));
