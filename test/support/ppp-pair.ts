// Two PPP links and a wire between them, in simulated time: delay, loss, duplicates and reordering
// from a seed. What each link says is kept in order.

import { ntHash } from "../../src/ppp/auth/index.js";
import type {
  AuthFailure,
  CallSettings,
  LinkEvents,
  LinkNet,
  LinkOptions,
} from "../../src/ppp/index.js";
import { PppLink } from "../../src/ppp/index.js";
import { Random } from "./random.js";

export const USER = "anna";
export const PASSWORD = "long enough 12";

export type Said =
  | { kind: "send"; frame: Uint8Array }
  | { kind: "settings"; settings: Partial<CallSettings> }
  | { kind: "up"; net: LinkNet }
  | { kind: "down" | "closed"; reason: string }
  | { kind: "authenticated"; user: string; method: string }
  | { kind: "authFailed"; failure: AuthFailure };

/** One link with its log. */
export class PppEnd implements LinkEvents {
  readonly said: Said[] = [];
  readonly link: PppLink;
  net: LinkNet | null = null;
  closedBy: string | null = null;
  /** All that was set, put together as the hot path would. */
  settled: Partial<CallSettings> = {};
  /** Where frames go; kept in `said` as well. */
  output: (frame: Uint8Array) => void = () => {};

  constructor(options: LinkOptions) {
    this.link = new PppLink(options, this);
  }

  get frames(): string[] {
    return this.said.flatMap((s) => (s.kind === "send" ? [hex(s.frame)] : []));
  }

  send(frame: Uint8Array): void {
    this.said.push({ kind: "send", frame: frame.slice() });
    this.output(frame);
  }

  settings(settings: Partial<CallSettings>): void {
    this.said.push({ kind: "settings", settings });
    this.settled = { ...this.settled, ...settings };
  }

  authenticated(user: string, method: string): void {
    this.said.push({ kind: "authenticated", user, method });
  }

  authFailed(failure: AuthFailure): void {
    this.said.push({ kind: "authFailed", failure });
  }

  up(net: LinkNet): void {
    this.said.push({ kind: "up", net });
    this.net = net;
  }

  down(reason: string): void {
    this.said.push({ kind: "down", reason });
    this.net = null;
  }

  closed(reason: string): void {
    this.said.push({ kind: "closed", reason });
    this.closedBy = reason;
  }
}

/** Chances of one in so many; absent: never. */
export interface Impairment {
  loss?: number;
  duplicate?: number;
  reorder?: number;
}

interface InFlight {
  at_ms: number;
  order: number;
  to: PppEnd;
  frame: Uint8Array;
}

const DELAY_MS = 5;
const LATE_MS = 40;

export class PppPair {
  now_ms = 1_000;
  #flying: InFlight[] = [];
  #order = 0;

  constructor(
    readonly server: PppEnd,
    readonly client: PppEnd,
    private readonly random = new Random(1),
    public impairment: Impairment = {},
  ) {
    server.output = (frame) => this.#carry(client, frame);
    client.output = (frame) => this.#carry(server, frame);
  }

  start(): void {
    this.server.link.start(this.now_ms);
    this.client.link.start(this.now_ms);
  }

  /** Until `isDone`, or nothing happens any more, or the time is up. @returns whether it is done */
  run(isDone: () => boolean, limit_ms = 120_000): boolean {
    const end_ms = this.now_ms + limit_ms;
    while (!isDone()) {
      const next = this.#next();
      if (next === null || next > end_ms) return false;
      this.now_ms = Math.max(this.now_ms, next);
      this.#deliver();
      for (const { link } of [this.server, this.client]) {
        if ((link.nextDeadline() ?? Number.POSITIVE_INFINITY) <= this.now_ms)
          link.tick(this.now_ms);
      }
    }
    return true;
  }

  /** Lets so much time pass. */
  pass(duration_ms: number): void {
    const end_ms = this.now_ms + duration_ms;
    this.run(() => false, duration_ms);
    this.now_ms = end_ms;
  }

