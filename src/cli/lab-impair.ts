// meshd lab impair: loss, reordering, delay and the like between a host of a lab and the others.
import {
  type Impairment,
  type LabRoots,
  type LabWire,
  type LaneCounts,
  labClear,
  labImpair,
  labWires,
  UNIMPAIRED,
  type WireSettings,
} from "../lab/index.js";
import { type Command, type Invocation, type OptionSpec, UsageError } from "./command.js";
import { print, table } from "./output.js";

const FAULTS: Readonly<Record<string, OptionSpec>> = {
  loss: { value: "SHARE", about: "frames that are lost, such as 1%" },
  duplicate: { value: "SHARE", about: "frames that come twice" },
  corrupt: { value: "SHARE", about: "frames of which one bit is turned over" },
  reorder: { value: "SHARE", about: "frames that are overtaken by later ones" },
  gap: { value: "N", about: "by so many of them (default 3)" },
  delay: { value: "TIME", about: "such as 20ms or 500us" },
  jitter: { value: "TIME", about: "the delay is that much more or less; the order stays" },
  rate: { value: "RATE", about: "such as 10Mbit or 500kbit, a second" },
  queue: { value: "TIME", about: "longest wait for the rate; others are dropped (default 50ms)" },
  mtu: { value: "BYTES", about: "longer packets are dropped without a word" },
  cut: { about: "nothing passes" },
};
const OPTIONS: Readonly<Record<string, OptionSpec>> = {
  ...FAULTS,
  direction: { value: "WAY", about: "to (the node), from (it) or both (default both)" },
  seed: { value: "N", about: "the same seed does the same to the same frames (default 1)" },
  clear: { about: "take the wire out" },
};
const TIMES: Readonly<Record<string, number>> = { us: 1, ms: 1000, s: 1_000_000 };
const RATES: Readonly<Record<string, number>> = {
  ...{ bit: 1, kbit: 1000, Mbit: 1_000_000, Gbit: 1_000_000_000 },
};

/** A number and its unit as a whole number of the smallest. @throws UsageError */
function measure(option: string, given: string, units: Readonly<Record<string, number>>): number {
  const [, number, unit = ""] = /^(\d{1,12}(?:\.\d{1,6})?)([a-zA-Z%]+)$/.exec(given) ?? [];
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (number !== undefined && factor !== undefined) return Math.round(Number(number) * factor);
  const names = Object.keys(units).join(", ");
  throw new UsageError(`--${option} ${given}: allowed is a number with one of ${names} behind it`);
}

function whole(option: string, given: string): number {
  if (/^\d{1,10}$/.test(given)) return Number(given);
  throw new UsageError(`--${option} ${given}: allowed is a whole number`);
}

const SHARE = { "%": 10_000 };
type Reader = (option: string, given: string) => Partial<Impairment>;
const READERS: Readonly<Record<string, Reader>> = {
  loss: (option, given) => ({ loss_ppm: measure(option, given, SHARE) }),
  duplicate: (option, given) => ({ duplicate_ppm: measure(option, given, SHARE) }),
  corrupt: (option, given) => ({ corrupt_ppm: measure(option, given, SHARE) }),
  reorder: (option, given) => ({ reorder_ppm: measure(option, given, SHARE) }),
  gap: (option, given) => ({ gap: whole(option, given) }),
  delay: (option, given) => ({ delay_us: measure(option, given, TIMES) }),
  jitter: (option, given) => ({ jitter_us: measure(option, given, TIMES) }),
  rate: (option, given) => ({ rate: measure(option, given, RATES) }),
  queue: (option, given) => ({ queue_us: measure(option, given, TIMES) }),
  mtu: (option, given) => ({ mtu: whole(option, given) }),
};

function impairmentOf(invocation: Invocation): Impairment {
  const named = Object.entries(READERS).map(([option, read]) => {
    const given = invocation.text(option);
    return given === undefined ? {} : read(option, given);
  });
  return Object.assign({ ...UNIMPAIRED, cut: invocation.has("cut") }, ...named) as Impairment;
}

