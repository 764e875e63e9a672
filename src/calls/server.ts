// Calls that others make to us: users who dial in, and members whose turn it is to dial. One
// listener for both; who is who is proven by PPP's authentication.
import { type AuthFailure, type AuthMethod, ntHash, type Verifier } from "../ppp/index.js";
import type { CallEvents } from "./call.js";
import type { CallRequest, Listener, OfferedCall } from "./control-port.js";
import { crowdedOut, isFull, oldestOf } from "./crowd.js";
import { OWN_WINDOW, type Place } from "./desk.js";
import type { Session } from "./session.js";
import { type LinkRules, mtuOver, pairLink, serverLink } from "./settings.js";
import type { WindowMode } from "./types.js";
import { type UserFacts, Users, type UsersParts } from "./users.js";

/** The caller's first frame is waited for so long. */
const FIRST_MS = 250;

/** A member that may call us, or that we call. */
export interface PairEnd {
  nodeId: string;
  name: string;
  /** Underlay address. */
  address: string;
  /** Node addresses inside the call; null: no IPv4 there. */
  local: string | null;
  remote: string | null;
  interfaceId: bigint | null;
}

export interface ServerWanted {
  /** Our underlay address. */
  address: string;
  underlayMtu: number;
  /** Users may dial in; our own address in their calls. */
  users: { rules: LinkRules; local: string } | null;
  /** Members that may call us. null: none, and nothing listens unless users do. */
  pairs: readonly PairEnd[] | null;
  windowMode: WindowMode;
}

export interface ServerParts extends UsersParts {
  ownName: string;
  /** The secret that a member and we share; null: not known here yet. */
  secretOf: (nodeId: string) => string | null;
}

interface Served extends Session, UserFacts {
  control: OfferedCall;
  place: Place;
  /** The other end knows its password, or the pair's secret. */
  isProven: boolean;
}

export class CallServer {
  /** Why nothing listens, though it should. */
  problem: string | null = null;
  private wanted: ServerWanted | null = null;
  private listener: Listener | null = null;
  private listening = "";
  private changing: Promise<void> = Promise.resolve();
  private readonly served = new Set<Served>();
  private onEmpty: () => void = () => undefined;
  private readonly users: Users;

  constructor(private readonly parts: ServerParts) {
    this.users = new Users(parts);
  }

  sessions(): readonly Session[] {
    return [...this.served];
  }

  /** Takes what is wanted now; null: nothing. Resolves when the listener is as wanted. */
  update(wanted: ServerWanted | null): Promise<void> {
    this.wanted = wanted;
    this.endUnwanted();
    const work = this.changing.then(() => this.listenAsWanted());
    this.changing = work;
    return work;
  }

  /** Ends sessions whose account is gone, disabled, expired or has another password. */
  checkAccounts(): void {
    for (const session of this.served) {
      const why = this.users.whyNot(session);
      if (why !== null) this.end(session, why);
    }
  }

  /** Ends a user's session by its place in the hot path; false: there is none. */
  disconnect(slot: number, reason: string): boolean {
    const found = [...this.served].find(
      ({ kind, place }) => kind === "dial-in" && place.slot === slot,
    );
    if (found !== undefined) this.end(found, reason);
    return found !== undefined;
  }

  /** Ends all by PPP; resolves when nobody is left. The listener stays. */
  async endAll(reason: string): Promise<void> {
    this.onEmpty = () => undefined;
    const empty = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    for (const session of this.served) this.end(session, reason);
    if (this.served.size > 0) await empty;
  }

  /** Ends what is left at once, and the listener. */
  async stop(): Promise<void> {
    for (const session of this.served) session.call?.abort("the node stopped");
    await this.update(null);
  }

  private async listenAsWanted(): Promise<void> {
    const { wanted } = this;
    const needed = wanted !== null && (wanted.users !== null || wanted.pairs !== null);
    const address = needed ? wanted.address : "";
    if (address === this.listening) return;
    const { control, log } = this.parts.desk.options;
    await this.listener?.stop();
    this.listener = null;
    this.listening = "";
    this.problem = null;
    if (address === "") return;
    try {
      this.listener = await control.listen({
        address,
        onCall: (request, call) => this.answer(request, call),
      });
      this.listening = address;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.problem = `no PPTP call can come in on ${address} port 1723: ${why}`;
      log("pptp.listen.failed", { address, error: why });
    }
  }

  /** The member that says it calls, from the address that is its own. */
  private memberOf({ source, phoneNumber }: CallRequest): PairEnd | undefined {
    const pairs = this.wanted?.pairs ?? [];
    return pairs.find(({ nodeId, address }) => nodeId === phoneNumber && address === source);
  }

  private answer(request: CallRequest, control: OfferedCall): void {
    const { wanted } = this;
    const pair = this.memberOf(request);
    const isMeant = wanted !== null && (pair !== undefined || wanted.users !== null);
    // Nobody guesses a pair's secret, but who shares a member's address may cause failures.
    if (!isMeant || (pair === undefined && !this.users.admits(request.source))) {
      control.refuse("not-allowed");
      return;
    }
    const secret = pair === undefined ? null : this.parts.secretOf(pair.nodeId);
    // A member whose secret is not here yet dials again soon.
    const isHopeless = pair === undefined ? isFull(this.served) : secret === null;
    const place = isHopeless ? null : this.parts.desk.reserve();
    if (place === null) {
      control.refuse("no-resource");
      return;
    }
    const session = this.sessionOf(request, control, place, pair, wanted);
    this.served.add(session);
    this.cut(crowdedOut(this.served, session), "too many calls that prove nothing");
    const link =
      pair === undefined || secret === null
        ? this.linkOfUser(session, wanted)
        : this.linkOfPair(pair, secret, wanted);
    const { source: address } = request;
    const { windowMode } = wanted;
    control.onConnected(({ peerCallId: peerId, window }) => {
      const end = { peerId, address, window, windowMode };
      session.call ??= this.parts.desk.open(place, end, link, this.eventsOf(session), FIRST_MS);
    });
    control.onEnd((reason) => this.hungUp(session, reason));
    control.onStatistics(() => this.statisticsOf(session));
    control.accept({ callId: place.localId, window: OWN_WINDOW[session.kind] });
  }

