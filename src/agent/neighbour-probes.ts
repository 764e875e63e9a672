// Probes that go the way of directly routed packets: by an ordinary socket on the node address, so
// by the kernel's routes, there and back (ADR 0027). Payload as the hot path's probes have it.
import { createSocket, type Socket } from "node:dgram";
import {
  PROBE_HEARD_AT,
  PROBE_KIND_AT,
  PROBE_MAGIC,
  PROBE_MAGIC_AT,
  PROBE_PORT,
  PROBE_REPLY,
  PROBE_REQUEST,
  PROBE_SEQUENCE_AT,
  PROBE_SIZE,
} from "../../assembly/shared/layout.js";
import { canonicalAddress, parseAddress } from "./prefix.js";
import type { ProbeReply } from "./probe-packets.js";

/** What comes by the way of directly routed packets. */
export interface NeighbourEar {
  onReply: (reply: ProbeReply) => void;
  /** Somebody asked, and was answered; what it said of hearing us (PROBE_HEARD_*), or 0. */
  onRequest: (source: ProbeReply["source"], said: number) => void;
}

/** What the prober needs of it. */
export interface NeighbourWay {
  /** Our node addresses to ask from and to answer at; none closes all. */
  setAddresses(addresses: readonly string[]): void;
  /** False when there is no socket yet to ask from. `said`: see `encodeProbe`. */
  send(source: string, destination: string, sequence: number, said: number): boolean;
}

function question(sequence: number, said: number): Buffer {
  const payload = Buffer.alloc(PROBE_SIZE);
  payload.writeUInt32BE(PROBE_MAGIC, PROBE_MAGIC_AT);
  payload.writeUInt8(PROBE_REQUEST, PROBE_KIND_AT);
  payload.writeUInt8(said, PROBE_HEARD_AT);
  payload.writeUInt32BE(sequence, PROBE_SEQUENCE_AT);
  return payload;
}

interface Probe {
  kind: number;
  sequence: number;
  /** What the asker says of hearing us (PROBE_HEARD_*); 0: nothing. */
  said: number;
}

/** What a payload says; null when it is no probe. */
export function readProbe(payload: Buffer): Probe | null {
  if (payload.length < PROBE_SIZE || payload.readUInt32BE(PROBE_MAGIC_AT) !== PROBE_MAGIC) {
    return null;
  }
  const sequence = payload.readUInt32BE(PROBE_SEQUENCE_AT);
  const said = payload.readUInt8(PROBE_HEARD_AT);
  return { kind: payload.readUInt8(PROBE_KIND_AT), sequence, said };
}

export class NeighbourProbes implements NeighbourWay {
  private readonly sockets = new Map<string, Socket>();

  constructor(private readonly ear: NeighbourEar) {}

  setAddresses(addresses: readonly string[]): void {
    for (const [address, socket] of this.sockets) {
      if (!addresses.includes(address)) this.close(address, socket);
    }
    for (const address of addresses) {
      if (!this.sockets.has(address)) this.open(address);
    }
  }

  send(source: string, destination: string, sequence: number, said = 0): boolean {
    const socket = this.sockets.get(source);
    if (socket === undefined) return false;
    // No route, or nobody there: the answer that does not come says the same.
    socket.send(question(sequence, said), PROBE_PORT, destination, () => undefined);
    return true;
  }

  private open(address: string): void {
    const six = address.includes(":");
    const socket = createSocket(six ? { type: "udp6", ipv6Only: true } : { type: "udp4" });
    this.sockets.set(address, socket);
    socket.on("message", (payload, from) => this.take(socket, payload, from));
    // The address may not be there yet, or be gone: the next round opens it again.
    socket.on("error", () => this.close(address, socket));
    socket.bind({ address, port: PROBE_PORT, exclusive: true });
  }

  private close(address: string, socket: Socket): void {
    if (this.sockets.get(address) !== socket) return;
    this.sockets.delete(address);
    socket.close();
  }

  private take(socket: Socket, payload: Buffer, from: { address: string; port: number }): void {
    const probe = readProbe(payload);
    const source = parseAddress(canonicalAddress(from.address));
    // Only probers ask from that port: an answer goes nowhere else.
    if (probe === null || source === undefined || from.port !== PROBE_PORT) return;
    if (probe.kind === PROBE_REPLY) {
      this.ear.onReply({ sequence: probe.sequence, source });
    } else if (probe.kind === PROBE_REQUEST) {
      const reply = Buffer.from(payload);
      reply.writeUInt8(PROBE_REPLY, PROBE_KIND_AT);
      socket.send(reply, PROBE_PORT, from.address, () => undefined);
      this.ear.onRequest(source, probe.said);
    }
  }
}
