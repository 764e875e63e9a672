// The sockets of one underlay address: what is open, what must be opened for another wish, and what
// each worker sends from and listens on.
import { gatherUdp, spreadUdp, type UdpSocket } from "node-tun";
import {
  FRAGMENT_SOCKETS,
  RAW_SOCKETS,
  SENDING_SOCKETS,
  SOCKET_IPIP4,
} from "../../assembly/shared/layout.js";
import {
  applyChecksums,
  closeSockets,
  IPV6_FRAGMENT,
  type OpenPort,
  type OpenRaw,
  openPort,
  openRawFragmenting,
  openRawSockets,
  openSending,
  pieceProtocolsOf,
  portsOf,
  rawProtocolsOf,
  type UnderlayAddress,
} from "./sockets.js";
import type { CrewPlan, Steerer } from "./steering.js";
import { RAW_KINDS } from "./templates.js";

/** Everything that datagrams go out of and come in by. */
export interface Sockets {
  /** UDP sockets that only send, of each worker. */
  sending: UdpSocket[][];
  /** The tunnel's own first, if it is UDP. */
  ports: OpenPort[];
  raw: OpenRaw[];
  /** As `sending` and `raw`, that let outer packets be fragmented; none unless a peer needs it. */
  pieces: UdpSocket[][];
  rawPieces: OpenRaw[];
}

export const NO_SOCKETS: Sockets = { sending: [], ports: [], raw: [], pieces: [], rawPieces: [] };

export function allOf({ sending, ports, raw, pieces, rawPieces }: Sockets): { fd: number }[] {
  const listening = [...ports, ...raw, ...rawPieces].flatMap(({ sockets }) => sockets);
  return [...sending.flat(), ...pieces.flat(), ...listening];
}

/** Those of them that send or take UDP. */
export function udpOf({ sending, ports, pieces }: Sockets): UdpSocket[] {
  return [...sending.flat(), ...pieces.flat(), ...ports.flatMap(({ sockets }) => sockets)];
}

/** Sockets that a worker listens on, and the kind of what comes there. */
export function listeningOf(
  { ports, raw }: Sockets,
  worker: number,
): { fd: number; kind: number }[] {
  const readable = raw.filter(({ firstReader }) => worker >= firstReader);
  const kinds = readable.map((one) => ({ ...one, kind: rawKind(one.ipProtocol) }));
  return [...ports, ...kinds].map(({ sockets, kind }) => {
    return { fd: sockets[worker]?.fd ?? -1, kind };
  });
}

/** Sockets that a worker sends from, in the hot path's order; -1 stands for those not open. */
export function sendingOf(open: Sockets, worker: number): number[] {
  const fds = new Array<number>(SENDING_SOCKETS).fill(-1);
  fds[0] = open.ports[0]?.sockets[worker]?.fd ?? -1;
  const place = (first: number, sending: UdpSocket[][], raw: OpenRaw[]) => {
    for (const [i, { fd }] of (sending[worker] ?? []).entries()) fds[first + 1 + i] = fd;
    for (const { ipProtocol, sockets } of raw) {
      fds[first + rawPlace(ipProtocol)] = sockets[worker]?.fd ?? -1;
    }
  };
  place(0, open.sending, open.raw);
  place(FRAGMENT_SOCKETS, open.pieces, open.rawPieces);
  return fds;
}

function rawKind(ipProtocol: number): number {
  const kind = RAW_KINDS.get(ipProtocol);
  if (kind === undefined) throw new RangeError(`no raw sockets for IP protocol ${ipProtocol}`);
  return kind;
}

/** Where a raw socket stands among those that send; that of our own fragments is the first twin. */
function rawPlace(ipProtocol: number): number {
  if (ipProtocol === IPV6_FRAGMENT) return 0;
  return RAW_SOCKETS + rawKind(ipProtocol) - SOCKET_IPIP4;
}

/** What of the open sockets serves another wish, too. */
export function stillWanted(open: Sockets, was: UnderlayAddress, wanted: UnderlayAddress): Sockets {
  if (was.address !== wanted.address || was.family !== wanted.family) return NO_SOCKETS;
  const ports = portsOf(wanted);
  const isSameOrder = (was.ordered ?? false) === (wanted.ordered ?? false);
  const ipProtocols = isSameOrder ? rawProtocolsOf(wanted) : [];
  return {
    sending: open.sending,
    ports: open.ports.filter((one) => ports.some(({ port }) => one.port === port)),
    raw: open.raw.filter(({ ipProtocol }) => ipProtocols.includes(ipProtocol)),
    pieces: wanted.fragments === true ? open.pieces : [],
    rawPieces: open.rawPieces.filter(({ ipProtocol }) => {
      return pieceProtocolsOf(wanted).includes(ipProtocol);
    }),
  };
}

