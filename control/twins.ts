// Two agents with one node key, as a copied disk makes them: the one that was there first goes on,
// the other is told and ends its session before it writes anything. They ask each other, so no
// controller is needed; ages are of the monotonic clock, so clocks that jump do not matter.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import * as check from "./check.js";
import { fieldsOf } from "./check.js";
import { ControlError, type ControlLog } from "./errors.js";
import { keyOf } from "./keys.js";
import type { Ledger } from "./ledger.js";
import type { Link, Message } from "./nats/index.js";
import { inboxOf, isControllerReply, isOwnReply, subjectsOf } from "./subjects.js";

/** Where an agent runs. */
export interface Place {
  /** One process. */
  run: string;
  host: string;
  bootId: string;
  /** Its first address on the underlay; "" when it has none. */
  address: string;
}

/** What one that holds the key says of itself. */
interface Word extends Place {
  /** Milliseconds since nobody else was found to have the key; -1: it has only begun to ask. */
  alone_ms: number;
  /** It runs where the node's record in the store says. */
  home: boolean;
}

/** Nobody else has this process' number. */
const ownRun = randomBytes(8).toString("hex");
const answer_ms = 1_000;
const same_ms = 200;
/** The other's connection is made anew within this time after an outage (link.ts). */
const away_ms = 6_000;
const again_ms = 30_000;

/** This process on this host; `underlay`: what it advertises, when that is known. */
export function thisPlace(underlay?: string): Place {
  const [address = ""] = underlay === undefined ? localAddresses() : [underlay];
  return { run: ownRun, host: hostname().slice(0, 63), bootId: ownBoot(), address };
}

function ownBoot(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}

/** Addresses of this host that others may know it by. */
function localAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
    .map(({ address }) => address);
}

/** Whether the node's record says that it ran here last; without one it has run nowhere. */
export function ranHere(ledger: Ledger, nodeId: string): boolean {
  const record = ledger.get<"nodes">(keyOf.node(nodeId))?.record;
  const own = localAddresses();
  return record?.underlay.addresses.some((address) => own.includes(address)) ?? true;
}

/** Reads what came from outside. @throws Refused */
export function readPlace(value: unknown): Place {
  const fields = fieldsOf(value, "a place");
  const short = (name: string) => check.text(fields, name, 64);
  const place = { run: short("run"), host: short("host"), bootId: short("bootId") };
  return { ...place, address: short("address") };
}

function readWord(text: string): Word {
  const value: unknown = JSON.parse(text);
  const { alone_ms, home } = fieldsOf(value, "a word");
  if (typeof alone_ms !== "number" || !Number.isFinite(alone_ms)) throw new Error("no age");
  return { ...readPlace(value), alone_ms, home: home === true };
}

/** One line that names both. */
export function duplicateError(name: string, there: Place, here: Place): ControlError {
  const at = ({ host, address, bootId }: Place) =>
    `host ${host} (${address === "" ? "no address" : address}, boot ${bootId.slice(0, 8)})`;
  const what =
    `node ${name} runs on ${at(there)} already: its key may not be used on ${at(here)}, too; ` +
    "if this disk is a copy, remove node.key from the state directory here and join with a " +
    'token; if the node has moved here, end the other and remove "duplicate.json"';
  return new ControlError("MESHD_DUPLICATE_NODE", what);
}

export interface TwinsOptions {
  mesh: string;
  nodeId: string;
  /** Where this one runs. */
  place: () => Place;
  /** Whether it runs where the node's record says, as far as that is known. */
  home: () => boolean;
  /** Milliseconds in which one that does not looks out for the other; default 6,000. */
  away_ms?: number;
  /** The node's name in the error. */
  name: () => string;
  /** The other was first: MESHD_DUPLICATE_NODE, naming both. Called once. */
  onDuplicate: (error: ControlError) => void;
  log: ControlLog;
}

export class Twins {
  readonly #options: TwinsOptions;
  readonly #subject: string;
  /** Of this object: its own questions come back to it. */
  readonly #id = randomBytes(8).toString("hex");
  /** By the other's run: whether it yields. Said once, it stays so. */
  readonly #verdicts = new Map<string, boolean>();
  #since: number | null = null;
  #found: ControlError | null = null;
  #timer: NodeJS.Timeout | null = null;
  #ended = false;

  constructor(options: TwinsOptions) {
    this.#options = options;
    this.#subject = subjectsOf(options.mesh).agent(options.nodeId, "twin");
  }

  /** MESHD_DUPLICATE_NODE when the node's key is in use elsewhere, and was there first. */
  get duplicate(): ControlError | null {
    return this.#found;
  }

