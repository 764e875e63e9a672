// What a run measures: legs, each one set-up of wire and workers in a lab of its own, in which all
// carriers are measured in turn. Only figures of one leg are ever compared.
import { builtProtocols } from "../../control/index.js";
import { MEASURES, type MeasureName } from "../measure/measures.js";
import { CARRIERS, type CarrierName } from "../network/carriers.js";

/** How meshd's lab is brought up; nothing given = as the product comes. */
export interface Crew {
  workers?: number;
  steering?: "auto" | "off";
  /** Encapsulation between its nodes. */
  encap?: string;
}

export interface Leg {
  /** Unique in a run, the same in every run: "mtu1500", "mtu9000-plain-w2". */
  id: string;
  mtu: 1500 | 9000;
  /** UDP and tunnel segmentation of the veth; off is nearest to a plain wire. */
  offloads: boolean;
  crew: Crew;
  carriers: CarrierName[];
  rounds: number;
  /** Of one TCP transfer. */
  seconds: number;
  /** What is taken of a carrier in a round, numbered from 1. */
  measures(carrier: CarrierName, round: number): readonly MeasureName[];
}

/** One measurement of one carrier in one round: what a resumed run may skip. */
export interface Cell {
  leg: string;
  /** From 1; the turns of a round that has several are 1, 1.1, 1.2 and so on. */
  round: number;
  carrier: CarrierName;
  measure: MeasureName;
}

/**
 * How many turns a measure takes in each round, each of all carriers: what a virtual machine's
 * processors do to a round trip changes within seconds, and shall meet all of them alike.
 */
const TURNS: Partial<Record<MeasureName, number>> = { ping: 5 };

/** Numbers of a round's turns. */
function turnsOf(round: number, measure: MeasureName): number[] {
  return Array.from({ length: TURNS[measure] ?? 1 }, (_, turn) => (round * 10 + turn) / 10);
}

export interface Extent {
  rounds: number;
  seconds: number;
  carriers: readonly CarrierName[];
  measures: readonly MeasureName[];
}

export const ALL_CARRIERS = Object.keys(CARRIERS) as CarrierName[];
export const ALL_MEASURES = Object.keys(MEASURES) as MeasureName[];

const KERNEL: readonly string[] = ["raw", "vxlan"];

/** Whether a carrier is another user-space overlay (or proxy): neither the kernel's nor meshd. */
export const isPeer = (name: CarrierName) => !KERNEL.includes(name) && !name.startsWith("meshd");

export const cellKey = ({ leg, round, carrier, measure }: Cell) =>
  `${leg}/${carrier}/${measure}/${round}`;

function crewName({ workers, steering, encap }: Crew): string {
  const count = workers === undefined ? "" : `-w${workers}`;
  const steered = steering === undefined ? "" : `-steering-${steering}`;
  return `${count}${steered}${encap === undefined ? "" : `-${encap}`}`;
}

type LegParts = Omit<Leg, "id" | "crew"> & { crew?: Crew };

export function makeLeg(parts: LegParts): Leg {
  const crew = parts.crew ?? {};
  const id = `mtu${parts.mtu}${parts.offloads ? "" : "-plain"}${crewName(crew)}`;
  return { ...parts, crew, id };
}

/** What a leg is, for a heading. */
export function legTitle(leg: Leg): string {
  const veth = leg.offloads ? "veth as it comes" : "veth without UDP and tunnel GSO";
  const { workers, steering, encap } = leg.crew;
  const count = workers === undefined ? "" : `, ${workers} worker(s)`;
  const steered = steering === undefined ? "" : `, steering ${steering}`;
  const over = encap === undefined ? "" : `, meshd over ${encap}`;
  return `MTU ${leg.mtu}, ${veth}${count}${steered}${over}`;
}

/** Peers' floods and searches take long and change little: once a leg is enough. */
const ONCE: readonly MeasureName[] = ["udp64", "udp64lossless"];
const OF_PEERS: readonly MeasureName[] = ["tcp1", "ping", ...ONCE];

/** Before anything else was sent: later rounds would measure the rest after traffic. */
function ownMeasures(wanted: readonly MeasureName[], round: number): readonly MeasureName[] {
  return round === 1 ? wanted : wanted.filter((name) => name !== "idle");
}