function changeOf(invocation: Invocation): (now: WireSettings) => WireSettings {
  const impairment = impairmentOf(invocation);
  const direction = invocation.text("direction") ?? "both";
  if (!["to", "from", "both"].includes(direction)) {
    throw new UsageError(`--direction ${direction}: allowed are to, from, both`);
  }
  const seed = whole("seed", invocation.text("seed") ?? "1");
  return (now) => ({
    seed,
    toNode: direction === "from" ? now.toNode : impairment,
    fromNode: direction === "to" ? now.fromNode : impairment,
  });
}

const percent = (ppm: number) => `${ppm / 10_000}%`;

function faultsText(one: Impairment): string {
  const words = [
    ...(one.cut ? ["cut"] : []),
    ...(one.loss_ppm > 0 ? [`loss ${percent(one.loss_ppm)}`] : []),
    ...(one.duplicate_ppm > 0 ? [`duplicate ${percent(one.duplicate_ppm)}`] : []),
    ...(one.corrupt_ppm > 0 ? [`corrupt ${percent(one.corrupt_ppm)}`] : []),
    ...(one.reorder_ppm > 0 ? [`reorder ${percent(one.reorder_ppm)} by ${one.gap}`] : []),
    ...(one.delay_us > 0 ? [`delay ${one.delay_us / 1000} ms`] : []),
    ...(one.jitter_us > 0 ? [`jitter ${one.jitter_us / 1000} ms`] : []),
    ...(one.rate > 0 ? [`rate ${one.rate / 1e6} Mbit/s`] : []),
    ...(one.mtu > 0 ? [`mtu ${one.mtu}`] : []),
  ];
  return words.length === 0 ? "none" : words.join(", ");
}

function countsText(counts: LaneCounts): string {
  const words = Object.entries({
    ...{ lost: counts.lost, duplicated: counts.duplicated, corrupted: counts.corrupted },
    ...{ reordered: counts.reordered, "too long": counts.tooLong, cut: counts.cut },
    "queue full": counts.queueFull,
  }).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
  return words.length === 0 ? "-" : words.join(", ");
}

function wiresText(wires: readonly LabWire[]): string {
  if (wires.length === 0) return "no host has a wire with faults\n";
  const rows = wires.flatMap(({ node, settings, toNode, fromNode }) => [
    [node, "to", faultsText(settings.toNode), toNode.frames, countsText(toNode)],
    [node, "from", faultsText(settings.fromNode), fromNode.frames, countsText(fromNode)],
  ]);
  return table(["NODE", "WAY", "FAULTS", "FRAMES", "OF THEM"], rows);
}

async function changed(
  invocation: Invocation,
  roots: LabRoots,
  name: string,
  node: string,
): Promise<LabWire[]> {
  if (!invocation.has("clear")) {
    return [await labImpair(roots, name, node, changeOf(invocation))];
  }
  await labClear(roots, name, node);
  return labWires(roots, name);
}

/** `placeOf`: whose lab it is. */
export function impairCommand(
  named: Readonly<Record<string, OptionSpec>>,
  placeOf: (invocation: Invocation) => { roots: LabRoots; name: string },
): Command {
  return {
    usage: "[NODE]",
    about:
      "Puts a wire with faults between a host of a running lab (n1, n2, ..., or ctl) and the " +
      "others, or changes what it does; without options of faults it is a good wire. What is " +
      "named replaces what was set for the direction. What happens to a frame follows from the " +
      "seed and the frame's number in its direction, so that a run can be run again. Without " +
      "NODE it shows the wires that are there, and counts since they were set.",
    example:
      "meshd lab impair n1 --loss 1% --reorder 5% --duplicate 1%\n" +
      "meshd lab impair n2 --delay 20ms --rate 10Mbit --direction to\n" +
      "meshd lab impair\n" +
      "meshd lab impair n1 --clear",
    options: { ...named, ...OPTIONS },
    words: [0, 1],
    async run(invocation, context) {
      const { roots, name } = placeOf(invocation);
      const [node] = invocation.words;
      const isChange = Object.keys(OPTIONS).some((option) => invocation.has(option));
      if (node === undefined && isChange) throw new UsageError("which host? such as n1");
      const wires =
        node === undefined
          ? await labWires(roots, name)
          : await changed(invocation, roots, name, node);
      print(invocation, context, wires, wiresText);
      return undefined;
    },
  };
}
