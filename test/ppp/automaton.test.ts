// Every cell of RFC 1661's state table: as text, and by an automaton that is brought into the state
// and shown the event by a packet, a call or its timer.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Answer, Layer } from "../../src/ppp/automaton.js";
import { Automaton, MAX_CONFIGURE, MAX_TERMINATE, RESTART_MS } from "../../src/ppp/automaton.js";
import type { Event, State } from "../../src/ppp/state-table.js";
import { cellAt } from "../../src/ppp/state-table.js";
import { Code, readPacket, writePacket } from "../../src/ppp/wire.js";

const path = new URL("../../../test/vectors/ppp.json", import.meta.url);
const { stateTable } = JSON.parse(readFileSync(path, "utf8")) as {
  stateTable: Record<Event, string[]>;
};
const EVENTS = Object.keys(stateTable) as Event[];
const STATES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;
const NOTHING = new Uint8Array(0);
const FINE = Uint8Array.of(1, 2);
const WRONG = Uint8Array.of(9, 2);
const OURS = Uint8Array.of(7, 2);

const BY_CODE: Record<number, string> = {
  1: "scr",
  2: "sca",
  3: "scn",
  4: "scn",
  5: "str",
  6: "sta",
  7: "scj",
};

/** An automaton over a layer that takes option 1 and writes down what happens. */
class Bench {
  readonly did: string[] = [];
  readonly sent: Uint8Array[] = [];
  readonly automaton: Automaton;
  now_ms = 0;

  constructor() {
    const { did } = this;
    const layer: Layer = {
      protocol: 0xc021,
      reset: () => {},
      request: () => [{ type: 7, value: NOTHING }],
      judge: (options): Answer =>
        options.every(({ type }) => type === 1) ? { code: 2, options } : { code: 3, options },
      acking: () => {},
      acked: () => true,
      naked: () => {},
      rejected: () => {},
      knows: ({ code }) => code === Code.ECHO_REQUEST,
      extended: ({ code }) => {
        if (code === Code.ECHO_REQUEST) did.push("ser");
      },
      up: () => did.push("tlu"),
      down: () => did.push("tld"),
      finished: () => did.push("tlf"),
    };
    const send = (frame: Uint8Array) => {
      this.sent.push(frame);
      did.push(BY_CODE[readPacket(frame)?.code ?? 0] ?? "?");
    };
    this.automaton = new Automaton(layer, { send, peerMru: () => 1500 });
  }

  receive(code: number, data: Uint8Array, id = 1): boolean {
    const frame = writePacket(0xc021, { code, id, data });
    return this.automaton.receive(frame, this.now_ms);
  }

  /** An answer to our last request. */
  answer(code: number): boolean {
    const asked = this.sent.findLast((frame) => frame[2] === Code.CONFIGURE_REQUEST);
    return this.receive(code, OURS, asked?.[3] ?? 0);
  }

  timeout(): void {
    this.now_ms = this.automaton.nextDeadline() ?? this.now_ms;
    this.automaton.tick(this.now_ms);
  }

  /** How often it sends before it gives up. */
  sendsLeft(): number {
    const before = this.sent.length;
    for (let i = 0; i < 50 && this.automaton.nextDeadline() !== null; i++) this.timeout();
    return this.sent.length - before;
  }
}

/** Brings a new automaton into a state, by the shortest way. */
function benchIn(state: number): Bench {
  const bench = new Bench();
  const { automaton } = bench;
  if (state === 2) automaton.lowerUp(0);
  if (state === 1 || state > 2) automaton.open(0);
  if (state > 2) automaton.lowerUp(0);
  if (state === 3) bench.sendsLeft();
  if (state === 4) automaton.close("", 0);
  if (state === 7) bench.answer(Code.CONFIGURE_ACK);
  if (state === 8 || state === 9 || state === 5) bench.receive(Code.CONFIGURE_REQUEST, FINE);
  if (state === 9 || state === 5) bench.answer(Code.CONFIGURE_ACK);
  if (state === 5) bench.receive(Code.TERMINATE_REQUEST, NOTHING);
  assert.is(automaton.state, state, `the way into ${state}`);
  bench.did.length = 0;
  return bench;
}

