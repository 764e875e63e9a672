// The FIB against a twin that is slow on purpose: it looks at every prefix, as BigInt, each time.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { C_SECRET, CONTROL } from "../../assembly/shared/layout.js";
import { NEXT_LOCAL, NEXT_NONE, NEXT_PEER } from "../../assembly/shared/tables.js";
import { parseAddress } from "../../src/datapath/address.js";
import { TableError } from "../../src/datapath/contents.js";
import { createMemory } from "../../src/datapath/memory.js";
import { Sessions } from "../../src/datapath/sessions.js";
import { writeTables } from "../../src/datapath/tables.js";
import type { TableContents } from "../../src/datapath/types.js";
import { loadModule, type TestModule } from "../support/module.js";
import { contentsOf, peerOf } from "../support/nodes.js";
import { Random } from "../support/random.js";

const seed = Number(process.env.MESHD_FUZZ_SEED ?? 7348);

/** Longest prefix by looking at all of them. */
class HorribleFib {
  readonly #routes: { value: bigint; length: number; next: number }[] = [];
  readonly #width: number;

  constructor(width: 32 | 128) {
    this.#width = width;
  }

  add(value: bigint, length: number, next: number): void {
    this.#routes.push({ value, length, next });
  }

  lookup(address: bigint): number {
    let best = { length: -1, next: NEXT_NONE };
    for (const route of this.#routes) {
      const shift = BigInt(this.#width - route.length);
      const matches = address >> shift === route.value >> shift;
      if (matches && route.length > best.length) best = route;
    }
    return best.next;
  }
}

const text4 = (value: bigint) =>
  [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");

const text6 = (value: bigint) =>
  Array.from({ length: 8 }, (_, i) =>
    ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  ).join(":");

function randomBits(random: Random, width: number): bigint {
  let value = 0n;
  for (let i = 0; i < width; i += 32) value = (value << 32n) | BigInt(random.bits());
  return value;
}

/** Random prefixes, half of them inside others, so that lengths and nesting really occur. */
function randomPrefixes(random: Random, width: 32 | 128, count: number) {
  const found = new Map<string, { value: bigint; length: number }>();
  const all: { value: bigint; length: number }[] = [];
  while (found.size < count) {
    const parent = all.length > 0 && random.once(2) ? random.pick(all) : undefined;
    const length = random.between(parent?.length ?? 0, width);
    const shift = BigInt(width - length);
    const free = BigInt(width - (parent?.length ?? 0));
    const noise = randomBits(random, width) & ((1n << free) - 1n);
    const value = (((parent?.value ?? 0n) | noise) >> shift) << shift;
    const key = `${value}/${length}`;
    if (found.has(key)) continue;
    found.set(key, { value, length });
    all.push({ value, length });
  }
  return all;
}

function lookup(module: TestModule, width: 32 | 128, address: bigint): number {
  const at = 1024;
  const words = parseAddress(width === 32 ? text4(address) : text6(address))?.words ?? [];
  words.forEach((word, i) => {
    module.view.setUint32(at + 4 * i, word);
  });
  const { fibLookup4, fibLookup6 } = module.hot;
  return (width === 32 ? fibLookup4(at) : fibLookup6(at)) >>> 0;
}

for (const width of [32, 128] as const) {
  const text = width === 32 ? text4 : text6;
  test(`random tables of ${width}-bit addresses agree with the slow twin`, async () => {
    const random = new Random(seed + width);
    const module = await loadModule({ peerCapacity: 64, prefixCapacity: 512 });
    for (let round = 0; round < 20; round++) {
      const prefixes = randomPrefixes(random, width, random.between(1, 400));
      const horrible = new HorribleFib(width);
      const lists: string[][] = Array.from({ length: 41 }, () => []);
      for (const { value, length } of prefixes) {
        const owner = random.bits() % 41;
        horrible.add(value, length, owner === 0 ? NEXT_LOCAL : NEXT_PEER + owner - 1);
        lists[owner]?.push(`${text(value)}/${length}`);
      }
      module.publish(contentsWith(lists));
      for (let i = 0; i < 1000; i++) {
        const near = random.pick(prefixes);
        const noise = randomBits(random, width) >> BigInt(random.bits() % width);
        const address = (random.once(4) ? 0n : near.value) ^ noise;
        const clipped = BigInt.asUintN(width, address);
        assert.is(lookup(module, width, clipped), horrible.lookup(clipped), `seed ${random.seed}`);
      }
    }
  });
}

/** Tables with only these prefixes: list 0 is our own, list i + 1 that of peer i. */
function contentsWith(lists: readonly string[][]): TableContents {
  const [own = [], ...peers] = lists;
  const contents = contentsOf(
    1,
    peers.map((prefixes, i) => peerOf(2, { prefixes, address: `192.0.3.${i}` })),
  );
  contents.self.prefixes = own;
  contents.self.addresses = [];
  return contents;
}

test("65,536 prefixes of each family and 4,096 peers fit and are found", async () => {
  const module = await loadModule();
  const peers = Array.from({ length: 4096 }, (_, i) =>
    peerOf(2, {
      address: `172.16.${i >> 8}.${i & 255}`,
      prefixes: Array.from({ length: 16 }, (_, j) => {
        const n = i * 16 + j;
        return [`100.${n >> 8}.${n & 255}.0/24`, `fd00:${n.toString(16)}::/64`];
      }).flat(),
    }),
  );
  const contents = contentsOf(1, peers);
  contents.self.prefixes = [];
  contents.self.addresses = [];
  module.publish(contents);
  for (let n = 0; n < 65_536; n += 7) {
    const address4 = (100n << 24n) | BigInt(n << 8) | 9n;
    assert.is(lookup(module, 32, address4), NEXT_PEER + (n >> 4));
    const address6 = (0xfd00n << 112n) | (BigInt(n) << 96n) | 9n;
    assert.is(lookup(module, 128, address6), NEXT_PEER + (n >> 4));
  }
  assert.is(lookup(module, 32, 99n << 24n), NEXT_NONE);
  contents.peers[0]?.prefixes.push("9.9.9.0/24");
  assert.throws(
    () => module.publish(contents),
    (error: unknown) => error instanceof TableError && error.code === "MESHD_TABLE_FULL",
  );
  assert.is(lookup(module, 32, (9n << 24n) | (9n << 16n)), NEXT_NONE);
});

test("a default route and a host route live side by side", async () => {
  const module = await loadModule();
  module.publish(
    contentsWith([
      ["0.0.0.0/0", "::/0"],
      ["255.255.255.255/32", "::1/128"],
    ]),
  );
  assert.is(lookup(module, 32, 0n), NEXT_LOCAL);
  assert.is(lookup(module, 32, 0xffffffffn), NEXT_PEER);
  assert.is(lookup(module, 32, 0xfffffffen), NEXT_LOCAL);
  assert.is(lookup(module, 128, 1n), NEXT_PEER);
  assert.is(lookup(module, 128, 2n), NEXT_LOCAL);
});

function refusal(change: (contents: TableContents) => void): string {
  const contents = contentsOf(1, [2, 3]);
  change(contents);
  try {
    published.publish(contents);
  } catch (error) {
    if (error instanceof TableError) return error.code;
    throw error;
  }
  return "written";
}

const published = await loadModule({ peerCapacity: 4, prefixCapacity: 64 });

test("tables written over older ones are those written into fresh memory, byte for byte", () => {
  const tables = (net: number): TableContents => {
    const hosts = Array.from({ length: 500 }, (_, i) => i);
    const contents = contentsOf(
      1,
      hosts.slice(0, 60).map((i) =>
        peerOf(2, {
          ...{ address: `198.${net}.2.${i}`, prefixes: [] },
        }),
      ),
    );
    contents.self.prefixes = hosts.flatMap((i) => [
      `10.${net}.${i >> 4}.${(i & 15) << 4}/28`,
      `fd00:${net}:${i.toString(16)}::/48`,
    ]);
    contents.self.addresses = [];
    return contents;
  };
  const write = (...list: TableContents[]) => {
    const { bytes, bases } = createMemory({ workers: 1, peerCapacity: 60, prefixCapacity: 500 });
    const sessions = new Sessions(bytes);
    for (const contents of list) writeTables(bytes, 0, contents, sessions);
    // Another random number each time.
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(CONTROL + C_SECRET, 0);
    return Buffer.from(bytes.subarray(0, bases[0]));
  };
  assert.ok(write(tables(1), tables(2)).equals(write(tables(2))));
  assert.not(write(tables(1)).equals(write(tables(2))));
});

test("two owners of a prefix or of an underlay address are refused", () => {
  const peer = (contents: TableContents) => contents.peers[1] ?? peerOf(3);
  assert.is(
    refusal(() => undefined),
    "written",
  );
  assert.is(
    refusal((c) => peer(c).prefixes.push("10.244.2.0/24")),
    "MESHD_TABLE_CONFLICT",
  );
  assert.is(
    refusal((c) => peer(c).prefixes.push("10.244.1.0/24")),
    "MESHD_TABLE_CONFLICT",
  );
  assert.is(
    refusal((c) => {
      peer(c).address = "192.0.2.2";
    }),
    "MESHD_TABLE_CONFLICT",
  );
  assert.is(
    refusal((c) => {
      c.peers = Array.from({ length: 5 }, (_, i) => peerOf(10 + i));
    }),
    "MESHD_TABLE_FULL",
  );
});

const BAD_PREFIXES = ["10.0.0.1/24", "10.0.0.0/33", "10.0.0.0", "fd00::1/64", "::/129", "x/8", ""];

for (const prefix of BAD_PREFIXES) {
  test(`the prefix "${prefix}" is refused`, () => {
    assert.is(
      refusal((c) => c.self.prefixes.push(prefix)),
      "MESHD_TABLE_INVALID",
    );
  });
}

test("numbers and addresses out of range are refused by name", () => {
  const damages: ((contents: TableContents) => void)[] = [
    (c) => Object.assign(c.self, { mac: "01:00:5e:00:00:01" }),
    (c) => Object.assign(c.self, { vni: 1 << 24 }),
    (c) => Object.assign(c.self, { mtu: 67 }),
    (c) => c.self.addresses.push("10.0.0"),
    (c) => Object.assign(c.peers[0] ?? {}, { port: 0 }),
    (c) => Object.assign(c.peers[0] ?? {}, { dscp: 64 }),
    (c) => Object.assign(c.peers[0] ?? {}, { mac: "2:0:0:0:0:1" }),
    (c) => Object.assign(c.peers[0] ?? {}, { address: "fe80::1%eth0" }),
    (c) => Object.assign(c.peers[0] ?? {}, { protocol: "carrier-pigeon" }),
  ];
  for (const damage of damages) assert.is(refusal(damage), "MESHD_TABLE_INVALID");
});

test.run();
