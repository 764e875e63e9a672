// A million control messages: good ones in a senseless order, spoiled ones, noise, cut anyhow.
// Nothing throws, every answer is a good message, nothing grows, every call that was told of ends.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ControlConnection, PptpError } from "../../src/pptp/index.js";
import {
  checkPrefix,
  MESSAGE_KINDS,
  MESSAGE_SIZE_MAX,
  type Message,
  type MessageKind,
  readMessage,
  writeMessage,
} from "../../src/pptp/messages.js";
import { Splitter } from "../../src/pptp/splitter.js";
import type { Call } from "../../src/pptp/types.js";
import { type Random, seededRandom } from "../support/random.js";
import { START } from "./ends.js";

const MESSAGES = 1_000_000;
const CALLS_MAX = 8;

/** One whole message of each kind, all zero behind its prefix. */
const SHAPES = new Map<MessageKind, Uint8Array>(
  MESSAGE_KINDS.map((kind) => {
    // Fields that are missing are written as zero.
    const bytes = writeMessage({ kind } as unknown as Message);
    return [kind, bytes];
  }),
);
const CALL_KINDS = MESSAGE_KINDS.slice(6);

/** Call ids from a few, so that they often meet; results mostly good. */
function makeMessage(random: Random): Uint8Array {
  const kind = random.pick(random.once(4) ? MESSAGE_KINDS : CALL_KINDS);
  const bytes = Uint8Array.from(SHAPES.get(kind) ?? []);
  bytes.fill(random.bits(), 12);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, kind === "startRequest" ? 0x0100 : random.between(0, 5));
  if (bytes.length > 20) view.setUint16(14, random.between(0, 5));
  if (/Reply$/.test(kind)) bytes[kind === "startReply" ? 14 : 16] = random.between(1, 2);
  if (random.once(50)) bytes[random.between(0, bytes.length - 1)] = random.bits();
  return bytes;
}

interface Tally {
  sent: number;
  told: number;
  up: number;
  ended: number;
  closed: number;
}

/** A connection whose user does by chance what one can do. */
class Victim {
  readonly control: ControlConnection;
  readonly #open = new Set<Call>();
  readonly #random: Random;
  readonly #tally: Tally;
  #nextId = 1;
  readonly opens: boolean;
  isOver = false;

  constructor(random: Random, tally: Tally) {
    this.#random = random;
    this.#tally = tally;
    this.opens = random.once(2);
    this.control = new ControlConnection(
      { opens: this.opens, roles: ["pac", "pns"], hostName: "victim", callsMax: CALLS_MAX },
      {
        send: (bytes) => {
          assert.is(checkPrefix(bytes, 0), bytes.length);
          assert.not(this.isOver);
          tally.sent += 1;
        },
        requested: (call) => {
          this.#tell(call);
          if (random.once(2)) this.#answer(call);
        },
        connected: (call) => {
          assert.ok(this.#open.has(call));
          tally.up += 1;
        },
        ended: (call) => {
          assert.ok(this.#open.delete(call));
          tally.ended += 1;
        },
        statistics: () => "x".repeat(200),
        closed: () => {
          assert.is(this.#open.size, 0);
          this.isOver = true;
          tally.closed += 1;
        },
      },
    );
  }

  #tell(call: Call): void {
    this.#open.add(call);
    this.#tally.told += 1;
  }

  #answer(call: Call): void {
    const id = (this.#nextId++ & 7) + 1;
    this.#mayRefuse(() => this.control.accept(call, { id, window: 1 }, 0));
  }

  #mayRefuse(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof PptpError)) throw error;
    }
  }

  act(now_ms: number): void {
    const random = this.#random;
    const call = [...this.#open][0];
    const id = (this.#nextId++ & 7) + 1;
    const choice = random.between(0, 5);
    if (choice === 0) this.control.tick(now_ms);
    else if (choice < 3) {
      this.#mayRefuse(() => {
        const place = choice === 1 ? "dial" : "offer";
        this.#tell(this.control[place]({ id, window: 1 }, now_ms));
      });
    } else if (call !== undefined) {
      if (choice === 3) this.control.hangUp(call, "request", now_ms);
      else if (call.state === "requested") this.#answer(call);
      else if (call.state === "up") this.control.setLinkInfo(call, { send: 0, receive: 0 });
    }
    assert.ok(this.control.status.calls.length <= CALLS_MAX);
  }

  end(): void {
    this.control.transportClosed("enough");
  }
}

test("a million control messages in any order and state, some spoiled", () => {
  const random = seededRandom("control messages");
  const tally: Tally = { sent: 0, told: 0, up: 0, ended: 0, closed: 0 };
  const start = writeMessage({ kind: "startRequest", ...START });
  const yes = writeMessage({ kind: "startReply", ...START, result: 1, error: 0 });
  let connections = 0;
  for (let count = 0; count < MESSAGES; ) {
    const victim = new Victim(random, tally);
    connections += 1;
    let now_ms = 0;
    victim.control.start(now_ms);
    if (!random.once(8)) {
      victim.control.receive(victim.opens ? yes : start, now_ms);
    }
    for (let turn = 0; turn < 400 && !victim.isOver; turn++) {
      now_ms += random.once(100) ? 70_000 : 3;
      const bytes = makeMessage(random);
      count += 1;
      const cut = random.once(4) ? random.between(0, bytes.length) : bytes.length;
      victim.control.receive(bytes.subarray(0, cut), now_ms);
      if (cut < bytes.length) victim.control.receive(bytes.subarray(cut), now_ms);
      if (random.once(3)) victim.act(now_ms);
    }
    victim.end();
    assert.ok(victim.isOver);
  }
  assert.is(tally.told, tally.ended);
  assert.is(tally.closed, connections);
  const enough = [tally.sent, tally.told, tally.up].every((count) => count > MESSAGES / 20);
  assert.ok(enough, JSON.stringify(tally));
});

test("noise in pieces of any size is refused within a prefix and held in one buffer", () => {
  const random = seededRandom("control streams");
  for (let run = 0; run < 100_000; run++) {
    const splitter = new Splitter();
    const echo = random.once(2) ? (SHAPES.get("echoRequest") ?? new Uint8Array()) : [];
    const stream = Buffer.concat([Uint8Array.from(echo), random.bytes(random.between(12, 64))]);
    let bad: string | undefined;
    let count = 0;
    for (let at = 0; at < stream.length && bad === undefined; ) {
      const size = random.between(1, 20);
      bad = splitter.push(stream.subarray(at, at + size), () => ++count > 0);
      assert.ok(splitter.pending <= MESSAGE_SIZE_MAX);
      at += size;
    }
    assert.is(count, echo.length === 0 ? 0 : 1);
    assert.type(bad, "string");
  }
});

test("what is read from any bytes behind a good prefix can be written and read again", () => {
  const random = seededRandom("control fields");
  for (let run = 0; run < 100_000; run++) {
    const bytes = makeMessage(random);
    if (typeof checkPrefix(bytes, 0) !== "number") continue;
    const message = readMessage(bytes);
    assert.equal(readMessage(writeMessage(message)), message);
  }
});

test.run();
