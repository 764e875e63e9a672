// Control messages byte for byte (RFC 2637, section 2), and a stream of them cut anywhere.
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  MESSAGE_KINDS,
  MESSAGE_SIZE_MAX,
  type Message,
  readMessage,
  writeMessage,
} from "../../src/pptp/messages.js";
import { Splitter } from "../../src/pptp/splitter.js";

const bytesOf = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");

const START = {
  version: 0x0100,
  framing: 3,
  bearer: 3,
  maxChannels: 0,
  firmware: 1,
  hostName: "",
  vendor: "",
};

/** The beginning of each message as other implementations write it; the rest is zero. */
const KNOWN: { message: Message; length: number; hex: string }[] = [
  {
    message: { kind: "startRequest", ...START },
    length: 156,
    hex: "009c00011a2b3c4d 00010000 0100 0000 00000003 00000003 0000 0001",
  },
  {
    message: { kind: "startReply", ...START, result: 1, error: 0, maxChannels: 1 },
    length: 156,
    hex: "009c00011a2b3c4d 00020000 0100 01 00 00000003 00000003 0001 0001",
  },
  {
    message: { kind: "stopRequest", reason: 1 },
    length: 16,
    hex: "001000011a2b3c4d 00030000 01000000",
  },
  {
    message: { kind: "stopReply", result: 1, error: 0 },
    length: 16,
    hex: "001000011a2b3c4d 00040000 01000000",
  },
  {
    message: { kind: "echoRequest", identifier: 0xdeadbeef },
    length: 16,
    hex: "001000011a2b3c4d 00050000 deadbeef",
  },
  {
    message: { kind: "echoReply", identifier: 0xdeadbeef, result: 1, error: 0 },
    length: 20,
    hex: "001400011a2b3c4d 00060000 deadbeef 01000000",
  },
  {
    message: {
      kind: "outgoingCallRequest",
      callId: 0x1234,
      serial: 1,
      minBps: 300,
      maxBps: 100_000_000,
      bearer: 3,
      framing: 3,
      window: 64,
      delay: 0,
      phoneLength: 0,
      phone: "",
      subaddress: "",
    },
    length: 168,
    hex:
      "00a800011a2b3c4d 00070000 1234 0001 0000012c 05f5e100 00000003 00000003" +
      "0040 0000 0000 0000",
  },
  {
    message: {
      kind: "outgoingCallReply",
      callId: 0x42,
      peerCallId: 0x1234,
      result: 1,
      error: 0,
      cause: 0,
      connectSpeed: 100_000_000,
      window: 64,
      delay: 0,
      channel: 0,
    },
    length: 32,
    hex: "002000011a2b3c4d 00080000 0042 1234 01 00 0000 05f5e100 0040 0000 00000000",
  },
  {
    message: {
      kind: "incomingCallRequest",
      callId: 0x0708,
      serial: 9,
      bearer: 1,
      channel: 0x0a0b0c0d,
      dialedLength: 3,
      dialingLength: 2,
      dialed: "123",
      dialing: "45",
      subaddress: "6",
    },
    length: 220,
    hex: `00dc00011a2b3c4d 00090000 0708 0009 00000001 0a0b0c0d 0003 0002 313233${"00".repeat(61)}
      3435${"00".repeat(62)} 36`.replaceAll("\n", ""),
  },
  {
    message: {
      kind: "incomingCallReply",
      callId: 0x0102,
      peerCallId: 0x0708,
      result: 3,
      error: 4,
      window: 16,
      delay: 5,
    },
    length: 24,
    hex: "001800011a2b3c4d 000a0000 0102 0708 03 04 0010 0005 0000",
  },
  {
    message: {
      kind: "incomingCallConnected",
      peerCallId: 0x0102,
      connectSpeed: 64_000,
      window: 32,
      delay: 1,
      framing: 2,
    },
    length: 28,
    hex: "001c00011a2b3c4d 000b0000 0102 0000 0000fa00 0020 0001 00000002",
  },
  {
    message: { kind: "callClearRequest", callId: 0x1234 },
    length: 16,
    hex: "001000011a2b3c4d 000c0000 1234 0000",
  },
  {
    message: {
      kind: "callDisconnectNotify",
      callId: 0x42,
      result: 4,
      error: 0,
      cause: 0,
      statistics: "rx 7",
    },
    length: 148,
    hex: "009400011a2b3c4d 000d0000 0042 04 00 0000 0000 72782037",
  },
  {
    message: {
      kind: "wanErrorNotify",
      peerCallId: 0x1234,
      crcErrors: 1,
      framingErrors: 2,
      hardwareOverruns: 3,
      bufferOverruns: 4,
      timeouts: 5,
      alignmentErrors: 0xffffffff,
    },
    length: 40,
    hex:
      "002800011a2b3c4d 000e0000 1234 0000" +
      "00000001 00000002 00000003 00000004 00000005 ffffffff",
  },
  {
    message: {
      kind: "setLinkInfo",
      peerCallId: 0x42,
      sendAccm: 0xffffffff,
      receiveAccm: 0xffffffff,
    },
    length: 24,
    hex: "001800011a2b3c4d 000f0000 0042 0000 ffffffff ffffffff",
  },
];

