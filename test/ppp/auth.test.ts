// Authentication of a link, both sides: who is let in, what repeats get, and who gives up when.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { AUTH_OPTION, authMethodOf } from "../../src/ppp/auth/index.js";
import { account, asking, exchange, meet, methods, proving, type Side } from "./auth-pair.js";

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const textOf = (frame: Uint8Array | undefined) => Buffer.from(frame ?? []).toString("latin1", 6);
const right = { clear: "clientPass" };

for (const method of methods) {
  test(`${method}: the right password lets in, and both sides have mirrored keys`, () => {
    const server = asking(method, account("clientPass"));
    const client = proving(method, right);
    meet(server, client);
    const [taken, proven] = [server.done[0], client.done[0]];
    assert.equal([taken?.user, proven?.user], ["ada", "ada"]);
    assert.equal([server.failed, client.failed], [[], []]);
    for (const bits of [40, 56, 128] as const) {
      const [ours, theirs] = [taken?.startKeys(bits), proven?.startKeys(bits)];
      if (method === "pap" || method === "chap-md5") assert.equal([ours, theirs], [null, null]);
      else {
        assert.is(ours?.send.length, 16);
        assert.equal([ours?.send, ours?.receive], [theirs?.receive, theirs?.send]);
      }
    }
  });

  test(`${method}: a wrong password, an unknown name and an empty account are denied alike`, () => {
    const wrong = asking(method, account("clientPass"));
    const client = proving(method, { clear: "clientpass" });
    meet(wrong, client);
    const unknown = asking(method, null);
    meet(unknown, proving(method, right));
    for (const server of [wrong, unknown]) {
      assert.equal(server.done, []);
      assert.is(server.failed[0]?.kind, "denied");
    }
    assert.equal(
      textOf(wrong.sent.at(-1)).replace(/C=\w+/, ""),
      textOf(unknown.sent.at(-1)).replace(/C=\w+/, ""),
    );
    assert.equal([client.done.length, client.failed[0]?.kind], [0, "denied"]);
  });

  test(`${method}: who may not come in learns why only with the right password`, () => {
    const closed = account("clientPass", { refused: "disabled" });
    const server = asking(method, closed);
    meet(server, proving(method, right));
    assert.match(server.failed[0]?.reason ?? "", "disabled");
    const guessed = asking(method, closed);
    meet(guessed, proving(method, { clear: "guess" }));
    assert.not.match(guessed.failed[0]?.reason ?? "", "disabled");
  });

  test(`${method}: a repeated answer gets the same reply, and decides nothing anew`, () => {
    const server = asking(method, account("clientPass"));
    const client = proving(method, right);
    meet(server, client);
    const answer = client.sent[0] ?? new Uint8Array();
    const reply = server.sent.at(-1);
    const forged = Buffer.from(answer);
    forged[forged.length - 30] = (forged[forged.length - 30] ?? 0) ^ 1;
    server.machine.receive(answer, 1);
    server.machine.receive(forged, 2);
    assert.equal(server.sent.slice(-2), [reply, reply]);
    assert.is(server.done.length, 1);
  });

  test(`${method}: without an answer it sends ten times in thirty seconds and gives up`, () => {
    for (const lonely of [asking(method, account("x")), proving(method, right)]) {
      const sends = run(lonely);
      assert.is(lonely.failed[0]?.kind, "timeout");
      assert.is(lonely.machine.nextDeadline(), null);
      const begins = sends > 0;
      assert.is(begins ? sends : 10, 10);
    }
  });
}

/** Waits as long as the machine wants to; how many frames it sent. */
function run(side: Side): number {
  side.machine.start(0);
  let ticks = 0;
  let now_ms = 0;
  for (let at = side.machine.nextDeadline(); at !== null; at = side.machine.nextDeadline()) {
    now_ms = at;
    side.machine.tick(at);
    assert.ok(++ticks < 100);
  }
  assert.is(now_ms, 30_000);
  return side.sent.length;
}

test("frames of MS-CHAPv2 are those of RFC 2759 to the byte", () => {
  const challenge = "5b5d7c7d7b3f2f3e3c2c602132262628";
  const random = (of: string) => (count: number) =>
    count === 1 ? Uint8Array.of(1) : Buffer.from(of, "hex");
  const server = asking("ms-chap-v2", account("clientPass"), random(challenge));
  const peerChallenge = "21402324255e262a28295f2b3a337c7e";
  const client = proving("ms-chap-v2", right, { user: "User", random: random(peerChallenge) });
  meet(server, client);
  assert.is(hex(server.sent[0]), `c2230101001a10${challenge}6d65736864`);
  const answer = "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df";
  const value = `${peerChallenge}${"00".repeat(8)}${answer}00`;
  assert.is(hex(client.sent[0]), `c2230201003a31${value}55736572`);
});

