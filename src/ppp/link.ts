// One PPP link: LCP, then authentication, then encryption and the network protocols (RFC 1661
// section 3). Both roles; frames, settings and facts leave it in order (ADR 0035).
import { randomBytes } from "node:crypto";
import type { AuthMethod, AuthSuccess } from "./auth/index.js";
import { AuthPhase } from "./auth-phase.js";
import { Automaton } from "./automaton.js";
import { KeepAlive } from "./keep-alive.js";
import { LcpLayer } from "./lcp.js";
import { AT_REST, isData, NO_METHOD, withKeyedMethods } from "./link-rules.js";
import { NetworkLayers } from "./network-layers.js";
import { RejectLimit } from "./reject-limit.js";
import type {
  CallSettings,
  LinkCounters,
  LinkEvents,
  LinkNet,
  LinkOptions,
  LinkPhase,
  LinkStatus,
} from "./types.js";
import type { Packet } from "./wire.js";
import { be16, bytesOf, Code, Protocol, printable, protocolOf, readPacket } from "./wire.js";

/** From start, or from the loss of a network, until the network is up. */
const ESTABLISH_MS = 60_000;
/** How long who let the peer in waits for its first frame. */
const FIRST_MS = 250;
const TEXT_MAX = 64;

export class PppLink {
  readonly #options: LinkOptions;
  readonly #random: (count: number) => Uint8Array;
  readonly #lcp: LcpLayer;
  readonly #automaton: Automaton;
  readonly #keepAlive: KeepAlive;
  readonly #auth: AuthPhase;
  readonly #addresses = new Map<string, string | null>();
  #begins: { proof: AuthSuccess | null; at_ms: number } | null = null;
  #network: NetworkLayers | null = null;
  #phase: LinkPhase = "dead";
  #user: string | null = null;
  #method: AuthMethod | null = null;
  #net: LinkNet | null = null;
  #identification: string | null = null;
  #reason: string | null = null;
  #deadline: number | null = null;
  readonly #rejects = new RejectLimit();
  #now = 0;
  #jobs: (() => void)[] = [];
  #isBusy = false;
  readonly #counters: LinkCounters = {
    ...{ received: 0, sent: 0, ignored: 0, protocolRejects: 0, codeRejects: 0 },
    ...{ echoesLost: 0, renegotiations: 0, resets: 0 },
  };

  constructor(
    options: LinkOptions,
    private readonly events: LinkEvents,
  ) {
    this.#options = withKeyedMethods(options);
    this.#random = options.random ?? ((count) => randomBytes(count));
    this.#lcp = new LcpLayer(this.#options, this.#random, {
      up: () => this.#lcpUp(),
      down: () => this.#lcpDown(),
      finished: () => this.#finish(this.#reason ?? "the peer does not answer"),
      fatal: (reason) => this.#end(reason),
      packet: (packet) => this.#lcpPacket(packet),
      identified: (text) => {
        this.#identification = printable(text, TEXT_MAX);
      },
    });
    this.#automaton = new Automaton(this.#lcp, this.#output());
    this.#auth = new AuthPhase(this.#options.auth, this.#random, {
      send: (frame) => this.#send(frame),
      // A peer nearby answers before a setting behind the frame would count.
      letsIn: () => this.events.settings({ phase: "network" }),
      done: (success) => this.#authenticated(success),
      failed: (failure) => {
        this.events.authFailed(failure);
        this.#end(failure.reason);
      },
    });
    this.#keepAlive = new KeepAlive(options.echo, {
      automaton: this.#automaton,
      magic: () => this.#lcp.magic,
      peerMru: () => this.#lcp.peer.mru,
      end: (reason) => this.#end(reason),
    });
  }

  /** Begins to negotiate. Once. */
  start(now_ms: number): void {
    this.#enter(now_ms, () => {
      if (this.#phase !== "dead") return;
      this.#phase = "establish";
      this.#deadline = now_ms + ESTABLISH_MS;
      const requireMppe = this.#options.mppe?.required === true;
      this.events.settings({ ...AT_REST, requireMppe });
      if (this.#options.auth.methods.length === 0) return this.#finish(NO_METHOD);
      this.#automaton.open(now_ms);
      this.#automaton.lowerUp(now_ms);
    });
  }

  /** A frame from its 2-byte protocol number on; it may be reused after the call. */
  receive(frame: Uint8Array, now_ms: number): void {
    // A copy where the link is at work: the frame may be gone when its turn comes.
    const kept = this.#isBusy ? frame.slice() : frame;
    this.#enter(now_ms, () => {
      if (this.#phase === "dead" || this.#phase === "closed") return;
      this.#counters.received += 1;
      if (!this.#dispatch(kept)) this.#counters.ignored += 1;
    });
  }

  /** Has a look at every timer; to be called when `nextDeadline` has come. */
  tick(now_ms: number): void {
    this.#enter(now_ms, () => {
      this.#automaton.tick(now_ms);
      this.#auth.tick(now_ms);
      this.#network?.tick(now_ms);
      this.#keepAlive.tick(now_ms);
      if (this.#begins !== null && now_ms >= this.#begins.at_ms) this.#beginNetwork();
      if (this.#deadline !== null && now_ms >= this.#deadline) {
        this.#deadline = null;
        this.#end("the link did not come up in time");
      }
    });
  }

  /** When `tick` is wanted, in the clock of `now_ms`; null: not before something comes in. */
  nextDeadline(): number | null {
    const all = [
      ...[this.#automaton.nextDeadline(), this.#keepAlive.nextDeadline(), this.#deadline],
      ...[...this.#auth.deadlines(), ...(this.#network?.deadlines() ?? [])],
      this.#begins?.at_ms ?? null,
    ].filter((deadline) => deadline !== null);
    return all.length === 0 || this.#phase === "closed" ? null : Math.min(...all);
  }

  /** Ends the link politely: `closed` comes after the peer's answer, or after 6 s. */
  close(reason: string, now_ms: number): void {
    this.#enter(now_ms, () => {
      if (this.#phase === "dead") this.#finish(reason);
      else this.#end(reason);
    });
  }

  /** Ends the link at once and sends nothing: what carried it is gone. */
  abort(reason: string, now_ms: number): void {
    this.#enter(now_ms, () => this.#finish(reason));
  }

  /** Stateful MPPE lost its place: the peer is asked to begin anew. */
  resetRequested(now_ms: number): void {
    this.#enter(now_ms, () => this.#network?.resetRequested(now_ms));
  }

  status(): LinkStatus {
    return {
      phase: this.#phase,
      net: this.#net,
      user: this.#user,
      method: this.#method,
      peerAccm: this.#lcp.peer.accm,
      peerIdentification: this.#identification,
      counters: { ...this.#counters, echoesLost: this.#keepAlive.lost },
      reason: this.#reason,
    };
  }

  /** What an event handler asks for comes after what is under way. */
  #enter(now_ms: number, job: () => void): void {
    this.#now = now_ms;
    this.#jobs.push(job);
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      for (let next = this.#jobs.shift(); next !== undefined; next = this.#jobs.shift()) next();
    } finally {
      this.#isBusy = false;
      this.#jobs = [];
    }
  }

  #output() {
    return {
      send: (frame: Uint8Array) => this.#send(frame),
      peerMru: () => this.#lcp.peer.mru,
    };
  }

  #send(frame: Uint8Array): void {
    if (this.#phase === "closed") return;
    if (frame[2] === Code.CODE_REJECT) {
      if (!this.#rejects.take(this.#now)) return;
      this.#counters.codeRejects += 1;
    }
    this.#counters.sent += 1;
    this.events.send(frame);
  }

  /** @returns false when the frame means nothing here and now */
  #dispatch(frame: Uint8Array): boolean {
    const protocol = protocolOf(frame);
    if (protocol === Protocol.LCP) return this.#receiveLcp(frame);
    if (!this.#automaton.isOpened || protocol < 0) return false;
    if (this.#auth.receive(protocol, frame, this.#now)) return true;
    // Before the proof nothing else passes (RFC 1661 section 3.5), and nothing is said of it.
    if (this.#network === null || isData(protocol)) return false;
    this.#auth.networkBegan();
    this.#beginNetwork();
    const taken = this.#network.receive(protocol, frame, this.#now);
    return taken === "unknown" ? this.#rejectProtocol(protocol, frame) : taken;
  }

  #receiveLcp(frame: Uint8Array): boolean {
    const packet = readPacket(frame);
    if (packet?.code === Code.TERMINATE_REQUEST && this.#automaton.isOpened) {
      const said = printable(packet.data, TEXT_MAX);
      this.#reason ??= said === "" ? "the peer ended the link" : `the peer ended the link: ${said}`;
      this.#phase = "terminate";
    }
    return this.#automaton.receive(frame, this.#now);
  }

  #lcpUp(): void {
    const { acfc, pfc, auth } = this.#lcp.peer;
    this.#phase = "authenticate";
    this.events.settings({ phase: "link", acfc, pfc });
    this.#keepAlive.start(this.#now);
    const isAuthenticator = this.#options.auth.role === "authenticator";
    const method = isAuthenticator ? this.#lcp.auth : auth;
    if (method !== null) this.#auth.start(method, this.#now);
    // Only a server may do without proof, never we as one.
    else if (isAuthenticator) this.#end("the peer did not agree to authenticate");
    else this.#authenticated(null);
  }

  #lcpDown(): void {
    this.#keepAlive.stop();
    this.#auth.stop();
    this.#network = null;
    this.#begins = null;
    this.#networkDown(this.#reason ?? "the peer negotiates the link anew");
    this.events.settings(AT_REST);
    if (this.#phase === "terminate") return;
    this.#counters.renegotiations += 1;
    this.#phase = "establish";
  }

  /** @param proof null: nobody asked for one (a server without authentication) */
  #authenticated(proof: AuthSuccess | null): void {
    // A challenge that is repeated later proves the same once more.
    if (this.#phase !== "authenticate") return;
    this.#user = proof?.user ?? null;
    this.#method = proof?.method ?? null;
    if (proof !== null) this.events.authenticated(proof.user, proof.method);
    const remote = this.#remoteFor(this.#user);
    if (remote === undefined) {
      this.#end("there is no address for this user");
      return;
    }
    this.#phase = this.#options.mppe === null ? "network" : "encrypt";
    this.events.settings({ phase: "network" });
    this.#network = new NetworkLayers(this.#options, remote, this.#random, {
      ...this.#output(),
      settings: (settings) => this.#settings(settings),
      changed: (reason) => this.#networkChanged(reason),
      fatal: (reason) => this.#end(reason),
      stale: () => this.#beginAnew(),
    });
    this.#begins = { proof, at_ms: this.#now + FIRST_MS };
    if (this.#options.auth.role === "peer") this.#beginNetwork();
  }

  /** Who let the peer in waits for its first frame, for our own could overtake the Success. */
  #beginNetwork(): void {
    const begins = this.#begins;
    this.#begins = null;
    if (begins !== null) this.#network?.start(begins.proof, this.#now);
  }

  /** LCP, and with it the proof, from the beginning. */
  #beginAnew(): void {
    this.#automaton.lowerDown(this.#now);
    this.#automaton.lowerUp(this.#now);
  }

  /** Null: the peer's own choice; undefined: none is left. */
  #remoteFor(user: string | null): string | null | undefined {
    const ipcp = this.#options.ipcp;
    if (ipcp === null || ipcp.remote !== null || ipcp.addressFor === undefined) {
      return ipcp?.remote ?? null;
    }
    const name = user ?? "";
    if (!this.#addresses.has(name)) this.#addresses.set(name, ipcp.addressFor(name));
    return this.#addresses.get(name) ?? undefined;
  }

  #settings(settings: Partial<CallSettings>): void {
    if (settings.resetSend === true) this.#counters.resets += 1;
    this.events.settings(settings);
  }

  #networkChanged(reason: string): void {
    const state = this.#network?.state ?? null;
    if (state === null) {
      this.#networkDown(reason);
      return;
    }
    const { mru, acfc, pfc } = this.#lcp.peer;
    const net: LinkNet = { user: this.#user, method: this.#method, mru, acfc, pfc, ...state };
    this.#phase = "network";
    this.#deadline = null;
    this.#net = net;
    this.events.up(net);
  }

  #networkDown(reason: string): void {
    if (this.#net === null) return;
    this.#net = null;
    this.#deadline = this.#now + ESTABLISH_MS;
    this.events.down(reason);
  }

  #end(reason: string): void {
    if (this.#phase === "terminate" || this.#phase === "closed") return;
    this.#reason ??= reason;
    this.#phase = "terminate";
    this.#deadline = null;
    this.#automaton.close(reason, this.#now);
  }

  #finish(reason: string): void {
    if (this.#phase === "closed") return;
    this.#reason ??= reason;
    this.#auth.stop();
    this.#network = null;
    this.#begins = null;
    this.#keepAlive.stop();
    this.#networkDown(this.#reason);
    this.#deadline = null;
    this.#phase = "closed";
    this.events.settings(AT_REST);
    this.events.closed(this.#reason);
  }

  #lcpPacket(packet: Packet): void {
    switch (packet.code) {
      case Code.ECHO_REQUEST:
        this.#keepAlive.answer(packet);
        return;
      case Code.ECHO_REPLY:
        this.#keepAlive.answered(packet);
        return;
      case Code.PROTOCOL_REJECT:
        this.#protocolRejected(packet);
        return;
      case Code.CODE_REJECT:
        // A peer that knows no Echo-Request cannot be asked by one.
        if (packet.data[0] === Code.ECHO_REQUEST) this.#keepAlive.stop();
        return;
      default:
        return;
    }
  }

  #protocolRejected(packet: Packet): void {
    if (packet.data.length < 2) return;
    const protocol = be16(packet.data, 0);
    if (protocol === Protocol.CHAP || protocol === Protocol.PAP) {
      if (this.#network === null) this.#end("the peer knows no such authentication");
    } else if (protocol === Protocol.LCP) this.#automaton.protocolRejected(this.#now);
    else this.#network?.protocolRejected(protocol, this.#now);
  }

  #rejectProtocol(protocol: number, frame: Uint8Array): false {
    if (!this.#rejects.take(this.#now)) return false;
    this.#counters.protocolRejects += 1;
    const room = Math.max(0, this.#lcp.peer.mru - 6);
    const data = Uint8Array.of(...bytesOf(protocol, 2), ...frame.subarray(2, 2 + room));
    this.#automaton.sendPacket(Code.PROTOCOL_REJECT, this.#automaton.nextId(), data);
    return false;
  }
}
