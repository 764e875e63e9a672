// Who makes the buckets: a nats-server that is asked twice at the same moment makes two streams of
// one name, and compare-and-set counts for nothing then (seen with 2.9.10). So controllers that
// find no buckets tell each other, and one of them makes them.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ControlError } from "../errors.js";
import type { Bucket, Link } from "../nats/index.js";

/** Far longer than a message between controllers takes. */
const hear_ms = 300;
const look_ms = 200;
/** How often the one whose turn it is may leave it undone (it died) before we give up. */
const turns_max = 10;
/** Looks at what the other makes, before a turn is taken anew. */
const looks_max = 15;

/**
 * Makes the buckets that are missing. True when the first was missing and this controller made it.
 * MESHD_NO_NATS, MESHD_TIMEOUT.
 */
export async function ensureBuckets(
  link: Link,
  subject: string,
  buckets: Bucket[],
  options: { replicas: number; value_max: number },
): Promise<boolean> {
  for (let turn = 0; turn < turns_max; turn++) {
    const missing = await missingOf(buckets);
    if (missing.length === 0) return false;
    if (await isOurTurn(link, subject)) {
      const still = await missingOf(buckets);
      for (const bucket of still) await bucket.make(options);
      return still.includes(buckets[0] as Bucket);
    }
    for (let look = 0; look < looks_max && (await missingOf(buckets)).length > 0; look++) {
      await sleep(look_ms);
    }
  }
  throw new ControlError("MESHD_TIMEOUT", "no controller makes the buckets; try again");
}

async function missingOf(buckets: Bucket[]): Promise<Bucket[]> {
  const there = await Promise.all(buckets.map((bucket) => bucket.exists()));
  return buckets.filter((_, index) => !there[index]);
}

/** The lowest of the random numbers that controllers tell at this moment has the turn. */
async function isOurTurn(link: Link, subject: string): Promise<boolean> {
  const own = randomBytes(8).toString("hex");
  const others = new Set<string>();
  const subscription = link.subscribe(subject, ({ text }) => {
    if (text === own || others.has(text)) return;
    others.add(text);
    // It may have begun to listen after ours was told.
    link.publish(subject, own);
  });
  link.publish(subject, own);
  await sleep(hear_ms);
  subscription.unsubscribe();
  return [...others].every((other) => own < other);
}
