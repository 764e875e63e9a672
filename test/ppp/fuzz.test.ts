// A million hostile PPP frames to both roles, in every phase: no exception, no hang, no growth, no
// way in without proof and nothing in clear where encryption is required.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { LinkOptions, LinkPhase } from "../../src/ppp/index.js";
import type { PppEnd, PppPair } from "../support/ppp-pair.js";
import { bytes, makePair } from "../support/ppp-pair.js";
import type { Random } from "../support/random.js";
import { seededRandom } from "../support/random.js";

const FRAMES = 1_000_000;
/** Frames to one pair before a new one is made: states that only time brings are few. */
const LIFE = 2_000;
const GROWTH_MAX = 24 * 1024 * 1024;

const STATEFUL = { mppe: { required: true, bits: [128, 56, 40] as const, stateful: true } };
const CLEAR = { mppe: { required: false, bits: [128] as const, stateful: false } };
const SIX = { ipv6cp: { interfaceId: 6n } };
const OPTIONS: readonly Partial<LinkOptions>[] = [{}, STATEFUL, CLEAR, { ...STATEFUL, ...SIX }];
const PHASES: readonly LinkPhase[] = ["establish", "authenticate", "encrypt", "network"];

/** Frames that an attacker would begin with: of every protocol, right in form. */
const CORPUS = [
  "c021 0101 0017 0104 0578 0305 c22381 0506 1a2b3c4d 0702 0802",
  "c021 0102 000a 0206 000a0000",
  "c021 0103 0012 1104 05dc 1303 00 0d03 06 0408 c025 00000064",
  "c021 0901 0008 00000000",
  "c021 0a01 0008 00000000",
  "c021 0501 0004",
  "c021 0601 0004",
  "c021 0701 0008 0101 0004",
  "c021 0801 000a 80fd 0101 0004",
  "c021 0801 000a 8021 0101 0004",
  "c021 0c01 000c 00000000 41424344",
  "c021 0d01 000c 00000000 00000064",
  "c223 0101 001a 10 5b5d7c7d7b3f2f3e3c2c602132262628 6d65736864",
  `c223 0201 003a 31 ${"21".repeat(16)} ${"00".repeat(8)} ${"82".repeat(24)} 00 616e6e61`,
  "c223 0301 0010 533d303132333435363738",
  "c223 0401 0010 453d3639312052 3d3020",
  "c023 0101 0010 04 616e6e61 06 736563726574",
  "c023 0201 0005 00",
  "80fd 0101 000a 1206 010000e0",
  "80fd 0102 000a 1206 00000041",
  "80fd 0e07 0004",
  "80fd 0f07 0004",
  "80fd 0501 0004",
  "8021 0101 0016 0306 00000000 8106 00000000 8306 00000000",
  "8021 0102 0014 0206 002d0f00 0306 0a000002 8206 00000000",
  "8057 0101 000e 010a 0000000000000006",
  "0021 4500001c00000000401166cf0a0000010a000002",
  "00fd 9000 0102030405",
  "8031 0101 0004",
  "c0",
].map(bytes);

/** Codes that answer a request are worth nothing without its identifier and options. */
function answerTo(request: Uint8Array, random: Random): Uint8Array {
  const frame = request.slice();
  frame[2] = random.between(2, 4);
  return frame;
}

/** Flipped bits, other lengths, other codes, another protocol: one or two of them. */
function mutate(frame: Uint8Array, random: Random): Uint8Array {
  let out = frame;
  for (let times = random.between(0, 2); times > 0; times--) {
    const at = random.between(0, Math.max(0, out.length - 1));
    switch (random.between(0, 6)) {
      case 0:
      case 1:
        out[at] = (out[at] ?? 0) ^ (1 << random.between(0, 7));
        break;
      case 2:
        out[at] = random.pick([0, 1, 2, 3, 4, 6, 127, 255]);
        break;
      case 3:
        out = out.slice(0, at);
        break;
      case 4:
        out = Uint8Array.of(...out, ...random.bytes(random.between(1, 40)));
        break;
      case 5:
        if (out.length > 2) out[2] = random.between(0, 16);
        break;
      default:
        if (out.length > 5) out[5] = random.pick([0, 3, 4, 5, out.length - 2]);
    }
  }
  return out;
}