function peerMeasures(wanted: readonly MeasureName[], round: number): MeasureName[] {
  const own = wanted.filter((name) => OF_PEERS.includes(name));
  return round === 1 ? own : own.filter((name) => !ONCE.includes(name));
}

/**
 * The legs of `npm run bench`: everything at MTU 1500, and of TCP what the goals ask for on a plain
 * wire and at MTU 9000. A leg with nothing in it is left out.
 */
export function defaultLegs(extent: Extent): Leg[] {
  const { rounds, seconds, carriers, measures } = extent;
  const base = { rounds, seconds };
  const one = measures.filter((name) => name === "tcp1");
  const both = measures.filter((name) => name === "tcp1" || name === "tcp1cubic");
  const pair = carriers.filter((name) => name === "vxlan" || name === "meshd");
  const short = { ...base, carriers: pair, measures: () => one };
  const all = makeLeg({
    ...{ ...base, mtu: 1500, offloads: true, carriers: [...carriers] },
    measures: (carrier, round) =>
      isPeer(carrier) ? peerMeasures(measures, round) : ownMeasures(measures, round),
  });
  const plain = makeLeg({ ...short, mtu: 1500, offloads: false });
  const jumbo = makeLeg({ ...short, mtu: 9000, offloads: true, measures: () => both });
  return one.length === 0 || pair.length === 0 ? [all] : [all, plain, jumbo];
}

const CREWS: readonly Crew[] = [
  {},
  { workers: 1, steering: "off" },
  { workers: 2, steering: "off" },
  { workers: 4, steering: "off" },
  { steering: "off" },
];

/** What is not meshd does not care for meshd's encapsulation, and stands beside it as the base. */
function encapLegs({ rounds, seconds, carriers, measures }: Extent): Leg[] {
  return builtProtocols
    .filter((encap) => encap !== "vxlan")
    .map((encap) =>
      makeLeg({
        ...{ mtu: 1500, offloads: true, crew: { encap }, rounds, seconds },
        carriers: carriers.filter((name) => !isPeer(name)),
        measures: () => measures.filter((name) => name !== "idle"),
      }),
    );
}

/**
 * The whole matrix: wires by crews, then the other encapsulations. Peers do not care for meshd's
 * workers: they are in the first crew's legs. An idle node does not care for the wire.
 */
export function fullLegs(extent: Extent): Leg[] {
  const { rounds, seconds, carriers, measures } = extent;
  const busy = measures.filter((name) => name !== "idle");
  const wires = ([1500, 9000] as const).flatMap((mtu) =>
    [true, false].map((offloads) => ({ mtu, offloads })),
  );
  const crews = CREWS.flatMap((crew, index) =>
    wires.map((wire, nth) =>
      makeLeg({
        ...{ ...wire, crew, rounds, seconds },
        carriers: carriers.filter((name) => index === 0 || !isPeer(name)),
        measures: (_, round) => ownMeasures(nth === 0 ? measures : busy, round),
      }),
    ),
  );
  return [...crews, ...encapLegs(extent)];
}

/** All cells of a leg that are still to be done, in the order they are taken. */
export function cellsOf(leg: Leg, isDone: (cell: Cell) => boolean): Cell[] {
  const cells: Cell[] = [];
  for (let round = 1; round <= leg.rounds; round++) {
    for (const measure of ALL_MEASURES) {
      const carriers = leg.carriers.filter((one) => leg.measures(one, round).includes(measure));
      for (const [index, turn] of turnsOf(round, measure).entries()) {
        for (const carrier of inTurn(carriers, round + index)) {
          const cell = { leg: leg.id, round: turn, carrier, measure };
          if (!isDone(cell)) cells.push(cell);
        }
      }
    }
  }
  return cells;
}

/** The carriers, beginning with another one each time: none profits from its place. */
function inTurn(carriers: readonly CarrierName[], nth: number): CarrierName[] {
  if (carriers.length === 0) return [];
  const first = (nth - 1) % carriers.length;
  return [...carriers.slice(first), ...carriers.slice(0, first)];
}