const SHOW: Record<Event, (bench: Bench) => void> = {
  Up: ({ automaton, now_ms }) => automaton.lowerUp(now_ms),
  Down: ({ automaton, now_ms }) => automaton.lowerDown(now_ms),
  Open: ({ automaton, now_ms }) => automaton.open(now_ms),
  Close: ({ automaton, now_ms }) => automaton.close("", now_ms),
  "TO+": (bench) => bench.timeout(),
  "TO-": (bench) => bench.timeout(),
  "RCR+": (bench) => bench.receive(Code.CONFIGURE_REQUEST, FINE),
  "RCR-": (bench) => bench.receive(Code.CONFIGURE_REQUEST, WRONG),
  RCA: (bench) => bench.answer(Code.CONFIGURE_ACK),
  RCN: (bench) => bench.answer(Code.CONFIGURE_NAK),
  RTR: (bench) => bench.receive(Code.TERMINATE_REQUEST, NOTHING),
  RTA: (bench) => bench.receive(Code.TERMINATE_ACK, NOTHING),
  RUC: (bench) => bench.receive(77, NOTHING),
  "RXJ+": (bench) => bench.receive(Code.CODE_REJECT, Uint8Array.of(77, 1, 0, 4)),
  "RXJ-": ({ automaton, now_ms }) => automaton.protocolRejected(now_ms),
  RXR: (bench) => bench.receive(Code.ECHO_REQUEST, NOTHING),
};

/** Lets the restart counter run down to zero without a change of state, where that can be. */
function exhaust(bench: Bench, state: number): Bench | null {
  if (state === 5) return bench; // zrc
  if (state === 4) for (let i = 1; i < MAX_TERMINATE; i++) bench.timeout();
  else if (state === 6) for (let i = 1; i < MAX_CONFIGURE; i++) bench.timeout();
  else if (state === 8) {
    const other = exhaust(benchIn(6), 6);
    other?.receive(Code.CONFIGURE_REQUEST, FINE);
    if (other !== null) other.did.length = 0;
    return other;
  } else return null;
  bench.did.length = 0;
  return bench;
}

/** An automaton before the event; null where no sequence of packets leads to the cell. */
function before(event: Event, state: number): Bench | null {
  const bench = benchIn(state);
  if (event === "TO-") return exhaust(bench, state);
  if (event === "TO+" && state === 5) {
    // With a counter above zero: closing, opened again.
    const closing = benchIn(4);
    closing.automaton.open(0);
    return closing;
  }
  // A second answer to one request is a copy and ignored (ADR 0035).
  if ((event === "RCA" || event === "RCN") && (state === 7 || state === 9)) return null;
  return bench;
}

test("the table is RFC 1661's, cell by cell", () => {
  assert.is(EVENTS.length, 16);
  for (const event of EVENTS) {
    const cells = STATES.map((state) => {
      const cell = cellAt(event, state);
      return cell === null ? "-" : [cell.actions.join(","), cell.next].filter(isSaid).join("/");
    });
    assert.equal(cells, stateTable[event], event);
  }
});
const isSaid = (part: string | number) => part !== "";

test("an automaton does what each cell says and goes where it says", () => {
  let shown = 0;
  for (const event of EVENTS) {
    for (const state of STATES) {
      const cell = stateTable[event][state] ?? "";
      const bench = cell === "-" && event.startsWith("TO") ? null : before(event, state);
      if (bench === null) continue;
      SHOW[event](bench);
      const [said = "", next = said] = cell === "-" ? ["", `${state}`] : cell.split("/");
      const silent = ["irc", "zrc", "tls", ""];
      const wanted = cell.includes("/") ? said.split(",").filter((a) => !silent.includes(a)) : [];
      assert.equal(bench.did, wanted, `${event} in ${state}: actions`);
      assert.is(bench.automaton.state, Number(next) as State, `${event} in ${state}: next state`);
      shown += 1;
    }
  }
  // Less: no timer in five states, second answers, and Ack-Rcvd has a counter that cannot be zero.
  assert.is(shown, 160 - 2 * 5 - 4 - 1);
});

test("a counter that is initialized allows Max-Configure or Max-Terminate sends", () => {
  for (const event of EVENTS) {
    for (const state of STATES) {
      const cell = cellAt(event, state);
      if (cell?.actions.includes("irc") !== true) continue;
      const bench = before(event, state);
      if (bench === null) continue;
      SHOW[event](bench);
      if (bench.automaton.isOpened) continue;
      const isTerminating = cell.actions.includes("str");
      const isSending = cell.actions.includes("scr") || isTerminating;
      const max = isTerminating ? MAX_TERMINATE : MAX_CONFIGURE;
      assert.is(bench.sendsLeft() + (isSending ? 1 : 0), max, `${event} in ${state}`);
    }
  }
});

