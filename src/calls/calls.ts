// All calls of a node: what is wanted of them comes in, what is up goes out (ADR 0038).
import { createHash } from "node:crypto";
import { type AuthMethod, ntHash, type PeerSecret } from "../ppp/index.js";
import { PPTP_PORT } from "../pptp/index.js";
import { Desk, type DeskOptions } from "./desk.js";
import { Dialer, type DialTarget } from "./dialer.js";
import { CallServer, type PairEnd, type ServerWanted } from "./server.js";
import { factOf, type Session, viewOf } from "./session.js";
import { dialLink, type EncryptionRule, type LinkRules, pairLink } from "./settings.js";
import type { Account, AddressBook, CallFact, SessionView, WindowMode } from "./types.js";

/** A foreign server that this node is to be connected to. */
export interface Dial {
  /** Its name in lists: what the user typed. */
  host: string;
  /** Underlay address of it, looked up. */
  address: string;
  user: string;
  secret: PeerSecret;
  routes: readonly string[];
  methods: readonly AuthMethod[];
  encryption: EncryptionRule;
}

/** What the node should have; each update says all of it. */
export interface CallsWanted {
  /** Our underlay address and the MTU of its interface. */
  address: string;
  underlayMtu: number;
  windowMode: WindowMode;
  stateful: boolean;
  users: { rules: LinkRules; local: string } | null;
  /** Members with which this node has calls; null: none, and members are not answered. */
  pairs: readonly PairEnd[] | null;
  dials: readonly Dial[];
}

export interface CallsOptions extends DeskOptions {
  ownName: string;
  ownId: string;
  account: (user: string) => Account | null;
  addresses: AddressBook;
  secretOf: (nodeId: string) => string | null;
}

/** A call that hangs longer than this at the end is cut. */
const STOP_MS = 1000;

export class Calls {
  private readonly desk: Desk;
  private readonly server: CallServer;
  /** By a hash of what is dialled. */
  private readonly dialers = new Map<string, Dialer>();
  /** Dialled no more, but not over yet. */
  private readonly ending = new Set<Dialer>();
  private isStopped = false;

  constructor(private readonly options: CallsOptions) {
    this.desk = new Desk(options);
    this.server = new CallServer({ ...options, desk: this.desk });
  }

  /** Resolves when the listener is as wanted; calls come and go later. */
  update(wanted: CallsWanted): Promise<void> {
    if (this.isStopped) return Promise.resolve();
    const targets = [...this.pairTargets(wanted), ...dialTargets(wanted)];
    const keys = new Map(targets.map((target) => [keyOf(target), target]));
    for (const [key, dialer] of this.dialers) {
      if (!keys.has(key)) this.drop(key, dialer);
    }
    for (const [key, target] of keys) {
      this.dialers.get(key)?.setWindowMode(target.windowMode);
      if (this.dialers.has(key)) continue;
      const dialer = new Dialer(this.desk, target);
      this.dialers.set(key, dialer);
      dialer.start();
    }
    return this.server.update(serverWanted(wanted, this.options.ownId));
  }

  /** Of two members the one with the lower nodeId dials. */
  private pairTargets(wanted: CallsWanted): DialTarget[] {
    const { ownId, secretOf } = this.options;
    const { address: localAddress, underlayMtu, windowMode } = wanted;
    return (wanted.pairs ?? []).flatMap((pair): DialTarget[] => {
      const { nodeId, name, address, local, remote, interfaceId } = pair;
      const secret = secretOf(nodeId);
      if (secret === null || ownId >= nodeId) return [];
      const methods: AuthMethod[] = ["ms-chap-v2"];
      const own = { user: ownId, secret: { ntHash: ntHash(secret) } };
      const auth = { role: "peer", methods, ...own } as const;
      const link = pairLink({ auth, local, remote, interfaceId, underlayMtu });
      return [
        {
          ...{ kind: "pair", name, nodeId, localAddress, address, port: PPTP_PORT },
          ...{ phoneNumber: ownId, underlayMtu, routes: [], windowMode, link },
        },
      ];
    });
  }

