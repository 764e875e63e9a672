// One connection to NATS under one user: connect, requests, subscriptions, reconnecting for ever
// with jittered back-off.
import { EventEmitter, once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import {
  connect,
  DebugEvents,
  Events,
  type Msg,
  type NatsConnection,
  NatsError,
  type Subscription,
  type TlsOptions,
} from "nats";
import { ControlError } from "../errors.js";
import { type TrustedAuthorities, tlsErrorOf, tlsOptions } from "../tls/index.js";
import { signingKey } from "./keys.js";
import { type Answer, askOf, type Message, readAnswer, readMessage } from "./message.js";
import { keepOneTransport } from "./one-transport.js";

export interface User {
  jwt: string;
  seed: string;
}

export interface LinkOptions {
  servers: string[];
  /** Read at every connection attempt, so that renewed credentials come into force. */
  user: () => User;
  /** Whose servers are believed, read at every connection attempt. Default: none is known. */
  ca?: () => TrustedAuthorities;
  inbox: string;
  /** Shown by the server's monitoring. */
  name: string;
}

interface Shown {
  certificate: { begins: Date; ends: Date } | null;
}

/** A server gets so long to take a connection: more after each that it did not. */
const open_min_ms = 5_000;
const open_max_ms = 20_000;
const reconnect_min_ms = 100;
const reconnect_max_ms = 3_000;
/** Goodbye and end: together less than half a second, whatever the server does. */
const goodbye_max_ms = 300;
const end_max_ms = 150;
const end_spread_ms = 2_000;
/** Two unanswered pings end a connection: a host that lost its network knows within 15 s. */
const ping_ms = 5_000;

/**
 * Events: "connected", "disconnected", "error" is never emitted, "permission" (operation, subject),
 * "refused" (the credentials, when it connects again),
 * "closed".
 */
export class Link extends EventEmitter {
  #connected = true;
  private constructor(
    /** For this room only. */
    readonly connection: NatsConnection,
    readonly inbox: string,
    backoff: Backoff,
    private readonly shown: Shown,
  ) {
    super();
    // Each request under way listens for the end of the connection.
    this.setMaxListeners(0);
    void this.#followStatus(backoff);
    void connection.closed().then(() => {
      this.#connected = false;
      this.emit("closed");
    });
  }

  /**
   * One round over the servers. MESHD_NO_NATS when none answers, MESHD_PERMISSION when the
   * credentials are refused, MESHD_TLS_MISMATCH, MESHD_TLS_MISSING when who answers is no server of
   * the mesh: no credential was used then.
   */
  static async open(options: LinkOptions, timeout_ms = open_min_ms): Promise<Link> {
    const backoff = new Backoff();
    if (options.servers.length === 0) {
      throw new ControlError("MESHD_NO_NATS", "no NATS server is named; give one with --nats URL");
    }
    const shown: Shown = { certificate: null };
    const tls = tlsOptions(options.servers, options.ca ?? (() => null), (peer) => {
      shown.certificate = { begins: new Date(peer.valid_from), ends: new Date(peer.valid_to) };
    });
    try {
      const connection = await connect({
        servers: options.servers,
        ...(tls === undefined ? {} : { tls: tls as TlsOptions }),
        authenticator: (nonce) => authenticate(options.user(), nonce ?? ""),
        inboxPrefix: options.inbox,
        name: options.name,
        timeout: timeout_ms,
        maxReconnectAttempts: -1,
        reconnectDelayHandler: () => backoff.wait_ms,
        ignoreAuthErrorAbort: true,
        // Else one that refuses our credentials adds the others of its cluster to those that are
        // still to be tried, over and over, and nobody hears of the refusal.
        ignoreClusterUpdates: true,
        pingInterval: ping_ms,
        // Else two stack traces are taken for each request, which nobody reads.
        noAsyncTraces: true,
      });
      keepOneTransport(connection);
      return new Link(connection, options.inbox, backoff, shown);
    } catch (cause) {
      throw connectError(options.servers, cause);
    }
  }

  /**
   * Tries until a server answers or the signal aborts (null); `onFailure` hears each failed round.
   */
  static async openForever(
    options: LinkOptions,
    signal: AbortSignal,
    onFailure: (error: ControlError) => void,
  ): Promise<Link | null> {
    const backoff = new Backoff();
    let timeout_ms = open_min_ms;
    while (!signal.aborted) {
      try {
        const link = await Link.open(options, timeout_ms);
        if (!signal.aborted) return link;
        await link.close();
      } catch (error) {
        if (!(error instanceof ControlError)) throw error;
        onFailure(error);
        // It may be slow, or this host: what was begun is begun anew each time.
        timeout_ms = Math.min(2 * timeout_ms, open_max_ms);
      }
      await sleep(backoff.wait_ms, undefined, { signal }).catch(() => undefined);
      backoff.advance();
    }
    return null;
  }

  async #followStatus(backoff: Backoff): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === Events.Disconnect) {
        this.#connected = false;
        this.emit("disconnected");
      } else if (status.type === Events.Reconnect) {
        this.#connected = true;
        backoff.reset();
        this.emit("connected");
      } else if (status.type === DebugEvents.Reconnecting) {
        backoff.advance();
      } else if (status.type === Events.Error && status.permissionContext) {
        const { operation, subject } = status.permissionContext;
        this.emit("permission", operation, subject);
      } else if (status.type === Events.Error && String(status.data).startsWith("AUTH")) {
        this.emit("refused");
      }
    }
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Closed for good: waiting for an answer is in vain. */
  get ended(): boolean {
    return this.connection.isClosed();
  }

  /** Gives the connection up and makes a new one: its local address is gone, and it would hang. */
  reconnect(): Promise<void> {
    return this.connection.reconnect();
  }

  /** Whether the server answers at all within that time: a connection may hang for long. */
  async answers(timeout_ms: number): Promise<boolean> {
    let answered = false;
    const asked = this.connection.flush().then(() => {
      answered = true;
    });
    await atMost(timeout_ms, asked);
    return answered;
  }

  /** host:port of the server in use. */
  get server(): string | null {
    return this.#connected ? this.connection.getServer() : null;
  }

  /** Bytes of a message that the server takes at most. */
  get payload_max(): number {
    return this.connection.info?.max_payload ?? 1_048_576;
  }

  /** How long the certificate lasts that the server showed; null: it showed none. */
  get certificate(): Shown["certificate"] {
    return this.shown.certificate;
  }

  /** Whether TLS protects the connection: the client takes it wherever the server has it. */
  get encrypted(): boolean {
    const { tls_required, tls_available } = this.connection.info ?? {};
    return tls_required === true || tls_available === true;
  }

  /**
   * One request, one answer as text. Errors that the service sent become ControlErrors through
   * `fromService`; MESHD_TIMEOUT, MESHD_NO_CONTROLLER (nobody listens), MESHD_PERMISSION,
   * MESHD_NO_NATS. `ask`: what the receiver may know it by when it comes twice.
   */
  async request(subject: string, text: string, timeout_ms: number, ask?: string): Promise<Answer> {
    await this.#whenConnected(timeout_ms);
    const options = { timeout: timeout_ms, ...(ask === undefined ? {} : { headers: askOf(ask) }) };
    let lose: () => void = () => undefined;
    // An answer cannot come any more once the connection broke.
    const lost = new Promise<never>((_, reject) => {
      lose = () => reject(new Error("the connection broke before the answer came"));
    });
    this.once("disconnected", lose);
    try {
      return readAnswer(
        await Promise.race([this.connection.request(subject, text, options), lost]),
      );
    } catch (cause) {
      throw requestError(subject, cause);
    } finally {
      this.off("disconnected", lose);
    }
  }

  /** When the credentials are refused as it connects again. Only ever rejects: MESHD_PERMISSION. */
  async whenRefused(signal: AbortSignal): Promise<never> {
    await once(this, "refused", { signal });
    const what = "the NATS servers refuse the credentials: they ended or were revoked meanwhile";
    throw new ControlError("MESHD_PERMISSION", what);
  }

  /** What is sent while disconnected is lost: wait for the connection instead. */
  async #whenConnected(timeout_ms: number): Promise<void> {
    if (this.#connected) return;
    const signal = AbortSignal.timeout(Math.max(Math.ceil(timeout_ms), 0));
    await once(this, "connected", { signal }).catch((cause: unknown) => {
      const what = "the connection to NATS is down; try again when a server is reachable";
      throw new ControlError("MESHD_NO_NATS", what, { cause });
    });
  }

  publish(subject: string, text: string, reply?: string): void {
    this.connection.publish(subject, text, reply === undefined ? {} : { reply });
  }

  /** `refused`: these credentials may not listen there. */
  subscribe(
    subject: string,
    handler: (message: Message) => void,
    refused: (reason: string) => void = () => undefined,
  ): Subscription {
    const callback = (error: NatsError | null, message: Msg) => {
      if (error) refused(error.message);
      else handler(readMessage(message));
    };
    return this.connection.subscribe(subject, { callback });
  }

  /** For another one to other servers. Not all members of a mesh do it at the same moment. */
  endSoon(): void {
    setTimeout(() => void this.close(), Math.random() * end_spread_ms).unref();
  }

  /**
   * Ends the connection after a goodbye. What the server does not answer in time it cleans up by
   * itself: nobody waits for one that is dying.
   */
  async close(goodbye: () => Promise<unknown> = async () => undefined): Promise<void> {
    await atMost(goodbye_max_ms, goodbye());
    if (!this.connection.isClosed()) await atMost(end_max_ms, this.connection.close());
  }
}

