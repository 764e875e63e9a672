// FIB lookups in tables of 1,000 to 500,000 prefixes of three lengths.
import { W_TUN_ARENA, W_WIRE_ARENA } from "../../assembly/shared/layout.js";
import { NEXT_PEER } from "../../assembly/shared/tables.js";
import { loadModule } from "../../test/support/module.js";
import { contentsOf, peerOf } from "../../test/support/nodes.js";
import { concat } from "../../test/support/packets.js";
import { Random } from "../../test/support/random.js";
import { openLoops } from "./loops.js";
import { type Subject, sampleCalls } from "./row.js";
import { assertEqualOutput, runTwin } from "./twin.js";

const COUNTS = [1000, 10_000, 65_000, 500_000];
const PEERS = 250;
const ADDRESSES = 4096;
/** Every prefix lies in a block of its own, so that none conflicts with another. */
const BLOCK = 4096;
const FIRST = 0x10000000;
/** Most nodes have a /24; some a larger or smaller lease. */
const LENGTHS = [20, 26, ...new Array<number>(18).fill(24)];

interface Route {
  prefix: number;
  length: number;
  peer: number;
}

function routesOf(count: number): Route[] {
  return Array.from({ length: count }, (_, index) => ({
    prefix: FIRST + index * BLOCK,
    length: LENGTHS[index % LENGTHS.length] ?? 24,
    peer: index % PEERS,
  }));
}

const text = (address: number) =>
  [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");

function contents(routes: readonly Route[]) {
  const prefixes = Array.from({ length: PEERS }, () => [] as string[]);
  for (const { prefix, length, peer } of routes) prefixes[peer]?.push(`${text(prefix)}/${length}`);
  const peers = prefixes.map((own, peer) => {
    return peerOf(2, { address: `198.51.100.${peer + 1}`, prefixes: own });
  });
  return contentsOf(1, peers);
}

/** Addresses inside random prefixes, in network order. */
function addressesIn(routes: readonly Route[]): Uint8Array {
  const random = new Random(3);
  const pick = () => {
    const route = random.pick(routes);
    return route.prefix + random.between(0, 2 ** (32 - route.length) - 1);
  };
  const addresses = new DataView(new ArrayBuffer(4 * ADDRESSES));
  for (let i = 0; i < ADDRESSES; i++) addresses.setUint32(4 * i, pick());
  return new Uint8Array(addresses.buffer);
}

async function routeSubject(count: number): Promise<Subject> {
  const routes = routesOf(count);
  const module = await loadModule({ prefixCapacity: Math.max(count + 1, 65_536) });
  module.publish(contents(routes));
  const loops = await openLoops(module);
  const addresses = addressesIn(routes);
  const [from, to] = [module.base + W_TUN_ARENA, module.base + W_WIRE_ARENA];
  module.views.bytes.set(addresses, from);
  const work = () => loops.lookups(from, to, ADDRESSES);
  const entries = routes.flatMap(({ prefix, length, peer }) => [prefix, length, NEXT_PEER + peer]);
  const table = new Uint8Array(Uint32Array.from([count, ...entries]).buffer);
  const input = concat(table, addresses);
  const twin = () => runTwin("kernels", ["route"], input);
  const name = `FIB ${count.toLocaleString("en")} prefixes`;
  work();
  assertEqualOutput(name, module.views.bytes.slice(to, to + 4 * ADDRESSES), twin().output);
  return {
    ...{ name, unit: "lookup" },
    sample: () => sampleCalls(work, ADDRESSES),
    sampleTwin: () => twin().ns,
  };
}

export async function routeSubjects(): Promise<Subject[]> {
  const subjects: Subject[] = [];
  for (const count of COUNTS) subjects.push(await routeSubject(count));
  return subjects;
}
