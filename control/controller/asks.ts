// One request may be done by two controllers: when no answer comes for a while it is asked again
// of another (answer.ts), and the first, held up meanwhile, does it late. Such an echo must not
// undo what came after: each record keeps the last requests that wrote it, under their ids.
import { AsyncLocalStorage } from "node:async_hooks";
import { ControlError } from "../errors.js";
import type { Endpoint } from "../nats/index.js";

const current = new AsyncLocalStorage<string | undefined>();

/** Changes of one record while an echo may still come: far more than people make. */
const kept_max = 16;
/** What wrote without being asked. */
const UNASKED = "-";

/** The endpoint, with all that it writes under the id of the request. */
export function underItsAsk(endpoint: Endpoint): Endpoint {
  return { ...endpoint, handle: (request) => doneFor(request.ask, () => endpoint.handle(request)) };
}

/** Does work for a request of that id. */
export function doneFor<T>(ask: string | undefined, work: () => Promise<T>): Promise<T> {
  return current.run(ask, work);
}

/** What a record is to keep that is written now; `before`: what it kept, the newest last. */
export function withThisAsk(before: readonly string[]): string[] {
  const ask = current.getStore() ?? UNASKED;
  if (ask === before.at(-1) || (ask === UNASKED && before.length === 0)) return [...before];
  return [...before, ask].slice(-kept_max);
}

/** Whether a request is done now that the record does not name as its last. */
export function isNews(asks: readonly string[]): boolean {
  const ask = current.getStore();
  return ask !== undefined && ask !== asks.at(-1);
}

/**
 * Refuses the echo of a request that wrote a record which another changed since. MESHD_CONFLICT.
 */
export function refuseEcho(key: string, asks: readonly string[]): void {
  const ask = current.getStore();
  if (ask === undefined || !asks.includes(ask) || asks.at(-1) === ask) return;
  const what =
    `this request was done, and what it wrote (${key}) was changed again since: it is not done ` +
    "twice; look, and ask anew if it is still wanted";
  throw new ControlError("MESHD_CONFLICT", what);
}
