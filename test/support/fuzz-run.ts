// A million packets of one encapsulation through the real module in both directions: whole ones,
// whose way is known and checked packet by packet, and spoiled ones, some of other encapsulations
// among them. No trap, exact counters, outputs in their places.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Drop } from "../../assembly/shared/drop.js";
import { EGRESS, FEATURE_TUN_USO, INGRESS } from "../../assembly/shared/layout.js";
import type { ProtocolName } from "../../src/datapath/types.js";
import { FuzzDriver, type Output, type Writer } from "./fuzz-driver.js";
import { FuzzFeeder } from "./fuzz-feeder.js";
import { expandTun, expectFlows, innerOf, judgeSpoiled } from "./fuzz-judge.js";
import { CONTENTS, numbering } from "./fuzz-mesh.js";
import { seededRandom } from "./random.js";

/** Of each encapsulation. MESHD_FUZZ_PACKETS asks for more; fewer are not run. */
const PACKETS_MIN = 1_000_000;

/** What bad input must reach: peers of all encapsulations are in the mesh of each run. */
const REASONS: readonly (keyof typeof Drop)[] = [
  ...(["TOO_SHORT", "BAD_IP_VERSION", "BAD_IP_HEADER", "BAD_LENGTH", "TRUNCATED"] as const),
  ...(["NO_ROUTE", "TTL_EXPIRED", "NOT_LOCAL", "UNKNOWN_PEER", "SPOOFED_SOURCE"] as const),
  ...(["FOREIGN_SOURCE", "MULTICAST", "BROADCAST", "ECN_ILLEGAL", "BAD_OFFLOAD"] as const),
  ...(["SEND_FAILED", "TUN_WRITE_FAILED", "LOOP", "WRONG_PROTOCOL", "TOO_BIG"] as const),
  ...(["WRONG_VNI", "BAD_FLAGS", "NOT_IP", "WRONG_MAC", "BAD_NEIGHBOUR", "BAD_VERSION"] as const),
  ...(["BAD_OPTIONS", "UNKNOWN_OPTION", "CONTROL_PACKET", "WRONG_KEY"] as const),
  ...(["BAD_CHECKSUM", "OLD_SEQUENCE", "FOREIGN_IDENTITY"] as const),
];

function packetsAsked(): number {
  const asked = Number(process.env.MESHD_FUZZ_PACKETS ?? PACKETS_MIN);
  assert.ok(Number.isInteger(asked), "MESHD_FUZZ_PACKETS is a whole number");
  return Math.max(asked, PACKETS_MIN);
}

class FuzzRun {
  readonly packets = packetsAsked();
  readonly random;
  readonly feeder: FuzzFeeder;

  constructor(
    readonly protocol: ProtocolName,
    readonly driver: FuzzDriver,
  ) {
    this.random = seededRandom(`fuzz of ${protocol}`);
    this.feeder = new FuzzFeeder(this.random, protocol);
  }

  /** Packets of the encapsulation so far: a super-packet or a train counts once. */
  fed(): number {
    const { tun, wire } = this.feeder.fed(this.protocol);
    return wire.reduce((sum, count) => sum + count, tun);
  }

  run(): void {
    try {
      for (let round = 0; this.fed() < this.packets; round++) {
        this.driver.setFeatures(round & 1 ? FEATURE_TUN_USO : 0);
        if (this.random.once(48)) this.#wholeRound();
        else this.#spoiledRound();
      }
    } catch (error) {
      const again = `MESHD_FUZZ_SEED=${this.random.seed}`;
      process.stdout.write(`failed after ${this.fed()} packets; again by ${again}\n`);
      throw error;
    }
  }

  /** Drops so far, by direction and name. */
  drops(): Map<string, bigint> {
    const of = (direction: number) =>
      this.driver
        .drops(direction)
        .map((count, at): [string, bigint] => [`${direction} ${Drop[at]}`, count]);
    return new Map([...of(EGRESS), ...of(INGRESS)]);
  }

  /** Whole packets are dropped for no reason at all. */
  #wholeRound(): void {
    const { random, driver, feeder } = this;
    // Spoiled packets may have been taken with any number.
    numbering.next = driver.expectedNumber();
    const toWire = listOf(random.between(0, 64), () => feeder.feedTun(driver));
    const toTun = listOf(random.between(0, 64), () => feeder.feedWire(driver));
    const earlier = this.drops();
    const wireOut: Uint8Array[] = [];
    const tunOut: Uint8Array[] = [];
    const see = (tun: Output[], wire: Output[]) => {
      wireOut.push(...wire.flatMap(innerOf));
      tunOut.push(...tun.flatMap(expandTun));
    };
    driver.run(see, () => ({ status: 0, failed: 0 }));
    const more = [...this.drops()].filter(([name, count]) => count !== earlier.get(name));
    assert.equal(more, []);
    expectFlows(wireOut, toWire);
    expectFlows(tunOut, toTun);
  }

  #spoiledRound(): void {
    const { random, driver, feeder } = this;
    for (let i = random.between(0, 64); i > 0; i--) feeder.spoilTun(driver);
    for (let i = random.between(0, 64); i > 0; i--) feeder.spoilWire(driver);
    for (let i = random.between(0, 6); i > 0; i--) feeder.inject(driver);
    driver.run(judgeSpoiled, this.#failing);
    driver.punts();
  }

  /** Every now and then a write fails, whole or in part. */
  readonly #failing: Writer = (output) => {
    if (!this.random.once(30)) return { status: 0, failed: 0 };
    return { status: 11, failed: this.random.between(0, output.segments) };
  };

  /** Says what ran, and that each side of the encapsulation had its share. */
  report(): void {
    const { tun, wire } = this.feeder.fed(this.protocol);
    const kinds = `${tun} from TUN, ${wire.join(" + ")} datagrams at its sockets`;
    const seed = `MESHD_FUZZ_SEED=${this.random.seed}`;
    process.stdout.write(`\nfuzzed ${this.protocol}: ${this.fed()} packets (${kinds}; ${seed})\n`);
    assert.ok(this.fed() >= PACKETS_MIN, `${this.fed()} packets are not a million`);
    for (const share of [tun, ...wire]) assert.ok(share >= PACKETS_MIN / 10, kinds);
  }

  unreached(): string[] {
    const drops = this.drops();
    const times = (reason: string) =>
      [EGRESS, INGRESS].reduce((sum, way) => sum + (drops.get(`${way} ${reason}`) ?? 0n), 0n);
    return REASONS.filter((reason) => times(reason) === 0n);
  }
}

function listOf<T>(count: number, make: () => T[]): T[] {
  return Array.from({ length: count }, make).flat();
}

/** The suite of one encapsulation. */
export async function fuzzSuite(protocol: ProtocolName): Promise<void> {
  const driver = await FuzzDriver.open(CONTENTS);
  const before = driver.snapshot();
  const fuzz = new FuzzRun(protocol, driver);

  test(`${protocol}: ${fuzz.packets} packets, no trap, exact counters, outputs in place`, () => {
    fuzz.run();
    fuzz.report();
  });

  test(`${protocol}: the fuzzing reached every drop reason that bad input can have`, () => {
    assert.equal(fuzz.unreached(), []);
  });

  test(`${protocol}: tables, control block and the other worker's memory are untouched`, () => {
    assert.is(Buffer.compare(driver.snapshot(), before), 0);
    assert.ok(driver.otherIsUntouched());
  });

  test.run();
}
