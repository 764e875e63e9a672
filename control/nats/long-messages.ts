// A message that comes in pieces gets room for all of it with its first piece. The stock client
// (2.29) makes a larger buffer again and again, up to four times what the message takes: a member
// that reads thousands of records in pages had more work with that than with reading them.
import type { NatsConnection } from "nats";

/** The part of the client's parser that is used here. */
interface Parser {
  /** Of the message that comes now: how long it is by the server's word. */
  ma?: { size: number };
  /** What came of it until now; undefined where it came in one piece, or none comes. */
  msgBuf?: Growing | undefined;
  begun?: Growing | undefined;
}

interface Growing {
  readonly length: number;
  grow(bytes: number): void;
}

interface Inside {
  protocol?: { parser?: Parser };
}

/** A server takes no longer ones, if nobody told it to: what one says alone is not believed. */
const room_max = 1_048_576;

function makeRoom(begun: Growing, whole: number): void {
  const missing = Math.min(whole, room_max) - begun.length;
  if (missing > 0) begun.grow(missing);
}

/** From now on, for all connections of this process. */
export function makeRoomAtOnce(connection: NatsConnection): void {
  const { parser } = (connection as unknown as Inside).protocol ?? {};
  // Each reconnect has a parser of its own.
  const shared: object | null = parser === undefined ? null : Object.getPrototypeOf(parser);
  if (shared === null || Object.hasOwn(shared, "msgBuf")) return;
  Object.defineProperty(shared, "msgBuf", {
    configurable: true,
    get(this: Parser) {
      return this.begun;
    },
    set(this: Parser, begun: Growing | undefined) {
      if (begun !== undefined) makeRoom(begun, this.ma?.size ?? 0);
      this.begun = begun;
    },
  });
}
