// Where a packet can end on its way without a word: what the wires, the kernels of all hosts and
// pods, and the agents count. Read before and after a step, so that a lost probe has a place.
import type { DropRow } from "../../src/agent/index.js";
import { labWires } from "../../src/lab/index.js";
import type { ChaosLab } from "./lab.js";

/** Counters by a name that says place and cause. */
export type Ledger = Map<string, number>;

const FILES = ["snmp", "snmp6", "udp", "udp6", "raw", "raw6"].map((name) => `/proc/net/${name}`);
/** Of the kernel's hundreds, those that a packet's end moves. */
const ENDS = new RegExp(
  [
    ...["Discards", "NoRoutes", "NoPorts", "Errors", "AddrErr", "HdrErr", "CsumErr", "TooBig"],
    ...["UnknownProto", "Reasm.*Fail", "Frag.*Fail"],
  ].join("|"),
);
const SOFTNET_DROPPED = 1;

function add(ledger: Ledger, name: string, count: number): void {
  if (count > 0) ledger.set(name, (ledger.get(name) ?? 0) + count);
}

/** /proc/net/snmp: a line of names, then one of numbers, for each protocol. */
function addSnmp(ledger: Ledger, place: string, names: string, numbers: string): void {
  const [protocol = "", ...words] = names.split(/\s+/);
  const counts = numbers.split(/\s+/).slice(1);
  for (const [index, word] of words.entries()) {
    const name = `${protocol.replace(":", "")}${word}`;
    if (ENDS.test(name)) add(ledger, `${place} ${name}`, Number(counts[index]));
  }
}

/** Reads snmp, snmp6 and the tables of sockets, one behind the other. */
export function addKernel(ledger: Ledger, place: string, text: string): void {
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    const next = lines[index + 1] ?? "";
    const [first = "", second = ""] = line.trim().split(/\s+/);
    const isNames = first.endsWith(":") && next.startsWith(first) && Number.isNaN(Number(second));
    if (isNames) addSnmp(ledger, place, line, next);
    else if (/^(Ip6|Icmp6|Udp6)\w+$/.test(first) && ENDS.test(first)) {
      add(ledger, `${place} ${first}`, Number(second));
    } else if (/^\d+:$/.test(first)) addSocket(ledger, place, line);
  }
}

/** A row of udp, udp6, raw or raw6: its local port or protocol, and as the last what it dropped. */
function addSocket(ledger: Ledger, place: string, line: string): void {
  const words = line.trim().split(/\s+/);
  const port = Number.parseInt(words[1]?.split(":")[1] ?? "", 16);
  add(ledger, `${place} socket of port or protocol ${port} dropped`, Number(words.at(-1)));
}

interface LinkRow {
  ifindex: number;
  ifname: string;
  stats64?: Record<"rx" | "tx", Record<string, number>>;
}

const INNOCENT = new Set(["bytes", "packets", "multicast", "carrier_changes", "compressed"]);

/** `ip -j -s -s link`: all but what passed. */
export function addLinks(ledger: Ledger, place: string, rows: readonly LinkRow[]): void {
  for (const { ifname, ifindex, stats64 } of rows) {
    for (const way of ["rx", "tx"] as const) {
      for (const [name, count] of Object.entries(stats64?.[way] ?? {})) {
        if (!INNOCENT.has(name)) add(ledger, `${place} ${ifname}#${ifindex} ${way} ${name}`, count);
      }
    }
  }
}

/** The machine's queue between devices and the stack, of all processors. */
function addSoftnet(ledger: Ledger, text: string): void {
  for (const line of text.trim().split("\n")) {
    const dropped = Number.parseInt(line.split(/\s+/)[SOFTNET_DROPPED] ?? "0", 16);
    add(ledger, "machine softnet dropped", dropped);
  }
}

async function addNamespace(ledger: Ledger, lab: ChaosLab, namespace: string): Promise<void> {
  const place = namespace.slice(lab.name.length + 1);
  const [links, kernel] = await Promise.all([
    lab.run(namespace, ["ip", "-j", "-s", "-s", "link"]),
    lab.run(namespace, ["cat", ...FILES]),
  ]);
  if (links.code === 0) addLinks(ledger, place, JSON.parse(links.stdout) as LinkRow[]);
  addKernel(ledger, place, kernel.stdout);
}

async function addAgent(ledger: Ledger, lab: ChaosLab, node: string): Promise<void> {
  // An agent that is down counts nothing.
  const rows = await lab.socket<DropRow[]>(node, "/drops").catch(() => []);
  for (const { reason, direction, packets } of rows) {
    add(ledger, `${node} agent ${reason} (${direction})`, packets);
  }
}

/** What the wires did, and the devices between hosts: both go with the healing. */
export async function readWires(lab: ChaosLab): Promise<Ledger> {
  const ledger: Ledger = new Map();
  for (const { node, toNode, fromNode } of await labWires(lab.roots, lab.name)) {
    for (const [way, counts] of Object.entries({ to: toNode, from: fromNode })) {
      const { lost, corrupted, tooLong, cut, queueFull } = counts;
      for (const [name, count] of Object.entries({ lost, corrupted, tooLong, cut, queueFull })) {
        add(ledger, `wire ${way} ${node} ${name}`, count);
      }
    }
  }
  await addNamespace(ledger, lab, lab.networkSpace);
  return ledger;
}

/** All counters of a lab. */
export async function readLedger(lab: ChaosLab): Promise<Ledger> {
  const ledger: Ledger = new Map();
  const places = lab.namespaces.filter((namespace) => namespace !== lab.networkSpace);
  const softnet = lab.run("", ["cat", "/proc/net/softnet_stat"]);
  await Promise.all([
    ...places.map((namespace) => addNamespace(ledger, lab, namespace)),
    ...lab.nodeNames.map((node) => addAgent(ledger, lab, node)),
  ]);
  addSoftnet(ledger, (await softnet).stdout);
  for (const [name, count] of await readWires(lab)) ledger.set(name, count);
  return ledger;
}

/** What grew from one reading to the next; what is less than before has begun anew. */
export function grown(before: Ledger, after: Ledger): Ledger {
  const more: Ledger = new Map();
  for (const [name, count] of after) {
    const was = before.get(name) ?? 0;
    add(more, name, count >= was ? count - was : count);
  }
  return more;
}

/** Of several stretches of time. */
export function together(...ledgers: readonly Ledger[]): Ledger {
  const sum: Ledger = new Map();
  for (const ledger of ledgers) for (const [name, count] of ledger) add(sum, name, count);
  return sum;
}

/** For people. */
export function ledgerText(ledger: Ledger): string {
  const rows = [...ledger].sort(([a], [b]) => a.localeCompare(b));
  return rows.map(([name, count]) => `${name}: ${count}`).join(", ") || "nothing";
}
