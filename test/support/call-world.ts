// Nodes with calls and nothing else: their hot paths are joined by arrays, their control
// connections by function calls, and time passes when the test says so.
import {
  type Account,
  type CallPort,
  type CallRequest,
  Calls,
  type CallsWanted,
  type Clock,
  type ControlPort,
  type Dial,
  ntHash,
  type OfferedCall,
} from "../../src/calls/index.js";

type Settings = Parameters<CallPort["set"]>[1];

interface Timer {
  at_ms: number;
  work: () => void;
}

/** Virtual milliseconds. */
export class TestClock implements Clock {
  private time_ms = 1000;
  private readonly timers = new Set<Timer>();

  now(): number {
    return this.time_ms;
  }

  at(at_ms: number, work: () => void): () => void {
    const timer = { at_ms: Math.max(at_ms, this.time_ms), work };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }

  /** Lets so much time pass, with everything that is due in it. */
  pass(duration_ms: number): void {
    const end_ms = this.time_ms + duration_ms;
    for (;;) {
      const [next] = [...this.timers].sort((a, b) => a.at_ms - b.at_ms);
      if (next === undefined || next.at_ms > end_ms) break;
      this.timers.delete(next);
      this.time_ms = next.at_ms;
      next.work();
    }
    this.time_ms = end_ms;
  }
}

interface Place {
  localId: number;
  end: { peerId: number; address: string } | null;
  settings: Settings;
}

/** All nodes by underlay address. */
export class CallWorld {
  readonly clock = new TestClock();
  readonly nodes = new Map<string, TestNode>();
  /** Addresses that nothing reaches. */
  readonly cut = new Set<string>();

  node(address: string, options: Partial<NodeOptions> = {}): TestNode {
    const node = new TestNode(this, address, { ownId: address, ...options });
    this.nodes.set(address, node);
    return node;
  }
}

interface NodeOptions {
  ownId: string;
}

const COUNTS = {
  ...{ sentPackets: 0, sentBytes: 0, receivedPackets: 0, receivedBytes: 0 },
  ...{ lost: 0, late: 0, duplicates: 0, reordered: 0, windowDrops: 0, timeouts: 0 },
  ...{ acksSent: 0, acksReceived: 0, badFrames: 0, rtt_us: null },
};

class TestPort implements CallPort {
  readonly places = new Map<number, Place>();
  private next = 0;
  emit: Parameters<CallPort["onEvent"]>[0] = () => undefined;
  private onFrames: Parameters<CallPort["onFrame"]>[0] = () => undefined;

  constructor(
    private readonly world: CallWorld,
    private readonly address: string,
  ) {}

  reserve(): { slot: number; localId: number } {
    const slot = this.next++;
    this.places.set(slot, { localId: 100 + slot, end: null, settings: {} });
    return { slot, localId: 100 + slot };
  }

  open(slot: number, end: { peerId: number; address: string }): void {
    const place = this.places.get(slot);
    if (place !== undefined) place.end = end;
  }

  send(slot: number, frame: Uint8Array): boolean {
    const end = this.places.get(slot)?.end;
    if (!end || this.world.cut.has(end.address) || this.world.cut.has(this.address)) return true;
    const copy = frame.slice();
    this.world.clock.at(this.world.clock.now() + 1, () => {
      this.world.nodes.get(end.address)?.port.arrive(this.address, end.peerId, copy);
    });
    return true;
  }

  arrive(source: string, localId: number, frame: Uint8Array): void {
    for (const [slot, place] of this.places) {
      const isOurs = place.localId === localId && place.end?.address === source;
      if (isOurs) this.onFrames(slot, frame);
    }
  }

  set(slot: number, settings: Settings): void {
    const place = this.places.get(slot);
    if (place !== undefined) place.settings = { ...place.settings, ...settings };
  }

  close(slot: number): void {
    this.places.delete(slot);
  }

  statistics(): typeof COUNTS {
    return COUNTS;
  }

  onFrame(handler: Parameters<CallPort["onFrame"]>[0]): void {
    this.onFrames = handler;
  }

  onEvent(handler: Parameters<CallPort["onEvent"]>[0]): void {
    this.emit = handler;
  }
}

/** Both halves of one control connection with its call. */
class TestCall {
  private over = false;
  private readonly ends: ((reason: string) => void)[] = [];

  constructor(private readonly clock: Clock) {}

  onEnd(handler: (reason: string) => void): void {
    this.ends.push(handler);
  }