  /** Ends what is dialled at that foreign server at once; it is dialled anew while it is wanted. */
  dropDial(host: string): void {
    for (const [key, dialer] of this.dialers) {
      const { kind, name } = dialer.session;
      if (kind === "dial-out" && name === host) this.drop(key, dialer);
    }
  }

  private drop(key: string, dialer: Dialer): void {
    this.dialers.delete(key);
    this.ending.add(dialer);
    void dialer.hangUp("not wanted any more").then(() => {
      this.ending.delete(dialer);
      this.options.onChange();
    });
  }

  /** Whether a call is left whose packets must pass, if only to end it in order. */
  get isOpen(): boolean {
    return this.ending.size > 0 || this.server.sessions().length > 0;
  }

  /** Calls that are up. */
  facts(): CallFact[] {
    const facts = this.sessions().flatMap((session) => factOf(session) ?? []);
    return facts.sort((a, b) => a.slot - b.slot);
  }

  list(): SessionView[] {
    return this.sessions().map((session) => viewOf(session, this.options.port));
  }

  /** Why what is wanted cannot be had: one line each. */
  problems(): string[] {
    const { problem } = this.server;
    const given = [...this.dialers.values()].flatMap(({ gaveUp, session }) =>
      gaveUp === null ? [] : [`PPTP server ${session.name}: ${gaveUp}`],
    );
    return [...(problem === null ? [] : [problem]), ...given];
  }

  /** Accounts are others than before, or time has passed. */
  checkAccounts(): void {
    this.server.checkAccounts();
  }

  /** Ends a dial-in session by its place; false: there is none. */
  disconnect(slot: number): boolean {
    return this.server.disconnect(slot, "an administrator ended the session");
  }

  /** Ends every call in order, or after a second without. */
  async stop(): Promise<void> {
    this.isStopped = true;
    const dialers = [...this.dialers.values(), ...this.ending];
    this.dialers.clear();
    const ends = dialers.map((dialer) => dialer.hangUp("the node stops"));
    const { clock } = this.options;
    const late = new Promise<void>((resolve) => {
      clock.at(clock.now() + STOP_MS, resolve);
    });
    await Promise.race([Promise.all([...ends, this.server.endAll("the node stops")]), late]);
    for (const dialer of dialers) dialer.abort("the node stopped");
    await this.server.stop();
  }

  private sessions(): readonly Session[] {
    return [...this.server.sessions(), ...[...this.dialers.values()].map(({ session }) => session)];
  }
}

/** Only those whose turn it is to dial are waited for. */
function serverWanted(wanted: CallsWanted, ownId: string): ServerWanted | null {
  const { address, underlayMtu, windowMode, users, pairs } = wanted;
  if (users === null && pairs === null) return null;
  const callers = pairs?.filter(({ nodeId }) => nodeId < ownId) ?? null;
  return { address, underlayMtu, windowMode, users, pairs: callers };
}

function dialTargets(wanted: CallsWanted): DialTarget[] {
  const { address: localAddress, underlayMtu, windowMode, stateful } = wanted;
  return wanted.dials.map((dial) => {
    const { host: name, address, user, secret, routes, methods, encryption } = dial;
    const link = dialLink({ user, secret, underlayMtu, rules: { methods, encryption, stateful } });
    return {
      ...{ kind: "dial-out", name, nodeId: null, localAddress, address, port: PPTP_PORT },
      ...{ phoneNumber: "", underlayMtu, routes, windowMode, link },
    };
  });
}

/** The same for the same wish alone, hashed: it holds a secret. Another window waits for a call. */
function keyOf({ windowMode: _, ...target }: DialTarget): string {
  const text = JSON.stringify(target, (_, value: unknown) =>
    typeof value === "bigint"
      ? `${value}`
      : value instanceof Uint8Array
        ? Buffer.from(value).toString("hex")
        : value,
  );
  return createHash("sha256").update(text).digest("base64");
}
