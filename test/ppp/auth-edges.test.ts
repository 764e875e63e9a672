// Edges of authentication: domains, names, identifiers, lengths, and what others say in failures.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { errorOf, errorSentence, readErrorCode } from "../../src/ppp/auth/failure.js";
import { readPacket, readRequest, readValued } from "../../src/ppp/auth/packets.js";
import { account, asking, exchange, meet, methods, proving, type Side } from "./auth-pair.js";

const right = { clear: "clientPass" };
const first = (side: Side) => Buffer.from(side.sent[0] ?? []);

/** Server with its challenge out, client with its answer out (PAP: its request), not yet taken. */
function halfWay(method: (typeof methods)[number], user = "ada"): { server: Side; client: Side } {
  const server = asking(method, account("clientPass"));
  const client = proving(method, right, { user });
  server.machine.start(0);
  client.machine.start(0);
  if (method !== "pap") client.machine.receive(first(server), 0);
  return { server, client };
}

for (const method of methods) {
  test(`${method}: a domain is sent, but neither looked up nor hashed`, () => {
    const { server, client } = halfWay(method, "CORP\\ada");
    assert.ok(first(client).includes("CORP\\ada"));
    exchange(server, client);
    assert.equal([server.done[0]?.user, client.done[0]?.user], ["ada", "ada"]);
  });

  test(`${method}: bytes behind the length are padding, a length past the end is none`, () => {
    const { server, client } = halfWay(method);
    const answer = first(client);
    const long = Buffer.from(answer);
    long.writeUInt16BE(answer.length - 1, 4);
    server.machine.receive(long, 1);
    for (const end of [0, 1, 5]) server.machine.receive(answer.subarray(0, end), 1);
    const short = Buffer.from(answer);
    short.writeUInt16BE(3, 4);
    server.machine.receive(short, 1);
    assert.equal([server.done.length, server.failed.length], [0, 0]);
    server.machine.receive(Buffer.concat([answer, Buffer.alloc(9, 0xff)]), 2);
    assert.is(server.done.length, 1);
  });

  test(`${method}: frames of another protocol, code or identifier change nothing`, () => {
    const { server, client } = halfWay(method);
    const answer = first(client);
    const changed = (at: number, to: number) => {
      const frame = Buffer.from(answer);
      frame[at] = to;
      return frame;
    };
    const sent = server.sent.length;
    server.machine.receive(changed(0, 0x80), 1);
    for (const code of [0, 3, 4, 8]) server.machine.receive(changed(2, code), 1);
    if (method !== "pap") server.machine.receive(changed(3, (answer[3] ?? 0) ^ 1), 1);
    assert.equal([server.sent.length, server.done.length, server.failed.length], [sent, 0, 0]);
    server.machine.receive(answer, 2);
    assert.is(server.done.length, 1);
    const reply = Buffer.from(server.sent.at(-1) ?? []);
    const other = Buffer.from(reply);
    other[3] = (reply[3] ?? 0) ^ 1;
    client.machine.receive(other, 3);
    assert.is(client.done.length, 0, "an answer to another packet");
    client.machine.receive(reply, 3);
    assert.is(client.done.length, 1);
  });
}

test("values, names and passwords are read to their last byte, and not past it", () => {
  const bytes = (...list: number[]) => Uint8Array.from(list);
  assert.equal(readPacket(bytes(0xc2, 0x23, 4, 9, 0, 4))?.data, bytes());
  for (const bad of [bytes(), bytes(0), bytes(1), bytes(2, 7), bytes(0, 7)]) {
    assert.is(readValued(bad), null, String(bad));
  }
  assert.equal(readValued(bytes(1, 7)), { value: bytes(7), name: bytes() });
  assert.equal(readValued(bytes(1, 7, 8)), { value: bytes(7), name: bytes(8) });
  assert.is(readValued(new Uint8Array(2 + 256).fill(1, 0, 1))?.name.length, 256);
  assert.is(readValued(new Uint8Array(2 + 257).fill(1, 0, 1)), null);
  for (const bad of [bytes(), bytes(0), bytes(1, 7), bytes(1, 7, 1), bytes(0, 1), bytes(9, 9)]) {
    assert.is(readRequest(bad), null, String(bad));
  }
  assert.equal(readRequest(bytes(0, 0)), { name: bytes(), password: bytes() });
  assert.equal(readRequest(bytes(1, 7, 1, 8)), { name: bytes(7), password: bytes(8) });
  assert.equal(readRequest(bytes(1, 7, 1, 8, 9)), { name: bytes(7), password: bytes(8) });
});

