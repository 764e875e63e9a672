// A million packets that nobody should send, to both sides of each method: no crash, no growth, and
// nobody gets in.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Random, seededRandom } from "../support/random.js";
import { account, asking, methods, proving, type Side } from "./auth-pair.js";

const PACKETS = 1_000_000;

/** A good frame with a few bytes changed, cut or lengthened; now and then nothing but noise. */
function spoilt(good: Uint8Array, random: Random, into: Uint8Array): Uint8Array {
  const isNoise = random.once(8);
  const like = Math.min(good.length + random.between(-1, 1), into.length);
  const length = isNoise ? random.between(0, 79) : like;
  for (let at = 0; at < length; at++) into[at] = (isNoise ? undefined : good[at]) ?? random.bits();
  for (let changes = random.between(0, 3); changes > 0; changes--) {
    into[random.between(0, length)] = random.bits();
  }
  return into.subarray(0, length);
}

/** Fresh sides, and frames of a conversation with another password for the fuzzer to spoil. */
function scene(method: (typeof methods)[number]): { sides: Side[]; frames: Uint8Array[] } {
  const server = asking(method, account("clientPass"));
  const client = proving(method, { clear: "clientPass" });
  const stranger = proving(method, { clear: "guess" });
  const impostor = asking(method, account("guess"));
  for (const side of [server, client, stranger, impostor]) side.machine.start(0);
  stranger.machine.receive(server.sent[0] ?? new Uint8Array(), 0);
  impostor.machine.receive(client.sent[0] ?? new Uint8Array(), 0);
  const frames = [...server.sent, ...stranger.sent, ...impostor.sent];
  return { sides: [server, client], frames };
}

test("a million spoilt packets let nobody in and never crash a side", () => {
  const random = seededRandom("authentication");
  const into = new Uint8Array(96);
  let taken = 0;
  for (let count = 0; count < PACKETS; ) {
    const method = random.pick(methods);
    const { sides, frames } = scene(method);
    for (let each = 0; each < 250; each++, count++) {
      const frame = spoilt(random.pick(frames), random, into);
      for (const { machine } of sides) machine.receive(frame, each);
    }
    const [server, client] = sides;
    taken += server?.failed.length ?? 0;
    assert.equal(server?.done, [], method);
    // CHAP-MD5, MS-CHAPv1 and PAP prove nothing of the authenticator: any Success is believed.
    if (method === "ms-chap-v2") assert.equal(client?.done, []);
    for (const side of sides) {
      assert.ok(side.sent.length <= 260, "one frame in, one out at most");
      assert.ok(side.done.length <= 1 && side.failed.length <= 1);
    }
  }
  assert.ok(taken > 100, "packets came as far as the check of the password");
});

test.run();