  areUp(): boolean {
    return this.server.net !== null && this.client.net !== null;
  }

  areClosed(): boolean {
    return this.server.closedBy !== null && this.client.closedBy !== null;
  }

  #carry(to: PppEnd, frame: Uint8Array): void {
    const { loss, duplicate, reorder } = this.impairment;
    if (loss !== undefined && this.random.once(loss)) return;
    const copies = duplicate !== undefined && this.random.once(duplicate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const late = reorder !== undefined && this.random.once(reorder) ? LATE_MS : 0;
      const at_ms = this.now_ms + DELAY_MS + late;
      this.#flying.push({ at_ms, order: this.#order++, to, frame: frame.slice() });
    }
  }

  #next(): number | null {
    const times = [
      ...this.#flying.map(({ at_ms }) => at_ms),
      ...[this.server, this.client].flatMap(({ link }) => link.nextDeadline() ?? []),
    ];
    return times.length === 0 ? null : Math.min(...times);
  }

  #deliver(): void {
    const due = this.#flying.filter(({ at_ms }) => at_ms <= this.now_ms);
    this.#flying = this.#flying.filter(({ at_ms }) => at_ms > this.now_ms);
    due.sort((a, b) => a.at_ms - b.at_ms || a.order - b.order);
    for (const { to, frame } of due) to.link.receive(frame, this.now_ms);
  }
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
export const bytes = (text: string): Uint8Array =>
  Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));

/** A server's options as an ordinary node has them. */
export function serverOptions(more: Partial<LinkOptions> = {}): LinkOptions {
  return {
    mru: 1456,
    auth: {
      role: "authenticator",
      methods: ["ms-chap-v2"],
      name: "meshd",
      verifier: {
        lookup: (user) => (user === USER ? { ntHash: ntHash(PASSWORD), clear: PASSWORD } : null),
      },
    },
    mppe: { required: true, bits: [128], stateful: false },
    ipcp: { local: "10.0.0.1", remote: "10.0.0.2", dns: ["10.0.0.1"], nbns: [] },
    ipv6cp: null,
    ...more,
  };
}

/** A dialling client's. */
export function clientOptions(more: Partial<LinkOptions> = {}): LinkOptions {
  return {
    mru: 1456,
    auth: { role: "peer", methods: ["ms-chap-v2"], user: USER, secret: { clear: PASSWORD } },
    mppe: { required: true, bits: [128], stateful: false },
    ipcp: {
      ...{ local: "0.0.0.0", remote: null, dns: [], nbns: [] },
      ...{ askAddress: true, askDns: true },
    },
    ipv6cp: null,
    ...more,
  };
}

/** Random bytes for a link from a seed. */
export function seededBytes(seed: number): (count: number) => Uint8Array {
  const random = new Random(seed);
  return (count) => random.fill(new Uint8Array(count));
}

/** Both ends with seeds of their own, connected. */
export function makePair(
  server: Partial<LinkOptions> = {},
  client: Partial<LinkOptions> = {},
  seed = 1,
): PppPair {
  return new PppPair(
    new PppEnd(serverOptions({ random: seededBytes(seed * 2), ...server })),
    new PppEnd(clientOptions({ random: seededBytes(seed * 2 + 1), ...client })),
    new Random(seed * 7),
  );
}

/** A pair that is up; encryption as given holds for both. */
export function upPair(more: Partial<LinkOptions> = {}, seed = 1): PppPair {
  const pair = makePair(more, more.mppe === undefined ? {} : { mppe: more.mppe }, seed);
  pair.start();
  if (!pair.run(() => pair.areUp())) {
    throw new Error(`not up: ${pair.server.closedBy} / ${pair.client.closedBy}`);
  }
  return pair;
}

/** The same control packet with another code, its identifier and data kept. */
export function recoded(frame: Uint8Array, code: number): Uint8Array {
  const out = frame.slice();
  out[2] = code;
  return out;
}

/** How often a link said something of this kind. */
export const count = (said: readonly Said[], kind: Said["kind"]): number =>
  said.filter((s) => s.kind === kind).length;
