// A member's connection to NATS, opened for as long as the session lasts.
import type { ControlError } from "../errors.js";
import { Link, type LinkOptions } from "../nats/index.js";

export interface LinkKeeping {
  /** Looked at for each link anew: servers and credentials change. */
  options(): LinkOptions;
  /** Ends the keeping. */
  signal: AbortSignal;
  /** False: no further link is wanted. */
  isWanted(): boolean;
  /** Hears of each round in which no server answered. */
  failed(error: ControlError): void;
  /** Sets a link up. Rejects when it cannot be used: it is closed then. */
  begin(link: Link): Promise<void>;
  /** Hears why a link could not be set up. */
  notBegun(reason: string): void;
}

/**
 * Opens a link, again whenever one has ended for good (credentials that ended while it was up).
 */
export async function keepLink(keeping: LinkKeeping): Promise<void> {
  const { signal } = keeping;
  while (!signal.aborted && keeping.isWanted()) {
    const link = await Link.openForever(keeping.options(), signal, keeping.failed);
    if (!link) return;
    const closed = new Promise((resolve) => link.once("closed", resolve));
    // It may end while it is being set up: then there is another one soon.
    await keeping.begin(link).catch((error) => {
      keeping.notBegun(String(error));
      if (!signal.aborted) return link.close();
    });
    await closed;
  }
}