/** What is in `all` and not in `some`. */
export function without(all: Sockets, some: Sockets): Sockets {
  return {
    sending: all.sending.filter((one) => !some.sending.includes(one)),
    ports: all.ports.filter((one) => !some.ports.includes(one)),
    raw: all.raw.filter((one) => !some.raw.includes(one)),
    pieces: all.pieces.filter((one) => !some.pieces.includes(one)),
    rawPieces: all.rawPieces.filter((one) => !some.rawPieces.includes(one)),
  };
}

/** The tunnel's own port first; what comes to a port that stays open may be another than before. */
export function inOrder(underlay: UnderlayAddress, open: readonly OpenPort[]): OpenPort[] {
  return portsOf(underlay).flatMap((wanted) => {
    const found = open.find(({ port }) => port === wanted.port);
    return found === undefined ? [] : [{ ...found, ...wanted }];
  });
}

export interface OpenSettings {
  tun: { queues: number };
  socketBuffer: number;
  plan: CrewPlan;
}

/** While packets are numbered, one worker has those of every port; else all share them. */
function sharePorts(ports: readonly OpenPort[], isOrdered: boolean): void {
  for (const { sockets } of ports) {
    const [first] = sockets;
    if (first === undefined || sockets.length < 2) continue;
    if (isOrdered) gatherUdp(first.fd, sockets.length - 1);
    else spreadUdp(first.fd);
  }
}

/**
 * Opens what is wanted and not kept, and steers the tunnel's own port when it is another one than
 * before; nothing stays open when something fails.
 */
export function openMissing(
  underlay: UnderlayAddress,
  before: Sockets & { ordered: boolean },
  kept: Sockets,
  settings: OpenSettings,
  steerer: Steerer,
): Sockets {
  const opened: Sockets = { sending: [], ports: [], raw: [], pieces: [], rawPieces: [] };
  try {
    openInto(opened, underlay, kept, settings);
    applyChecksums(underlay, udpOf(opened));
    const { protocol = "vxlan", ordered = false } = underlay;
    if (ordered) sharePorts([...kept.ports, ...opened.ports], true);
    else if (before.ordered) sharePorts(kept.ports, false);
    const [own] = inOrder(underlay, [...kept.ports, ...opened.ports]);
    const [was] = before.ports;
    const isSame = own?.sockets === was?.sockets && was?.protocol === protocol;
    const isSteered = ordered || (isSame && !before.ordered);
    if (own?.protocol === protocol && !isSteered) {
      steerer.steerSockets(own.sockets, protocol);
    }
    return opened;
  } catch (error) {
    closeSockets(allOf(opened));
    throw error;
  }
}

function openInto(
  opened: Sockets,
  underlay: UnderlayAddress,
  kept: Sockets,
  { tun, socketBuffer, plan }: OpenSettings,
): void {
  const count = tun.queues;
  for (const port of portsOf(underlay)) {
    if (kept.ports.some((one) => one.port === port.port)) continue;
    opened.ports.push(openPort(underlay, port, count, socketBuffer));
  }
  if (kept.sending.length === 0) opened.sending = openSending(underlay, count, socketBuffer);
  const firstReader = underlay.ordered === true ? count - 1 : plan.cpus.length;
  const workers = { count, firstReader };
  for (const ipProtocol of rawProtocolsOf(underlay)) {
    if (kept.raw.some((one) => one.ipProtocol === ipProtocol)) continue;
    opened.raw.push(openRawSockets(underlay, ipProtocol, workers, socketBuffer));
  }
  if (underlay.fragments === true) openPieces(opened, underlay, kept, count, socketBuffer);
}

function openPieces(
  opened: Sockets,
  underlay: UnderlayAddress,
  kept: Sockets,
  workers: number,
  socketBuffer: number,
): void {
  if (underlay.family === 4 && kept.pieces.length === 0) {
    opened.pieces = openSending(underlay, workers, socketBuffer, true);
  }
  for (const ipProtocol of pieceProtocolsOf(underlay)) {
    if (kept.rawPieces.some((one) => one.ipProtocol === ipProtocol)) continue;
    opened.rawPieces.push(openRawFragmenting(underlay, ipProtocol, workers, socketBuffer));
  }
}