function nextFrame(request: Uint8Array | null, random: Random): Uint8Array {
  const kind = random.between(0, 99);
  if (kind === 0) return random.bytes(random.between(0, 2_000));
  if (kind < 5) return random.bytes(random.between(0, 40)).slice();
  const answer = kind < 25 && request !== null ? answerTo(request, random) : null;
  return mutate(answer ?? random.pick(CORPUS).slice(), random);
}

/** What no frame may bring about. */
class Judge {
  #isIn: boolean;
  #isOver = false;
  sent = 0;
  /** The link's last Configure-Request. */
  request: Uint8Array | null = null;

  constructor(
    private readonly end: PppEnd,
    private readonly isServer: boolean,
    private readonly requireMppe: boolean,
  ) {
    this.#isIn = end.settled.phase === "network";
    for (const event of end.said) this.#remember(event);
    end.said.length = 0;
  }

  #remember(event: PppEnd["said"][number]): void {
    if (event.kind === "send" && event.frame[2] === 1) this.request = event.frame;
  }

  look(): void {
    const { said } = this.end;
    for (const event of said) {
      assert.not(this.#isOver, `nothing after the end, but ${event.kind}`);
      if (event.kind === "closed") this.#isOver = true;
      if (event.kind === "authenticated" && this.isServer) throw new Error("in without a proof");
      if (event.kind === "up" && this.requireMppe) assert.ok(event.net.mppe, "up in clear");
      if (event.kind === "send") this.sent += 1;
      this.#remember(event);
      if (event.kind !== "settings") continue;
      const { phase, requireMppe } = event.settings;
      if (this.isServer && phase === "network") assert.ok(this.#isIn, "open without a proof");
      if (phase === "link") this.#isIn = false;
      assert.ok(requireMppe === undefined || requireMppe === this.requireMppe);
    }
    said.length = 0;
  }
}

/** A pair in the wanted phase. */
function pairIn(phase: LinkPhase, end: "server" | "client", more: number, seed: number): PppPair {
  const options = OPTIONS[more % OPTIONS.length] ?? {};
  const pair = makePair(options, options, seed);
  pair.start();
  pair.run(() => pair[end].link.status().phase === phase);
  if (phase === "network") pair.run(() => pair.areUp());
  assert.is(pair[end].link.status().phase, phase);
  return pair;
}

function heapUsed(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

test("a million hostile frames break nothing and open nothing", () => {
  const random = seededRandom("PPP frames");
  let fed = 0;
  let sent = 0;
  let lives = 0;
  let before = 0;
  const seen = new Map<string, number>();
  while (fed < FRAMES) {
    const side = lives % 2 === 0 ? "server" : "client";
    const phase = PHASES[Math.floor(lives / 2) % PHASES.length] ?? "establish";
    const pair = pairIn(phase, side, Math.floor(lives / 8), random.between(1, 1_000_000));
    const end = pair[side];
    end.output = () => {};
    const judge = new Judge(end, side === "server", end.settled.requireMppe === true);
    let now_ms = pair.now_ms;
    for (let i = 0; i < LIFE && end.closedBy === null && fed < FRAMES; i++, fed++) {
      const where = `${side} ${end.link.status().phase}`;
      seen.set(where, (seen.get(where) ?? 0) + 1);
      end.link.receive(nextFrame(judge.request, random), now_ms);
      judge.look();
      now_ms += random.between(0, 3);
      const deadline = end.link.nextDeadline();
      if (deadline === null || deadline > now_ms) continue;
      end.link.tick(now_ms);
      judge.look();
    }
    sent += judge.sent;
    lives += 1;
    if (lives === 64) before = heapUsed();
  }
  const growth = heapUsed() - before;
  process.stdout.write(`  ${fed} frames, ${sent} answers, ${lives} links, ${growth} bytes more\n`);
  assert.ok(sent < fed * 2, "answers are fewer than what is asked");
  assert.ok(growth < GROWTH_MAX, `${growth} bytes more`);
  for (const phase of [...PHASES, "terminate"]) {
    for (const side of ["server", "client"]) {
      const frames = seen.get(`${side} ${phase}`) ?? 0;
      assert.ok(frames > FRAMES / 100, `${side} in ${phase}: ${frames}`);
    }
  }
});

test.run();
