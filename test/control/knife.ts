// Ends a controller at its k-th write, before or after the store has it: nothing of it goes on from
// there, as after kill -9. In the test's own process, so that every step can be tried.
import { Bucket, type Link } from "../../control/nats/index.js";

/** What controllers write by themselves, and what is no controller's. */
const UNCOUNTED = /^(heartbeat|config|accounts|servers)$|^(admins|nodes|endpoints)\./;
const never = new Promise<never>(() => undefined);
const dead = new WeakSet<Link>();
const knives = new Map<string, Knife>();

export class Knife {
  /** Settles when the controller was ended. */
  readonly cut: Promise<"cut">;
  /** Keys in the order they were written. */
  readonly keys: string[] = [];
  #settle: () => void = () => undefined;
  #left: number;

  /** At the `at`-th write (from 1) of any controller at that server (host:port). */
  constructor(
    readonly server: string,
    at: number,
    readonly after: boolean,
  ) {
    this.#left = at;
    this.cut = new Promise((resolve) => {
      this.#settle = () => resolve("cut");
    });
    knives.set(server, this);
  }

  /** No more cuts; what was ended stays so. */
  drop(): void {
    if (knives.get(this.server) === this) knives.delete(this.server);
  }

  /** Whether this write is the one; `key` is noted. */
  falls(key: string): boolean {
    this.keys.push(key);
    this.#left--;
    return this.#left === 0;
  }

  end(link: Link): void {
    this.drop();
    dead.add(link);
    void link.connection.close();
    this.#settle();
  }
}

const { put, get } = Bucket.prototype;

Bucket.prototype.put = async function cutPut(this: Bucket, ...args: Parameters<typeof put>) {
  const { link } = this;
  if (dead.has(link)) return never;
  const isController = link.inbox.startsWith("_INBOX_CTL_");
  const knife = isController ? knives.get(link.connection.getServer()) : undefined;
  if (knife === undefined || UNCOUNTED.test(args[0]) || !knife.falls(args[0])) {
    return put.apply(this, args);
  }
  if (knife.after) await put.apply(this, args);
  knife.end(link);
  return never;
};

Bucket.prototype.get = async function cutGet(this: Bucket, ...args: Parameters<typeof get>) {
  const found = dead.has(this.link) ? never : get.apply(this, args);
  const entry = await found;
  return dead.has(this.link) ? never : entry;
};
