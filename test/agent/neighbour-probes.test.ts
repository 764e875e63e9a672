// Probes by ordinary sockets, between two ends on loopback addresses of this process's own.
import { createSocket } from "node:dgram";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { PROBE_PORT } from "../../assembly/shared/layout.js";
import { NeighbourProbes } from "../../src/agent/neighbour-probes.js";
import type { ProbeReply } from "../../src/agent/probe-packets.js";
import { until } from "../support/netns.js";

/** 127.x.y.z of 22 bits of process number: nobody else's while this process lives. */
const address = (index: number) =>
  [127, process.pid >> 14, (process.pid >> 6) & 255, (process.pid & 63) * 4 + index].join(".");
const [ONE, TWO, GONE] = [address(1), address(2), address(3)];

function ends() {
  const replies: ProbeReply[] = [];
  const requests: string[] = [];
  const one = new NeighbourProbes({
    onReply: (reply) => replies.push(reply),
    onRequest: () => assert.unreachable("it was asked nothing"),
  });
  const two = new NeighbourProbes({
    onReply: () => assert.unreachable("it asked nothing"),
    onRequest: ({ value }, said) => requests.push(`${value} ${said}`),
  });
  one.setAddresses([ONE]);
  two.setAddresses([TWO]);
  const close = () => {
    one.setAddresses([]);
    two.setAddresses([]);
  };
  return { one, two, replies, requests, close };
}

/** Asks again until the socket is open and the answer is there. */
async function askUntil(answered: () => boolean, ask: () => void): Promise<void> {
  await until("an answer", () => {
    if (!answered()) ask();
    return answered();
  });
}

function numberOf(text: string): bigint {
  const [a = 0, b = 0, c = 0, d = 0] = text.split(".").map(Number);
  return BigInt(((a << 24) | (b << 16) | (c << 8) | d) >>> 0);
}

test("a question is answered with its sequence, and who was asked knows by whom", async () => {
  const { one, replies, requests, close } = ends();
  await askUntil(
    () => replies.length > 0,
    () => one.send(ONE, TWO, 70_000, 9),
  );
  assert.equal(replies[0], { sequence: 70_000, source: { family: 4, value: numberOf(TWO) } });
  assert.is(requests[0], `${numberOf(ONE)} 9`);
  close();
});

test("who does not ask from the probes' port is not answered, nor is anything else", async () => {
  const { one, replies, close } = ends();
  const [stranger, ear] = [createSocket("udp4"), createSocket("udp4")];
  const heard: Buffer[] = [];
  for (const socket of [stranger, ear]) socket.on("message", (payload) => heard.push(payload));
  await new Promise<void>((done) => stranger.bind({ address: GONE }, done));
  // Where probers listen at the stranger's address: nobody may have answers sent there.
  await new Promise<void>((done) => ear.bind({ address: GONE, port: PROBE_PORT }, done));
  const question = Buffer.alloc(20);
  question.writeUInt32BE(1836085858, 0);
  const send = (bytes: Buffer) =>
    new Promise((done) => stranger.send(bytes, PROBE_PORT, TWO, done));
  for (const bytes of [
    question,
    Buffer.alloc(0),
    Buffer.alloc(20, 0xa5),
    question.subarray(0, 19),
  ]) {
    await send(bytes);
  }
  await askUntil(
    () => replies.length > 0,
    () => one.send(ONE, TWO, 1),
  );
  assert.equal(heard, []);
  stranger.close();
  ear.close();
  close();
});

test("nobody there is no error, and an address that is not ours is tried anew", async () => {
  const { one, replies, close } = ends();
  assert.is(one.send(GONE, TWO, 1), false, "no socket there");
  await until("it is open", () => one.send(ONE, GONE, 2));
  const foreign = new NeighbourProbes({ onReply: () => undefined, onRequest: () => undefined });
  foreign.setAddresses(["198.51.100.77"]);
  await until("the bind was refused", () => !foreign.send("198.51.100.77", TWO, 1));
  assert.equal(replies, []);
  foreign.setAddresses([]);
  close();
});

test.run();