/** Waits for work that may fail or take for ever, but no longer than this. */
async function atMost(wait_ms: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  const settled = work.catch(() => undefined);
  await Promise.race([settled, sleep(wait_ms, undefined, { signal: over.signal })]);
  over.abort();
}

/**
 * Doubles from 0.1 s to 3 s with each attempt; each wait is between half and the whole, so that a
 * thousand members do not come at once. The client asks for the wait many times per attempt: it
 * must not change in between.
 */
class Backoff {
  #whole_ms = reconnect_min_ms;
  wait_ms = reconnect_min_ms;
  advance(): void {
    this.wait_ms = this.#whole_ms * (0.5 + Math.random() / 2);
    this.#whole_ms = Math.min(this.#whole_ms * 2, reconnect_max_ms);
  }
  reset(): void {
    this.#whole_ms = reconnect_min_ms;
    this.wait_ms = reconnect_min_ms;
  }
}

/** Proof of a user's key: the server's nonce signed with it. */
function authenticate({ jwt, seed }: User, nonce: string) {
  const key = signingKey(seed);
  const sig = Buffer.from(key.sign(Buffer.from(nonce))).toString("base64url");
  return { jwt, nkey: key.publicKey, sig };
}

function connectError(servers: string[], cause: unknown): ControlError {
  const code = cause instanceof NatsError ? cause.code : "";
  if (code.startsWith("AUTH") || code === "ACCOUNT_EXPIRED") {
    const what =
      `${servers.join(",")} refused the credentials: they ended, were revoked, or are of ` +
      "another mesh";
    return new ControlError("MESHD_PERMISSION", what, { cause });
  }
  const unproven = tlsErrorOf(servers, cause);
  if (unproven !== null) return unproven;
  const why = cause instanceof Error ? cause.message : String(cause);
  const what =
    `no NATS server answers at ${servers.join(",")} (${why}); check that it runs and is ` +
    "reachable";
  return new ControlError("MESHD_NO_NATS", what, { cause });
}

function requestError(subject: string, cause: unknown): ControlError {
  const code = cause instanceof NatsError ? cause.code : "";
  if (code === "PERMISSIONS_VIOLATION") {
    const what = `these credentials may not use ${subject}`;
    return new ControlError("MESHD_PERMISSION", what, { cause });
  }
  if (code === "503") {
    const what =
      `nobody answers ${subject}: no controller (or agent) runs; start one with "meshd ` +
      `controller"`;
    return new ControlError("MESHD_NO_CONTROLLER", what, { cause });
  }
  if (code === "TIMEOUT") {
    const what = `no answer to ${subject} in time; try again`;
    return new ControlError("MESHD_TIMEOUT", what, { cause });
  }
  const why = cause instanceof Error ? cause.message : String(cause);
  return new ControlError("MESHD_NO_NATS", `${subject} could not be asked (${why})`, { cause });
}
