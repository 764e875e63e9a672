// Control connections over TCP on loopback: dialling and serving, and a server among bad clients.
import { connect, createServer, type Socket } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  Collisions,
  type DialEnd,
  type DialedEnd,
  type DialOptions,
  dialPptp,
  type IncomingRequest,
  PptpServer,
  type ServerCall,
  type ServerOptions,
} from "../../src/pptp/index.js";
import { readMessage, writeMessage } from "../../src/pptp/messages.js";
import { until } from "../support/netns.js";
import { DIAL, PAC_ID, PNS_ID, START } from "./ends.js";

const HOST = "127.0.0.1";
const servers: PptpServer[] = [];
const raws: Raw[] = [];

interface Served {
  server: PptpServer;
  requests: IncomingRequest[];
  calls: ServerCall[];
  ends: [reason: string, statistics: string | undefined][];
  log: string[];
}

async function serve(options: Partial<ServerOptions> = {}): Promise<Served> {
  const served: Omit<Served, "server"> = { requests: [], calls: [], ends: [], log: [] };
  const server = await PptpServer.listen({
    address: HOST,
    port: 0,
    hostName: "server",
    onCall: (request, call) => {
      served.requests.push(request);
      served.calls.push(call);
      call.onEnd((...end) => served.ends.push([end[0], end[1]]));
      call.onStatistics(() => "rx 5");
      call.accept({ id: PAC_ID + served.calls.length, window: 32 });
    },
    log: (message, fields) => served.log.push(`${message} ${JSON.stringify(fields)}`),
    ...options,
  });
  servers.push(server);
  return { server, ...served };
}

// Also where a test failed: what listens would keep this process.
test.after.each(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  for (const { socket } of raws.splice(0)) socket.destroy();
});

interface Dial {
  up: DialedEnd[];
  ends: DialEnd[];
  clear: () => Promise<void>;
}

function dial(port: number, options: Partial<DialOptions> = {}): Dial {
  const up: DialedEnd[] = [];
  const ends: DialEnd[] = [];
  const place = { localAddress: HOST, address: HOST, port, hostName: "client" };
  const call = { callId: PNS_ID, window: 16, phoneNumber: "nodeA", timeout_ms: 20_000 };
  const dialed = dialPptp(
    { ...place, ...call, ...options },
    { connected: (end) => up.push(end), ended: (end) => ends.push(end) },
  );
  return { up, ends, clear: () => dialed.clear() };
}

/** A client of bytes; what comes back is kept, its end is awaited. */
class Raw {
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  isClosed = false;

  constructor(port: number, bytes: Uint8Array = new Uint8Array()) {
    this.socket = connect({ host: HOST, port });
    raws.push(this);
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      this.isClosed = true;
    });
    this.socket.on("data", (more) => {
      this.#bytes = Buffer.concat([this.#bytes, more]);
    });
    if (bytes.length > 0) this.socket.write(bytes);
  }

  /** The kind of the first message that came back. */
  get answer(): string {
    return this.#bytes.length < 16 ? "" : readMessage(this.#bytes).kind;
  }

  async closed(what: string): Promise<void> {
    await until(`the server ends ${what}`, () => this.isClosed);
  }
}

const ECHO = writeMessage({ kind: "echoRequest", identifier: 1 });
const HELLO = writeMessage({ kind: "startRequest", ...START });

test("a client dials, both tell ids and windows, and either side ends the call", async () => {
  const served = await serve();
  const { server } = served;
  for (const bySide of ["client", "server"]) {
    const client = dial(server.port);
    await until("the call is up", () => client.up.length === 1);
    const call = served.calls.at(-1);
    const end = { hostName: "server", vendor: "meshd", window: 32, address: HOST };
    assert.equal(client.up, [{ ...end, peerCallId: PAC_ID + served.calls.length }]);
    const { kind, source, phoneNumber, peerCallId, window } = served.requests.at(-1) ?? {};
    assert.equal([kind, source, phoneNumber], ["outgoing", HOST, "nodeA"]);
    assert.equal([peerCallId, window], [PNS_ID, 16]);
    assert.equal(server.peers, [HOST]);
    if (bySide === "client") await client.clear();
    else call?.clear("admin");
    await until("the client heard of it", () => client.ends.length === 1);
    await until("the connection is gone", () => server.status.connections === 0);
    assert.is(client.ends[0]?.code, "MESHD_PPTP_CALL");
  }
  assert.equal(
    served.ends.map(([reason]) => reason),
    ["cleared by the peer", "hung up: admin"],
  );
  assert.equal([server.peers, server.status.bad], [[], 0]);
  await server.stop();
});

