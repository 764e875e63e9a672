// One UDP flow of numbered packets between two namespaces, as two programs:
//   send ADDRESS PORT COUNT [CPU...]  sends COUNT packets, ten at a time, on one CPU after another
//   receive ADDRESS PORT              says "ready", counts until its input ends, prints what it saw
import { createSocket } from "node:dgram";
import { setTimeout as sleep } from "node:timers/promises";
import { pinThread } from "node-tun";

const BURST = 10;
const BURSTS_PER_CPU = 20;
const PAUSE_MS = 2;
const SIZE = 64;
const BUFFER = 4 << 20;

/** What the receiver prints. `late` are packets behind one that was sent after them. */
export interface Sequence {
  packets: number;
  twice: number;
  late: number;
}

async function send(address: string, port: number, count: number, cpus: number[]): Promise<void> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.connect(port, address, resolve));
  for (let number = 0; number < count; number += 1) {
    const burst = Math.floor(number / BURST);
    const cpu = cpus[Math.floor(burst / BURSTS_PER_CPU) % cpus.length];
    if (cpu !== undefined && number % (BURST * BURSTS_PER_CPU) === 0) pinThread(cpu);
    const packet = Buffer.alloc(SIZE);
    packet.writeUInt32LE(number);
    socket.send(packet);
    if (number % BURST === BURST - 1) await sleep(PAUSE_MS);
  }
  socket.close();
}

function receive(address: string, port: number): void {
  const seen = new Set<number>();
  const got: Sequence = { packets: 0, twice: 0, late: 0 };
  let highest = -1;
  const socket = createSocket({ type: "udp4", recvBufferSize: BUFFER });
  socket.on("message", (packet) => {
    const number = packet.readUInt32LE();
    got.packets += 1;
    if (seen.has(number)) got.twice += 1;
    else if (number < highest) got.late += 1;
    seen.add(number);
    highest = Math.max(highest, number);
    process.stdout.write(`${JSON.stringify(got)}\n`);
  });
  socket.bind(port, address, () => process.stdout.write("ready\n"));
}

const [what, address = "", port = "", count = "", ...cpus] = process.argv.slice(2);
if (what === "send") await send(address, Number(port), Number(count), cpus.map(Number));
if (what === "receive") receive(address, Number(port));
