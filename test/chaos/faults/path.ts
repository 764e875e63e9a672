// Faults of the underlay's wires, by the project's own impaired wire (`meshd lab impair`).
import type { Impairment, LabWire } from "../../../src/lab/index.js";
import { labClear, labImpair, labWires, UNIMPAIRED } from "../../../src/lab/index.js";
import type { Random } from "../../support/random.js";
import { type Fault, holdFor, must, pickNode, type World } from "../fault.js";

type Way = "both" | "to" | "from";

interface WireFault {
  name: string;
  about: string;
  hurts: Fault["hurts"];
  /** The host whose wire it is. */
  at: (world: World, dice: Random) => string;
  ways: readonly Way[];
  faults: (dice: Random) => Partial<Impairment>;
  hold_s: readonly [number, number];
}

/** What of the settings did something, by the wire's own counts. */
function hasStruck({ toNode, fromNode }: LabWire, set: Partial<Impairment>): boolean {
  const sum = (name: keyof typeof toNode) => toNode[name] + fromNode[name];
  const struck = [
    (set.cut ?? false) && sum("cut") > 0,
    (set.loss_ppm ?? 0) > 0 && sum("lost") > 0,
    (set.duplicate_ppm ?? 0) > 0 && sum("duplicated") > 0,
    (set.corrupt_ppm ?? 0) > 0 && sum("corrupted") > 0,
    (set.reorder_ppm ?? 0) > 0 && sum("reordered") > 0,
    (set.mtu ?? 0) > 0 && sum("tooLong") > 0,
    ((set.delay_us ?? 0) > 0 || (set.rate ?? 0) > 0) && sum("frames") > 0,
  ];
  return struck.some(Boolean);
}

function textOf(set: Partial<Impairment>): string {
  const share = (ppm = 0) => `${ppm / 10_000}%`;
  const words = [
    ...(set.cut ? ["cut"] : []),
    ...(set.loss_ppm ? [`loss ${share(set.loss_ppm)}`] : []),
    ...(set.duplicate_ppm ? [`duplicate ${share(set.duplicate_ppm)}`] : []),
    ...(set.corrupt_ppm ? [`corrupt ${share(set.corrupt_ppm)}`] : []),
    ...(set.reorder_ppm ? [`reorder ${share(set.reorder_ppm)}`] : []),
    ...(set.delay_us ? [`delay ${set.delay_us / 1000} ms`] : []),
    ...(set.jitter_us ? [`jitter ${set.jitter_us / 1000} ms`] : []),
    ...(set.rate ? [`rate ${set.rate / 1e6} Mbit/s`] : []),
    ...(set.mtu ? [`mtu ${set.mtu}`] : []),
  ];
  return words.join(", ");
}

const WAY_TEXT = { both: "both ways", to: "to it", from: "from it" };

/** A fault that is one host's wire set so, and taken out. */
export function wireFault(wish: WireFault): Fault {
  return {
    ...{ name: wish.name, about: wish.about, hurts: wish.hurts, isSafe: true },
    async strike(world, dice) {
      const { lab } = world;
      const host = wish.at(world, dice);
      const way = dice.pick(wish.ways);
      const set = wish.faults(dice);
      const impairment = { ...UNIMPAIRED, ...set };
      const change = () => ({
        seed: dice.bits(),
        toNode: way === "from" ? UNIMPAIRED : impairment,
        fromNode: way === "to" ? UNIMPAIRED : impairment,
      });
      await labImpair(lab.roots, lab.name, host, change);
      return {
        target: `${host}: ${textOf(set)} ${WAY_TEXT[way]}`,
        hold_ms: holdFor(dice, ...wish.hold_s),
        proof: async () => {
          const wires = await labWires(lab.roots, lab.name);
          const wire = wires.find(({ node }) => node === host);
          must(wire !== undefined && hasStruck(wire, set), `the wire of ${host} counted nothing`);
        },
        heal: async () => {
          await labClear(lab.roots, lab.name, host);
        },
      };
    },
  };
}

const ofNode = { hurts: "data", at: pickNode } as const;
const anyWay = ["both", "to", "from"] as const;

/** A wire that loses every packet above a size, without a word: a path with a narrow middle. */
const narrowPath = wireFault({
  ...{ name: "path-mtu", about: "the path drops large packets without a word", ...ofNode },
  ways: ["both"],
  faults: (dice) => ({ mtu: dice.between(1320, 1480) }),
  hold_s: [4, 8],
});

