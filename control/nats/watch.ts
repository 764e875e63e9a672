// One watch of a bucket: a full listing, then changes, over a push consumer. It says when it lost
// something or fell silent; its owner then starts a new one. A watch is never trusted to be alive
// (known to die silently after reconnects).
import type { Msg, Subscription } from "nats";
import type { Bucket, Entry } from "./bucket.js";
import { Silence } from "./silence.js";

export interface WatchHandlers {
  entry(entry: Entry): void;
  /** Every key's last value was delivered. */
  listed(): void;
  /** The watch is of no more use. `isSilent`: nothing at all came of it. */
  lost(reason: string, isSilent: boolean): void;
}

/** Idle heartbeats come every 3 s (bucket.ts): two were missed. */
const silence_max_ms = 6_500;
let generation = 0;

/**
 * Numbers in the reply subject of a delivery:
 * `$JS.ACK[.<domain>.<account>].<stream>.<consumer>.<tries>.<stream seq>.<consumer
 * seq>.<time>.<pending>[.<random>]`.
 */
function deliveryOf(reply: string): Delivery | null {
  const tokens = reply.split(".");
  if (tokens.length < 9 || tokens[0] !== "$JS" || tokens[1] !== "ACK") return null;
  const at = tokens.length >= 11 ? 6 : 4;
  const [revision, index, time_ns = 0, pending] = tokens.slice(at + 1, at + 5).map(Number);
  if (revision === undefined || index === undefined || pending === undefined) return null;
  return { revision, index, time_ms: time_ns / 1e6, pending };
}

interface Delivery {
  revision: number;
  index: number;
  /** When the message was stored. */
  time_ms: number;
  pending: number;
}

export class Watch {
  readonly #bucket: Bucket;
  readonly #consumer: string;
  readonly #handlers: WatchHandlers;
  readonly #subscription: Subscription;
  readonly #silence = new Silence(silence_max_ms, () => this.#lose("it fell silent", true));
  #last = 0;
  #revision = 0;
  #listed = false;
  #ended = false;

  private constructor(bucket: Bucket, consumer: string, deliver: string, handlers: WatchHandlers) {
    this.#bucket = bucket;
    this.#consumer = consumer;
    this.#handlers = handlers;
    this.#subscription = bucket.link.connection.subscribe(deliver, {
      callback: (error, message) => (error ? this.#lose(error.message) : this.#receive(message)),
    });
    this.#silence.watch();
  }

  /**
   * Starts one under the consumer name given; an earlier one of that name ends. With `since` it
   * lists what was written after that revision. MESHD_TIMEOUT when the server does not answer.
   */
  static async start(
    bucket: Bucket,
    consumer: string,
    handlers: WatchHandlers,
    limits: { timeout_ms?: number; since?: number } = {},
  ): Promise<Watch> {
    generation++;
    const deliver = `${bucket.link.inbox}.watch.${process.pid}-${generation}`;
    const watch = new Watch(bucket, consumer, deliver, handlers);
    watch.#revision = limits.since ?? 0;
    try {
      const { pending } = await bucket.addConsumer(consumer, deliver, limits);
      if (pending === 0) watch.#markListed();
    } catch (error) {
      watch.#end();
      throw error;
    }
    return watch;
  }

  /** Highest revision that it delivered: a store with a higher one has what we did not get. */
  get revision(): number {
    return this.#revision;
  }

  /** It keeps nothing back. */
  async refresh(): Promise<void> {}

  /** Ends it; `remove` also takes the consumer off the server. */
  async stop(remove: boolean): Promise<void> {
    if (this.#ended) return;
    this.#end();
    if (remove) await this.#bucket.removeConsumer(this.#consumer);
  }

  #end(): void {
    this.#ended = true;
    this.#silence.end();
    this.#subscription.unsubscribe();
  }

  #lose(reason: string, isSilent = false): void {
    if (this.#ended) return;
    this.#end();
    this.#handlers.lost(reason, isSilent);
  }

  #markListed(): void {
    if (this.#listed || this.#ended) return;
    this.#listed = true;
    this.#handlers.listed();
  }

  #receive(message: Msg): void {
    if (this.#ended) return;
    this.#silence.hear();
    // Statuses and markers carry nothing; to look into the headers of each value takes longer than
    // all else here.
    const isEmpty = message.data.length === 0;
    if (isEmpty && message.headers?.code === 100) {
      this.#receiveStatus(message);
      return;
    }
    const delivery = message.reply ? deliveryOf(message.reply) : null;
    if (!delivery) return;
    if (delivery.index !== this.#last + 1) {
      this.#lose("a delivery was lost");
      return;
    }
    this.#last = delivery.index;
    this.#revision = Math.max(this.#revision, delivery.revision);
    const key = message.subject.slice(this.#bucket.subject("").length);
    const deleted = isEmpty && (message.headers?.has("KV-Operation") ?? false);
    const value = Buffer.from(message.data).toString("utf8");
    const { revision, time_ms } = delivery;
    this.#handlers.entry({ key, revision, value, deleted, time_ms });
    if (delivery.pending === 0) this.#markListed();
  }

  /**
   * Flow control asks for an answer; an idle heartbeat tells the last delivery, which we must have.
   */
  #receiveStatus(message: Msg): void {
    if (message.reply) message.respond();
    const stalled = message.headers?.get("Nats-Consumer-Stalled") ?? "";
    if (stalled !== "") this.#bucket.link.publish(stalled, "");
    const last = message.headers?.get("Nats-Last-Consumer") ?? "";
    if (last !== "" && Number(last) > this.#last) this.#lose("a delivery was lost");
  }
}