test("a proof ends with a space, the message, a zero or the packet, and with nothing else", () => {
  for (const [ending, isTaken] of [
    ["", true],
    [" M=hello", true],
    ["M=hello", true],
    ["\u0000", true],
    ["0", false],
    ["a", false],
  ] as const) {
    const { server, client } = halfWay("ms-chap-v2");
    server.machine.receive(first(client), 1);
    const success = Buffer.from(server.sent.at(-1) ?? []);
    const changed = Buffer.concat([success.subarray(0, 6 + 42), Buffer.from(ending)]);
    changed.writeUInt16BE(changed.length - 2, 4);
    client.machine.receive(changed, 2);
    assert.equal([client.done.length, client.failed.length], isTaken ? [1, 0] : [0, 1], ending);
    client.machine.receive(success, 3);
    assert.is(client.done.length, isTaken ? 1 : 0, "what failed stays so, and is told once");
    client.machine.receive(changed, 4);
    assert.is(client.failed.length, isTaken ? 0 : 1);
  }
});

for (const method of methods) {
  test(`${method}: an answer that comes when nobody waits any more decides nothing`, () => {
    const { server, client } = halfWay(method);
    for (let at = server.machine.nextDeadline(); at !== null; at = server.machine.nextDeadline()) {
      server.machine.tick(at - 1);
      server.machine.tick(at);
    }
    assert.is(server.failed[0]?.kind, "timeout");
    const sent = server.sent.length;
    server.machine.receive(first(client), 31_000);
    assert.equal([server.done.length, server.failed.length, server.sent.length], [0, 1, sent]);
    server.machine.tick(99_000);
    assert.is(server.failed.length, 1);
  });
}

test("a success before any challenge lets nobody believe", () => {
  for (const method of ["ms-chap-v2", "ms-chap-v1", "chap-md5"] as const) {
    const { server } = halfWay(method);
    const success = Buffer.from(first(server));
    success[2] = 3;
    const client = proving(method, right);
    client.machine.start(0);
    client.machine.receive(success, 1);
    assert.equal([client.done.length, client.failed.length], [0, 0]);
  }
});

test("challenges of the wrong size are not answered with MS-CHAP", () => {
  for (const [method, other] of [
    ["ms-chap-v2", "ms-chap-v1"],
    ["ms-chap-v1", "ms-chap-v2"],
  ] as const) {
    const server = asking(other, account("clientPass"));
    server.machine.start(0);
    const client = proving(method, right);
    client.machine.start(0);
    client.machine.receive(first(server), 1);
    assert.equal(client.sent, []);
  }
});

test("a name that holds control bytes is nobody's, and is told without them", () => {
  const server = asking("ms-chap-v2", account("clientPass"));
  meet(server, proving("ms-chap-v2", right, { user: "a\u0007d\na\u001b[2J" }));
  assert.equal(server.done, []);
  assert.is(server.failed[0]?.user, "a?d?a?[2J");
  const long = asking("ms-chap-v2", account("clientPass"));
  meet(long, proving("ms-chap-v2", right, { user: "a".repeat(257) }));
  assert.equal([long.done.length, long.failed.length], [0, 0], "not even read");
});

test("each refusal has its number, and numbers of others are read as they may come", () => {
  const numbers = (["restricted-hours", "disabled", "expired", "no-dial-in"] as const).map(errorOf);
  assert.equal(numbers, [646, 647, 648, 649]);
  assert.is(readErrorCode("E=691 R=1 C=00 V=3 M=no"), 691);
  assert.is(readErrorCode("E=649"), 649);
  for (const text of ["", "SE=691", "E=", "E=x R=0", "denied"]) {
    assert.is(readErrorCode(text), null, text);
  }
  assert.is(errorSentence(12), "refused with error 12");
  for (const refused of ["restricted-hours", "no-dial-in"] as const) {
    const server = asking("ms-chap-v2", account("clientPass", { refused }));
    const client = proving("ms-chap-v2", right);
    meet(server, client);
    assert.match(client.failed[0]?.reason ?? "", errorSentence(errorOf(refused)));
  }
});

test("passwords beyond ASCII prove themselves by MS-CHAP as they do by CHAP-MD5 and PAP", () => {
  const clear = "pässwörd \u{1f511} € 密码";
  for (const method of methods) {
    const server = asking(method, account(clear));
    meet(server, proving(method, { clear }));
    assert.is(server.done.length, 1, method);
  }
});

test.run();