test("an access server offers a call by TCP", async () => {
  const windows: number[] = [];
  const served = await serve({
    onCall: (request, call) => {
      assert.equal([request.kind, request.dialing], ["incoming", "tty4"]);
      call.onConnected(({ window }) => windows.push(window));
      call.accept({ id: PAC_ID, window: 24 });
    },
  });
  const nas = dial(served.server.port, { kind: "incoming", dialing: "tty4" });
  await until("the call is up", () => nas.up.length === 1 && windows.length === 1);
  assert.equal([nas.up[0]?.window, windows], [24, [16]]);
  await nas.clear();
  await served.server.stop();
});

test("dialling tells why it came to nothing", async () => {
  const refusing = await serve({ onCall: (_, call) => call.refuse("busy") });
  const refused = dial(refusing.server.port);
  await until("the refusal", () => refused.ends.length === 1);
  assert.equal(refused.ends, [{ code: "MESHD_PPTP_CALL", message: "refused: busy" }]);
  await refusing.server.stop();
  const nobody = dial(refusing.server.port);
  await until("no TCP", () => nobody.ends.length === 1);
  assert.is(nobody.ends[0]?.code, "MESHD_PPTP_CONNECT");
  await nobody.clear();

  const sockets: Socket[] = [];
  const mute = createServer((socket) => sockets.push(socket.on("error", () => undefined)));
  await new Promise<void>((resolve) => mute.listen(0, HOST, resolve));
  const address = mute.address();
  const { port } = typeof address === "object" && address !== null ? address : { port: 0 };
  const late = dial(port, { timeout_ms: 30 });
  await until("patience ends", () => late.ends.length === 1);
  assert.is(late.ends[0]?.code, "MESHD_PPTP_TIMEOUT");
  assert.match(late.ends[0]?.message ?? "", /takes no call in time/);
  await late.clear();
  const early = dial(port);
  await early.clear();
  assert.is(early.ends[0]?.code, "MESHD_PPTP_STOPPED");
  for (const socket of sockets) socket.destroy();
  mute.close();
});

test("bad clients are cut, each alone, while a good call goes on", async () => {
  const timers = { establish_ms: 400, message_ms: 300, callless_ms: 600, stop_ms: 200 };
  const served = await serve({ timers });
  const { server } = served;
  const good = dial(server.port);
  await until("the good call is up", () => good.up.length === 1);
  const badLength = Uint8Array.from(HELLO);
  badLength[1] = 0x9d;
  const reply = writeMessage({ kind: "echoReply", identifier: 1, result: 1, error: 0 });
  const bad: [string, Uint8Array][] = [
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["a wrong length", badLength],
    ["a call before the start", writeMessage(DIAL)],
    ["noise", Buffer.alloc(100_000, 0x5a)],
    ["silence", new Uint8Array()],
    ["half a message", HELLO.subarray(0, 100)],
    ["one byte", HELLO.subarray(0, 1)],
    ["half a message behind the start", Buffer.concat([HELLO, reply.subarray(0, 7)])],
    ["a flood of questions", Buffer.concat([HELLO, ...Array(700).fill(ECHO)])],
    ["a second start", Buffer.concat([HELLO, HELLO])],
    ["a start and no call", HELLO],
  ];
  const clients = bad.flatMap(([what, bytes]) =>
    Array.from({ length: 5 }, () => ({ what, client: new Raw(server.port, bytes) })),
  );
  const rude = Array.from({ length: 5 }, () => new Raw(server.port, HELLO));
  for (const { socket } of rude) socket.once("connect", () => socket.resetAndDestroy());
  for (const { what, client } of clients) await client.closed(what);
  await until("the good one is left", () => server.status.connections === 1);
  assert.equal([good.ends, good.up.length], [[], 1]);
  assert.ok(server.status.bad >= 10 * 5, JSON.stringify(server.status));
  // Fifty bad ones and five rude ones: two lines each would be more than a minute may have.
  assert.is(served.log.length, 60);
  await good.clear();
  await server.stop();
});