  end(reason: string): void {
    if (this.over) return;
    this.over = true;
    for (const handler of this.ends) this.clock.at(this.clock.now(), () => handler(reason));
  }
}

export class TestNode {
  readonly port: TestPort;
  readonly calls: Calls;
  readonly accounts = new Map<string, Account>();
  readonly secrets = new Map<string, string>();
  readonly lines: { event: string; fields: Record<string, unknown> }[] = [];
  readonly given = new Set<string>();
  onCall: ((request: CallRequest, call: OfferedCall) => void) | null = null;
  readonly open = new Set<TestCall>();
  wanted: CallsWanted;

  constructor(
    private readonly world: CallWorld,
    readonly address: string,
    readonly options: NodeOptions,
  ) {
    this.port = new TestPort(world, address);
    const { clock } = world;
    this.calls = new Calls({
      ...{ port: this.port, clock, control: this.control(), ...options, ownName: "node" },
      log: (event, fields = {}) => void this.lines.push({ event, fields }),
      onChange: () => undefined,
      account: (user) => this.accounts.get(user) ?? null,
      addresses: { take: (fixed) => this.take(fixed), release: (one) => this.given.delete(one) },
      secretOf: (nodeId) => this.secrets.get(nodeId) ?? null,
    });
    this.wanted = {
      ...{ address, underlayMtu: 1500, windowMode: "advertised", stateful: false },
      ...{ users: null, pairs: null, dials: [] },
    };
  }

  private take(fixed: string | null): string {
    const highest = [254, 253, 252].map((last) => `10.244.1.${last}`);
    const address = fixed ?? highest.find((one) => !this.given.has(one));
    if (address === undefined || this.given.has(address)) throw new Error("no address is free");
    this.given.add(address);
    return address;
  }

  private control(): ControlPort {
    const { world, address: own } = this;
    return {
      listen: async ({ onCall }) => {
        this.onCall = onCall;
        const stop = async () => {
          this.onCall = null;
          for (const call of this.open) call.end("the server stops");
        };
        return { stop };
      },
      dial: ({ address, callId, window, phoneNumber }, events) => {
        const call = new TestCall(world.clock);
        call.onEnd((reason) => events.ended(reason));
        const there = world.nodes.get(address);
        const answer = () => {
          const handler = world.cut.has(address) ? null : there?.onCall;
          if (!there || !handler) return call.end("nobody listens");
          there.open.add(call);
          call.onEnd(() => there.open.delete(call));
          let connected: Parameters<OfferedCall["onConnected"]>[0] = () => undefined;
          handler(
            { source: own, hostName: "test", phoneNumber },
            {
              accept: (theirs) => {
                connected({ peerCallId: callId, window });
                const end = { peerCallId: theirs.callId, window: theirs.window };
                world.clock.at(world.clock.now() + 1, () => events.connected(end));
              },
              refuse: (why) => call.end(`refused: ${why}`),
              clear: (why) => call.end(`cleared: ${why}`),
              onConnected: (given) => {
                connected = given;
              },
              onEnd: (given) => call.onEnd(given),
              onStatistics: () => undefined,
            },
          );
        };
        world.clock.at(world.clock.now() + 1, answer);
        return { clear: (why) => call.end(`cleared: ${why}`) };
      },
    };
  }

  /** Takes users with MS-CHAPv2 and MPPE-128. */
  async serve(encryption: "required-128" | "optional" | "off" = "required-128"): Promise<void> {
    const rules = { methods: ["ms-chap-v2" as const], encryption, stateful: false };
    const users = { rules: { ...rules, dns: [], nbns: [] }, local: "10.244.1.0" };
    await this.update({ users });
  }

  async update(change: Partial<CallsWanted>): Promise<void> {
    this.wanted = { ...this.wanted, ...change };
    await this.calls.update(this.wanted);
  }

  addUser(user: string, password: string, more: Partial<Account> = {}): void {
    const account = { user, ntHash: ntHash(password), address: null, expires: null };
    this.accounts.set(user, { ...account, disabled: false, ...more });
  }

  /** What was logged under that name. */
  events(event: string): Record<string, unknown>[] {
    return this.lines.filter((line) => line.event === event).map(({ fields }) => fields);
  }
}

export function dialTo(address: string, user: string, password: string, more: Partial<Dial> = {}) {
  const secret = { ntHash: ntHash(password) };
  const rules = { methods: ["ms-chap-v2" as const], encryption: "required-128" as const };
  return { host: address, address, user, secret, routes: [], ...rules, ...more } satisfies Dial;
}