test("each of the 15 messages has the bytes of the RFC, both ways", () => {
  assert.equal(
    KNOWN.map(({ message }) => message.kind),
    [...MESSAGE_KINDS],
  );
  for (const { message, length, hex } of KNOWN) {
    const expected = Buffer.alloc(length);
    bytesOf(hex.replaceAll(/\s/g, "")).copy(expected);
    assert.is(Buffer.from(writeMessage(message)).toString("hex"), expected.toString("hex"));
    assert.equal(readMessage(expected), message);
  }
  assert.is(MESSAGE_SIZE_MAX, 220);
});

test("reserved bytes that are not zero change nothing, and texts end at their zero byte", () => {
  const bytes = writeMessage({ kind: "startRequest", ...START, hostName: "a".repeat(70) });
  assert.is(bytes.length, 156);
  assert.is((readMessage(bytes) as { hostName: string }).hostName, "a".repeat(64));
  bytes.set([0xff, 0xff], 10);
  bytes.set([0xff, 0xff], 14);
  bytes.set(Buffer.from("pc\u001b[31m\u00e9\0rest", "latin1"), 92);
  assert.equal(readMessage(bytes), {
    kind: "startRequest",
    ...START,
    hostName: "a".repeat(64),
    vendor: "pc?[31m?",
  });
});

function split(chunks: Uint8Array[]): { messages: Message[]; bad: string | undefined } {
  const splitter = new Splitter();
  const messages: Message[] = [];
  let bad: string | undefined;
  for (const chunk of chunks) {
    bad ??= splitter.push(chunk, (message) => messages.push(message) > 0);
  }
  return { messages, bad };
}

test("a stream cut at any byte, or into single bytes, gives the same messages", () => {
  const stream = Buffer.concat(KNOWN.map(({ message }) => writeMessage(message)));
  const wanted = KNOWN.map(({ message }) => message);
  assert.equal(split([stream]).messages, wanted);
  for (let at = 0; at <= stream.length; at++) {
    assert.equal(split([stream.subarray(0, at), stream.subarray(at)]).messages, wanted, `${at}`);
  }
  assert.equal(split(Array.from(stream, (byte) => Uint8Array.of(byte))).messages, wanted);
});

test("a bad magic, length or type is told with the prefix, and good ones before pass", () => {
  const good = writeMessage({ kind: "echoRequest", identifier: 7 });
  for (const [at, value, bad] of [
    [4, 0x1b, "magic"],
    [7, 0, "magic"],
    [1, 17, "length"],
    [0, 1, "length"],
    [3, 2, "type"],
    [9, 16, "type"],
    [9, 0, "type"],
    [8, 1, "type"],
  ] as const) {
    const spoiled = Uint8Array.from(good);
    spoiled[at] = value;
    const result = split([good, spoiled.subarray(0, 12)]);
    assert.equal(result, { messages: [readMessage(good)], bad }, `${at}`);
  }
});

test("a splitter holds at most one unfinished message, and stops when it is told so", () => {
  const splitter = new Splitter();
  const echo = writeMessage({ kind: "echoRequest", identifier: 7 });
  let count = 0;
  splitter.push(Buffer.concat([echo, echo, echo]), () => ++count < 2);
  assert.is(count, 2);
  assert.is(splitter.pending, 0);
  const long = writeMessage(KNOWN[8]?.message ?? { kind: "stopRequest", reason: 1 });
  splitter.push(long.subarray(0, 219), () => assert.unreachable() as never);
  assert.is(splitter.pending, 219);
});

test.run();