test("the restart timer is 3 s, runs in states 4 to 8 alone, and repeats the same request", () => {
  for (const state of STATES) {
    const deadline = benchIn(state).automaton.nextDeadline();
    assert.is(deadline, state >= 4 && state <= 8 ? RESTART_MS : null, `state ${state}`);
  }
  const bench = benchIn(6);
  bench.automaton.tick(RESTART_MS - 1);
  assert.is(bench.sent.length, 1, "not before its time");
  bench.timeout();
  assert.equal(bench.sent[1], bench.sent[0]);
});

test("answers that fit no request of ours are ignored", () => {
  const bench = benchIn(6);
  assert.not(bench.receive(Code.CONFIGURE_ACK, OURS, 200), "another identifier");
  assert.not(bench.receive(Code.CONFIGURE_ACK, FINE, 1), "other options");
  assert.not(bench.receive(Code.CONFIGURE_REJECT, FINE, 1), "a Reject of what was not asked");
  assert.not(bench.receive(Code.CONFIGURE_REJECT, NOTHING, 1), "a Reject of nothing");
  assert.not(bench.receive(Code.CONFIGURE_NAK, Uint8Array.of(7, 1), 1), "an option too short");
  assert.not(bench.receive(Code.CONFIGURE_NAK, Uint8Array.of(7, 9), 1), "an option too long");
  assert.is(bench.automaton.state, 6);
  assert.ok(bench.receive(Code.CONFIGURE_ACK, OURS, 1));
  assert.not(bench.receive(Code.CONFIGURE_ACK, OURS, 1), "a copy");
  assert.is(bench.automaton.state, 7);
  bench.receive(Code.CONFIGURE_REQUEST, FINE);
  assert.not(bench.answer(Code.CONFIGURE_NAK), "a copy that comes late");
  assert.ok(bench.automaton.isOpened);
});

test("a peer that naks or rejects for ever is given up after ten times", () => {
  for (const code of [Code.CONFIGURE_NAK, Code.CONFIGURE_REJECT]) {
    const bench = benchIn(6);
    let naks = 0;
    while (bench.automaton.state === 6 && naks < 50) {
      bench.answer(code);
      naks += 1;
    }
    assert.is(bench.automaton.state, 3);
    assert.is(naks, 11);
    assert.is(bench.did.at(-1), "tlf");
    assert.is(bench.automaton.nextDeadline(), null);
  }
});

test("after Max-Failure Naks the layer is told to reject instead", () => {
  const asked: boolean[] = [];
  const layer = {
    ...{ protocol: 0xc021, reset: () => {}, request: () => [], acking: () => {} },
    ...{ acked: () => true, naked: () => {}, rejected: () => {}, knows: () => false },
    ...{ extended: () => {}, up: () => {}, down: () => {}, finished: () => {} },
    judge: (options: Answer["options"], mayNak: boolean): Answer => {
      asked.push(mayNak);
      return { code: mayNak ? 3 : 4, options };
    },
  };
  const codes: number[] = [];
  const send = (frame: Uint8Array) => codes.push(frame[2] ?? 0);
  const automaton = new Automaton(layer, { send, peerMru: () => 1500 });
  automaton.open(0);
  automaton.lowerUp(0);
  const frame = writePacket(0xc021, { code: 1, id: 1, data: WRONG });
  for (let i = 0; i < 7; i++) automaton.receive(frame, 0);
  assert.equal(asked, [true, true, true, true, true, false, false]);
  assert.equal(codes, [1, 3, 3, 3, 3, 3, 4, 4]);
});

test("a Code-Reject carries the packet, cut to what the peer takes", () => {
  const bench = benchIn(9);
  bench.receive(77, Uint8Array.of(1, 2, 3), 5);
  assert.equal(bench.sent.at(-1)?.subarray(6), Uint8Array.of(77, 5, 0, 7, 1, 2, 3));
  bench.receive(78, new Uint8Array(3000), 6);
  assert.is(bench.sent.at(-1)?.length, 2 + 1500);
});

test("a Code-Reject of a code that negotiation needs ends it", () => {
  const bench = benchIn(6);
  bench.receive(Code.CODE_REJECT, Uint8Array.of(1, 1, 0, 4));
  assert.is(bench.automaton.state, 3);
  const open = benchIn(9);
  open.receive(Code.CODE_REJECT, Uint8Array.of(Code.ECHO_REQUEST, 1, 0, 4));
  assert.ok(open.automaton.isOpened);
});

test.run();