test("a failure offers no retry, says a new challenge and the version of its method", () => {
  const v2 = asking("ms-chap-v2", account("clientPass"));
  meet(v2, proving("ms-chap-v2", { clear: "no" }));
  assert.match(textOf(v2.sent.at(-1)), /^E=691 R=0 C=[0-9A-F]{32} V=3 M=/);
  const v1 = asking("ms-chap-v1", account("clientPass", { refused: "expired" }));
  meet(v1, proving("ms-chap-v1", right));
  assert.match(textOf(v1.sent.at(-1)), /^E=648 R=0 C=[0-9A-F]{16} V=2 M=/);
});

test("a request to change the password is answered by a failure", () => {
  const server = asking("ms-chap-v2", account("clientPass"));
  server.machine.start(0);
  const identifier = server.sent[0]?.[3] ?? 0;
  const change = Buffer.alloc(588);
  change.set([0xc2, 0x23, 7, identifier, 586 >> 8, 586 & 0xff]);
  server.machine.receive(change, 1);
  assert.match(textOf(server.sent.at(-1)), /^E=709 R=0 /);
  assert.is(server.failed[0]?.kind, "denied");
});

test("the client ends a link whose server does not know the password", () => {
  const server = asking("ms-chap-v2", account("clientPass"));
  const client = proving("ms-chap-v2", right);
  server.machine.start(0);
  client.machine.start(0);
  client.machine.receive(server.sent[0] ?? new Uint8Array(), 1);
  server.machine.receive(client.sent[0] ?? new Uint8Array(), 2);
  const success = Buffer.from(server.sent[1] ?? []);
  assert.is(success[2], 3);
  // One digit of the proof; no proof at all; the proof in small letters.
  for (const spoil of [
    (frame: Buffer) => frame.fill(frame[9] === 0x30 ? 0x31 : 0x30, 9, 10),
    (frame: Buffer) => frame.fill(0x20, 6),
    (frame: Buffer) =>
      Buffer.from(frame.toString("latin1").toLowerCase(), "latin1").copy(frame, 8, 8),
  ]) {
    const fooled = proving("ms-chap-v2", right, {
      random: () => client.sent[0]?.slice(7, 23) ?? new Uint8Array(),
    });
    fooled.machine.receive(server.sent[0] ?? new Uint8Array(), 1);
    const forged = Buffer.from(success);
    spoil(forged);
    fooled.machine.receive(forged, 2);
    assert.is(fooled.failed[0]?.kind, "bad-authenticator");
    assert.equal(fooled.done, []);
  }
  client.machine.receive(success, 3);
  assert.is(client.done.length, 1);
});

test("a repeated challenge gets the same answer, a later one a new answer", () => {
  const client = proving("ms-chap-v2", right);
  const server = asking("ms-chap-v2", account("clientPass"));
  meet(server, client);
  client.machine.receive(server.sent[0] ?? new Uint8Array(), 1);
  assert.equal(client.sent[1], client.sent[0]);
  const second = asking("ms-chap-v2", account("clientPass"));
  second.machine.start(5);
  exchange(second, client);
  const last = client.sent.at(-1) ?? new Uint8Array();
  second.machine.receive(last, 6);
  assert.is.not(hex(last), hex(client.sent[0]));
  assert.is(second.done.length, 1);
  assert.is(client.done.length, 1, "the link hears of it once");
});

test("a hash alone serves MS-CHAP but neither CHAP-MD5 nor PAP", () => {
  const { ntHash } = account("clientPass");
  for (const method of ["ms-chap-v2", "ms-chap-v1"] as const) {
    const client = proving(method, { ntHash });
    const server = asking(method, { ntHash });
    meet(server, client);
    assert.is(server.done.length, 1);
    assert.ok(client.done[0]?.startKeys(128));
  }
  for (const method of ["chap-md5", "pap"] as const) {
    const client = proving(method, { ntHash });
    client.machine.start(0);
    assert.match(client.failed[0]?.reason ?? "", "needs the password itself");
    assert.equal(client.sent, []);
  }
});

test("CHAP-MD5 lets nobody in whose clear password is not kept or empty", () => {
  for (const known of [{ ntHash: account("").ntHash }, account("")]) {
    const server = asking("chap-md5", known);
    meet(server, proving("chap-md5", { clear: "" }));
    assert.equal([server.done.length, server.failed.length], [0, 1]);
  }
});

test("an answer with MS-CHAPv1's LM part alone is denied", () => {
  const server = asking("ms-chap-v1", account("clientPass"));
  const client = proving("ms-chap-v1", right);
  server.machine.start(0);
  client.machine.start(0);
  client.machine.receive(server.sent[0] ?? new Uint8Array(), 1);
  const answer = Buffer.from(client.sent[0] ?? []);
  answer[6 + 49] = 0;
  server.machine.receive(answer, 2);
  assert.equal([server.done.length, server.failed.length], [0, 1]);
});

test("a method's LCP option is found again, and no other is", () => {
  for (const method of methods) assert.is(authMethodOf(AUTH_OPTION[method]), method);
  for (const other of ["c227", "c223", "c22382", "c0", "", "c02300"]) {
    assert.is(authMethodOf(Buffer.from(other, "hex")), null, other);
  }
});

test.run();