const narrowUnderlay: Fault = {
  name: "underlay-mtu",
  about: "the underlay's interface of a node gets a smaller MTU, and its own again",
  ...{ hurts: "data", isSafe: false },
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const { namespace } = lab.node(node);
    const mtu = dice.between(1380, 1460);
    const before = (await lab.status(node)).mtu;
    const set = (bytes: number) =>
      lab.must(namespace, ["ip", "link", "set", "dev", "eth0", "mtu", `${bytes}`]);
    await set(mtu);
    return {
      target: `${node}: eth0 mtu ${mtu}`,
      hold_ms: holdFor(dice, 4, 8),
      proof: async () => {
        const { mtu: now } = await lab.status(node);
        must(now < before, `the tunnel's MTU of ${node} is ${now}, as before`);
      },
      heal: async () => {
        await set(1500);
      },
    };
  },
};

const linkDown: Fault = {
  name: "link-down",
  about: "a node's cable is pulled and put in again",
  ...{ hurts: "data", isSafe: false },
  async strike(world, dice) {
    const { lab } = world;
    const node = pickNode(world, dice);
    const set = (state: string) =>
      lab.must(lab.networkSpace, ["ip", "link", "set", "dev", node, state]);
    await set("down");
    return {
      target: node,
      hold_ms: holdFor(dice, 2, 7),
      proof: async () => must(world.traffic.counts().lost.length > 0, "no packet was lost"),
      heal: async () => {
        await set("up");
      },
    };
  },
};

export const pathFaults: readonly Fault[] = [
  wireFault({
    ...{ name: "partition", about: "a node is cut off from everybody", ...ofNode },
    ...{ ways: ["both"], faults: () => ({ cut: true }), hold_s: [3, 10] },
  }),
  wireFault({
    ...{ name: "one-way-cut", about: "a node hears and is not heard, or the reverse", ...ofNode },
    ...{ ways: ["to", "from"], faults: () => ({ cut: true }), hold_s: [3, 10] },
  }),
  wireFault({
    ...{ name: "loss", about: "packets are lost on the way", ...ofNode, ways: anyWay },
    faults: (dice) => ({ loss_ppm: dice.between(1, 40) * 10_000 }),
    hold_s: [4, 8],
  }),
  wireFault({
    ...{ name: "delay", about: "packets are late, each by another time", ...ofNode, ways: anyWay },
    faults: (dice) => {
      const delay_us = dice.between(5, 300) * 1000;
      return { delay_us, jitter_us: dice.between(0, delay_us) };
    },
    hold_s: [4, 8],
  }),
  wireFault({
    ...{ name: "duplicate", about: "packets come twice", ...ofNode, ways: anyWay },
    faults: (dice) => ({ duplicate_ppm: dice.between(1, 50) * 10_000 }),
    hold_s: [3, 6],
  }),
  wireFault({
    ...{ name: "reorder", about: "packets are overtaken by later ones", ...ofNode, ways: anyWay },
    faults: (dice) => ({ reorder_ppm: dice.between(1, 30) * 10_000, gap: dice.between(1, 30) }),
    hold_s: [3, 6],
  }),
  wireFault({
    ...{ name: "corrupt", about: "bits of packets are turned over", ...ofNode, ways: anyWay },
    faults: (dice) => ({ corrupt_ppm: dice.between(1, 10) * 10_000 }),
    hold_s: [3, 6],
  }),
  wireFault({
    ...{ name: "slow", about: "a node's line becomes narrow", ...ofNode, ways: anyWay },
    faults: (dice) => ({ rate: dice.between(2, 20) * 1_000_000 }),
    hold_s: [4, 8],
  }),
  wireFault({
    ...{ name: "everything", about: "all faults of a path at once", ...ofNode, ways: ["both"] },
    faults: (dice) => ({
      ...{ loss_ppm: dice.between(1, 10) * 10_000, duplicate_ppm: dice.between(1, 10) * 10_000 },
      ...{ reorder_ppm: dice.between(1, 20) * 10_000, corrupt_ppm: dice.between(1, 2) * 10_000 },
      delay_us: dice.between(1, 80) * 1000,
    }),
    hold_s: [4, 8],
  }),
  narrowPath,
  narrowUnderlay,
  linkDown,
];