  /** Waits until it is known whether this one may speak for the node, at most so long. */
  async settled(timeout_ms: number): Promise<void> {
    const end = performance.now() + timeout_ms;
    while (this.#found === null && this.#since === null && performance.now() < end) {
      await sleep(20);
    }
    if (this.#found !== null) throw this.#found;
  }

  /** Whether the node's record, as far as that is known, says that it ran here last. */
  get isHome(): boolean {
    return this.#since !== null || this.#options.home();
  }

  /**
   * Whether this one may speak for the node over a new link. One that runs where the node did not
   * run last looks out for a while: after an outage the other may be about to come back.
   */
  async admit(link: Link): Promise<boolean> {
    const end = performance.now() + (this.isHome ? 0 : (this.#options.away_ms ?? away_ms));
    // At once known when nobody listens there; then those that begin in the same moment.
    await this.#ask(link);
    link.subscribe(this.#subject, (message) => this.#hear(message));
    await this.#ask(link, same_ms);
    while (this.#found === null && !this.#ended && performance.now() < end && link.connected) {
      await sleep(Math.min(answer_ms, end - performance.now()));
      await this.#ask(link);
    }
    if (this.#found !== null || this.#ended) return false;
    this.#since ??= performance.now();
    const ask = () => void this.#ask(link);
    link.on("connected", ask);
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = setInterval(ask, again_ms);
    return true;
  }

  close(): void {
    this.#ended = true;
    if (this.#timer) clearInterval(this.#timer);
  }

  #word(): Word & { id: string } {
    const alone_ms = this.#since === null ? -1 : performance.now() - this.#since;
    return { id: this.#id, ...this.#options.place(), alone_ms, home: this.isHome };
  }

  async #ask(link: Link, wait_ms = answer_ms): Promise<void> {
    if (this.#found !== null || !link.connected) return;
    try {
      const { text } = await link.request(this.#subject, JSON.stringify(this.#word()), wait_ms);
      const other = readWord(text);
      const yields = this.#judge(other) ?? fieldsOf(JSON.parse(text), "an answer").yields;
      if (yields === this.#run) this.#yieldTo(other);
      else if (yields === other.run) this.#tell(link, other);
    } catch (error) {
      const code = error instanceof ControlError ? error.code : "";
      // Nobody is there, or what listens there is dead.
      if (code === "MESHD_NO_CONTROLLER" || code === "MESHD_TIMEOUT") return;
      this.#options.log("twin-not-asked", { reason: String(error) });
    }
  }

  /** Another's question, what a judge says, or a controller's look before a join. */
  #hear({ subject, text, reply, respond }: Message): void {
    const isOwn = isOwnReply(reply, inboxOf.node(this.#options.nodeId));
    // The server delivers a member's records wherever that member says, here too, but under reply
    // subjects of its own: any member could end any other's agent by what it writes of itself.
    if (!isOwn && !isControllerReply(reply)) {
      this.#options.log("reply-refused", { subject, reply: reply ?? "" });
      return;
    }
    try {
      const value = fieldsOf(JSON.parse(text), "a question");
      if (value.id === this.#id || this.#found !== null) return;
      const other = value.alone_ms === undefined ? null : readWord(text);
      const yields = (other && this.#judge(other)) ?? value.yields;
      respond(JSON.stringify({ ...this.#word(), yields }));
      if (isOwn && other !== null && yields === this.#run) this.#yieldTo(other);
    } catch (error) {
      this.#options.log("twin-not-understood", { reason: String(error) });
    }
  }

  /**
   * Whose run yields. One of both judges, the one with the lower number, and says it once: so it is
   * never both, nor now this one and then the other. undefined: the other judges, or it is us.
   */
  #judge(other: Word): string | undefined {
    if (this.#run >= other.run) return undefined;
    const known = this.#verdicts.get(other.run);
    const isFirst = known ?? goesFirst(this.#word(), other);
    this.#verdicts.set(other.run, isFirst);
    if (known === undefined) this.#options.log("twin-judged", { ...other, isFirst });
    return isFirst ? other.run : this.#run;
  }

  get #run(): string {
    return this.#options.place().run;
  }

  /** The one that asked is the judge, and the other has not heard what it says. */
  #tell(link: Link, other: Place): void {
    if (this.#run > other.run) return;
    const text = JSON.stringify({ ...this.#word(), yields: other.run });
    // Nobody listens there: it shows that whoever says this has the node's credentials.
    link.publish(this.#subject, text, `${inboxOf.node(this.#options.nodeId)}.told`);
  }

  #yieldTo(other: Place): void {
    if (this.#found !== null) return;
    const { name, place, onDuplicate } = this.#options;
    this.#found = duplicateError(name(), other, place());
    this.close();
    onDuplicate(this.#found);
  }
}

/** Who was alone with the key for longer, else who runs where the node ran last. */
function goesFirst(one: Word, other: Word): boolean {
  if (one.alone_ms >= 0 !== other.alone_ms >= 0) return one.alone_ms >= 0;
  if (one.alone_ms >= 0) return one.alone_ms >= other.alone_ms;
  return one.home || !other.home;
}

/** Who uses a node's key now beside the asking process; null: nobody who answers. */
export async function whoRuns(
  link: Link,
  mesh: string,
  nodeId: string,
  asking: Place | null,
): Promise<Place | null> {
  try {
    const subject = subjectsOf(mesh).agent(nodeId, "twin");
    const place = readPlace(JSON.parse((await link.request(subject, "{}", answer_ms)).text));
    return place.run === asking?.run ? null : place;
  } catch {
    return null;
  }
}