test("a client that asks and does not read is read no more, and cut", async () => {
  const limits = { messages: Number.POSITIVE_INFINITY };
  const { server } = await serve({ timers: { drain_ms: 300 }, limits });
  const client = new Raw(server.port, HELLO);
  await until("the start is answered", () => client.answer === "startReply");
  client.socket.pause();
  const questions = Buffer.concat(
    Array.from({ length: 4096 }, (_, identifier) =>
      writeMessage({ kind: "echoRequest", identifier }),
    ),
  );
  let unsent_bytes = 0;
  // What a kernel buffers is a few megabytes; beyond that the sender must wait.
  while (!client.isClosed && client.socket.writableLength < 8_000_000) {
    client.socket.write(questions);
    unsent_bytes += questions.length;
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(unsent_bytes < 1e9, "the server reads without end");
  }
  client.socket.resume();
  client.socket.on("data", () => client.socket.pause());
  await until("it is cut", () => server.status.connections === 0);
  client.socket.destroy();
  await server.stop();
});

test("connections are limited in all, of one source, and before their start", async () => {
  const { server } = await serve({ limits: { connectionsOfOneSource: 2 } });
  const first = [1, 2].map(() => new Raw(server.port, HELLO));
  await until("two are up", () => server.status.established === 2);
  await new Raw(server.port, HELLO).closed("a third of one source");
  assert.is(server.status.refusedSource, 1);
  const elsewhere = connect({ host: HOST, port: server.port, localAddress: "127.0.0.9" });
  elsewhere.write(HELLO);
  await until("another source is let in", () => server.status.established === 3);
  assert.equal(server.peers, [HOST, "127.0.0.9"]);
  elsewhere.destroy();
  for (const { socket } of first) socket.destroy();
  await server.stop();

  const small = await serve({ limits: { connections: 3, waiting: 2 } });
  const { port } = small.server;
  const oldest = new Raw(port);
  await until("one waits", () => small.server.status.connections === 1);
  const others = [new Raw(port), new Raw(port)];
  await oldest.closed("the oldest that waits");
  const good = new Raw(port, HELLO);
  await until("one is up", () => small.server.status.established === 1);
  await others[0]?.closed("the next that waits");
  const more = [new Raw(port, HELLO), new Raw(port, HELLO)];
  await until("one is too much", () => small.server.status.refusedFull > 0);
  for (const { socket } of [...others, ...more, good]) socket.destroy();
  await small.server.stop();
});

test("a server that stops tells its clients, and cuts those that do not answer", async () => {
  const served = await serve();
  const { port } = served.server;
  const client = dial(port);
  const mute = new Raw(port, HELLO);
  await until("both are up", () => client.up.length === 1 && mute.answer === "startReply");
  await served.server.stop();
  await until("the client heard of it", () => client.ends.length === 1);
  assert.equal(served.ends, [["hung up: admin", undefined]]);
  await mute.closed("the mute one");
  await served.server.stop();
  const again = await serve({ port });
  const late = new Raw(again.server.port, HELLO);
  await until("the port is free again", () => late.answer === "startReply");
  late.socket.destroy();
  await again.server.stop();
});

test("an address or port that cannot be had is a named error", async () => {
  const { server } = await serve();
  for (const where of [{ port: server.port }, { address: "192.0.2.1" }]) {
    const code = await serve(where).then(
      () => "none",
      (error: { code: string }) => error.code,
    );
    assert.is(code, "MESHD_PPTP_LISTEN");
  }
  await server.stop();
});

test("two nodes that dial each other at once keep one connection of the two", async () => {
  // The far node is the same process; its address is the higher one.
  const lower = new Collisions();
  const far = await serve({ address: "127.0.0.9" });
  const leave = lower.add("127.0.0.9", { collided: () => leave() });
  const near = await serve({ collisions: lower });
  const options = { localAddress: "127.0.0.9", address: HOST };
  const theirs = dial(near.server.port, options);
  await until("the higher one's call is up", () => theirs.up.length === 1);
  const higher = new Collisions();
  higher.add(HOST, { collided: () => assert.unreachable() });
  const strict = await serve({ address: "127.0.0.9", collisions: higher });
  const loser = dial(strict.server.port, { address: "127.0.0.9" });
  await until("the lower one's is refused", () => loser.ends.length === 1);
  assert.is(loser.ends[0]?.message, "the other end refuses: already exists");
  await theirs.clear();
  for (const { server } of [far, near, strict]) await server.stop();
});

test.run();
