// A connection that was long in coming stays no second one: against a server of a few lines that
// keeps one dial waiting, as a path does that is cut one way.
import { createServer, type Socket } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createKey, Link } from "../../control/nats/index.js";
import { cutOff, listen } from "../support/ports.js";
import { until } from "../support/wait.js";

const DIAL_MS = 300;
const INFO = `INFO ${JSON.stringify({
  ...{ server_id: "S", version: "2.9.10", proto: 1, headers: true, max_payload: 1_048_576 },
})}\r\n`;

/** What nats-server says to a client that only connects and pings. */
function greet(socket: Socket): void {
  socket.write(INFO);
  socket.on("data", (bytes) => {
    const pings = bytes.toString("latin1").split("PING\r\n").length - 1;
    socket.write("PONG\r\n".repeat(pings));
  });
}

test("a dial that timed out and connects after all is ended by the client itself", async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    // The second one waits for its first word.
    if (sockets.length !== 2) greet(socket);
  });
  const port = await listen(server);
  const { seed } = createKey("user");
  const user = () => ({ jwt: "a.b.c", seed });
  const options = { servers: [`nats://127.0.0.1:${port}`], user, inbox: "_INBOX_t", name: "t" };
  const link = await Link.open(options, DIAL_MS);
  try {
    await link.reconnect();
    await until("a third dial is taken", () => sockets.length === 3 && link.connected);
    const [, late, good] = sockets;
    assert.ok(late && good);
    if (!late.destroyed) greet(late);
    await until("the late one is ended", () => late.destroyed || late.readableEnded);
    await link.connection.flush();
    assert.is(sockets.length, 3, "no dial came of it");
    assert.not(good.destroyed);
  } finally {
    await link.close();
    await cutOff(server, sockets);
  }
});

test.run();
