// Messages that come in pieces: against a server of a few lines that says how long one is, and
// sends it bit by bit.
import { createServer, type Socket } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createKey, Link } from "../../control/nats/index.js";
import { cutOff, listen } from "../support/ports.js";
import { until } from "../support/wait.js";

const INFO = `INFO ${JSON.stringify({
  ...{ server_id: "S", version: "2.9.10", proto: 1, headers: true, max_payload: 1_048_576 },
})}\r\n`;
const PIECE = 16_384;

interface Parser {
  msgBuf?: { readonly length: number; readonly capacity: number };
}

/** A connection to a server that answers pings, and that server's end of it. */
async function connected(work: (link: Link, socket: Socket, parser: Parser) => Promise<void>) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.write(INFO);
    socket.on("data", (bytes) => {
      const pings = bytes.toString("latin1").split("PING\r\n").length - 1;
      socket.write("PONG\r\n".repeat(pings));
    });
  });
  const port = await listen(server);
  const { seed } = createKey("user");
  const user = () => ({ jwt: "a.b.c", seed });
  const servers = [`nats://127.0.0.1:${port}`];
  const link = await Link.open({ servers, user, inbox: "_INBOX_t", name: "t" });
  const { protocol } = link.connection as unknown as { protocol: { parser: Parser } };
  try {
    await work(link, sockets[0] as Socket, protocol.parser);
  } finally {
    await link.close();
    await cutOff(server, sockets);
  }
}

/** Different at each place, so that a piece that is lost or comes twice is seen. */
function longText(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, at) => 33 + ((at * 7 + (at >> 8)) % 90)));
}

test("a message that comes in pieces is whole, and its first piece made room for all", async () => {
  await connected(async (link, socket, parser) => {
    const heard: Buffer[] = [];
    link.subscribe("s", ({ bytes }) => heard.push(Buffer.from(bytes)));
    await link.connection.flush();
    for (const length of [PIECE, 262_144, 1_048_576, 0, 3]) {
      const text = longText(length);
      const wire = Buffer.concat([Buffer.from(`MSG s 1 ${length}\r\n`), text, Buffer.from("\r\n")]);
      const rooms = new Set<number>();
      for (let at = 0; at < wire.length; at += PIECE) {
        const last = Math.min(at + PIECE, wire.length);
        socket.write(wire.subarray(at, last));
        const isWhole = last === wire.length;
        const there = () => (isWhole ? heard.length > 0 : (parser.msgBuf?.length ?? 0) > last - 64);
        await until("the piece is read", there);
        if (!isWhole) rooms.add(parser.msgBuf?.capacity ?? 0);
      }
      assert.equal(heard.pop(), text, `${length} bytes`);
      assert.ok(rooms.size <= 1, `${rooms.size} buffers were made for ${length} bytes`);
    }
  });
});

test("a length that no message of a server has makes room for no such message", async () => {
  await connected(async (link, socket, parser) => {
    link.subscribe("s", () => undefined);
    await link.connection.flush();
    socket.write(`MSG s 1 ${2 ** 40}\r\nabc`);
    await until("the piece is read", () => (parser.msgBuf?.length ?? 0) === 3);
    assert.ok((parser.msgBuf?.capacity ?? Infinity) < 1.1 * 1_048_576);
  });
});

test.run();