  /** The control connection says that the call is over. */
  private hungUp(session: Served, reason: string): void {
    if (session.call !== null) session.call.abort(reason);
    else if (this.served.delete(session)) {
      this.parts.desk.options.port.close(session.place.slot);
      this.sayIfEmpty();
    }
  }

  private sayIfEmpty(): void {
    if (this.served.size === 0) this.onEmpty();
  }

  private statisticsOf({ place }: Served): string {
    const { sentPackets, sentBytes, receivedPackets, receivedBytes } =
      this.parts.desk.options.port.statistics(place.slot);
    return `out ${sentPackets} packets ${sentBytes} bytes, in ${receivedPackets} ${receivedBytes}`;
  }

  private sessionOf(
    { source }: CallRequest,
    control: OfferedCall,
    place: Place,
    pair: PairEnd | undefined,
    { underlayMtu }: ServerWanted,
  ): Served {
    return {
      ...{ kind: pair === undefined ? "dial-in" : "pair", name: pair?.name ?? "" },
      ...{ nodeId: pair?.nodeId ?? null, underlay: source, since: new Date(), call: null },
      ...{ routes: [], mtuMax: mtuOver(underlayMtu), problem: null, control, place },
      ...{ isProven: false, user: null, ntHash: null, taken: null },
    };
  }

  private linkOfUser(session: Served, { users, underlayMtu }: ServerWanted) {
    if (users === null) throw new Error("a user's call where none is served");
    return serverLink({
      ...{ name: this.parts.ownName, rules: users.rules, local: users.local, underlayMtu },
      verifier: { lookup: (user) => this.users.lookUp(session.underlay, user) },
      addressFor: (user) => this.users.addressFor(session, user, this.served),
    });
  }

  private linkOfPair(pair: PairEnd, secret: string, { underlayMtu }: ServerWanted) {
    const hash = ntHash(secret);
    const verifier: Verifier = {
      lookup: (user) => (user === pair.nodeId ? { ntHash: hash } : null),
    };
    const methods: AuthMethod[] = ["ms-chap-v2"];
    const auth = { role: "authenticator", methods, name: this.parts.ownName, verifier } as const;
    const { local, remote, interfaceId } = pair;
    return pairLink({ auth, local, remote, interfaceId, underlayMtu });
  }

  private eventsOf(session: Served): CallEvents {
    const { desk } = this.parts;
    const { log, onChange } = desk.options;
    const { underlay: source, kind } = session;
    return {
      authenticated: (user, method) => this.welcome(session, user, method),
      authFailed: (failure) => this.refuse(session, failure),
      changed: () => {
        const { remote = null, mppe = null } = session.call?.net ?? {};
        if (session.call?.net) {
          const fields = { kind, name: session.name, source, address: remote, bits: mppe?.bits };
          log("pptp.up", fields);
        }
        onChange();
      },
      ended: (reason) => {
        this.served.delete(session);
        this.users.left(session);
        session.control.clear("lost");
        log("pptp.ended", { kind, name: session.name, source, reason });
        this.sayIfEmpty();
        onChange();
      },
    };
  }

  private welcome(session: Served, user: string, method: AuthMethod): void {
    const { log } = this.parts.desk.options;
    log("pptp.authenticated", { user, source: session.underlay, method });
    session.isProven = true;
    if (session.kind === "pair") {
      this.endOlder(session);
      return;
    }
    this.users.proven(session, user);
    session.name = user;
    this.cut(oldestOf(this.served, user), `${user} has too many sessions`);
  }

  private refuse(session: Served, { user, reason, method, kind }: AuthFailure): void {
    const { underlay: source } = session;
    const isTry = kind === "denied" && session.kind === "dial-in";
    if (isTry) this.users.failed(user, source);
    this.parts.desk.options.log("pptp.refused", { user, source, method, reason });
  }

  /** A member has one call: a new one that is proven says that the one before is dead. */
  private endOlder(session: Served): void {
    for (const other of this.served) {
      const isOlder = other !== session && other.isProven && other.nodeId === session.nodeId;
      if (isOlder && other.kind === "pair") other.call?.abort("the member dialled again");
    }
  }

  /** Ends one at once, if there is one to end. */
  private cut(session: Served | null, reason: string): void {
    if (session?.call) session.call.abort(reason);
    else session?.control.clear("admin");
  }

  private end(session: Served, reason: string): void {
    if (session.call === null) session.control.clear("admin");
    else session.call.close(reason);
  }

  private endUnwanted(): void {
    const { wanted } = this;
    for (const session of this.served) {
      const isPairWanted = wanted?.pairs?.some(
        ({ nodeId, address }) => nodeId === session.nodeId && address === session.underlay,
      );
      const isWanted = session.kind === "pair" ? isPairWanted : (wanted?.users ?? null) !== null;
      if (isWanted !== true) this.end(session, "no such calls are taken any more");
    }
  }
}
