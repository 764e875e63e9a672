// Known answers of LCP, CCP, IPCP packets, and what a link answers to single packets.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CcpLayer } from "../../src/ppp/ccp.js";
import type { LinkOptions } from "../../src/ppp/index.js";
import { modeOf, readMppe, writeMppe } from "../../src/ppp/mppe-option.js";
import { readOptions, readPacket, writeOptions, writePacket } from "../../src/ppp/wire.js";
import {
  bytes,
  clientOptions,
  hex,
  makePair,
  PppEnd,
  serverOptions,
  upPair,
} from "../support/ppp-pair.js";

const path = new URL("../../../test/vectors/ppp.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Record<string, string>;
const vector = (name: string) => hex(bytes(vectors[name] ?? ""));

/** A server or client whose LCP the test plays: every link's first request has identifier 1. */
class Played extends PppEnd {
  constructor(options: LinkOptions) {
    super(options);
    this.link.start(0);
  }

  /** @returns what it sent because of this frame */
  feed(text: string): string[] {
    const before = this.frames.length;
    this.link.receive(bytes(text), 0);
    return this.frames.slice(before);
  }

  /** LCP opens: our request is acked, and an ordinary one of the peer's comes. */
  openLcp(request = "c021 0101 0004"): string[] {
    const ours = bytes(this.frames[0] ?? "");
    ours[2] = 2;
    return [...this.feed(hex(ours)), ...this.feed(request)];
  }
}

const fixed = (count: number) => bytes("1a2b3c4d".repeat(8)).subarray(0, count);
/** A client that nobody asks for proof, without encryption: its network comes at once. */
const bare: Partial<LinkOptions> = { mppe: null, random: fixed };

test("requests are those of the vectors", () => {
  const server = new Played(serverOptions({ mru: 1400, random: fixed }));
  assert.equal(server.frames, [vector("lcpConfigureRequest")]);
  const client = new Played(clientOptions(bare));
  const sent = client.openLcp();
  assert.is(sent.at(-1)?.slice(0, 8), vector("ipcpRequest").slice(0, 4) + "0101".slice(0, 4));
  assert.is(sent.at(-1), vector("ipcpRequest"));
});

test("a request for an address is answered by the Nak of the vector", () => {
  const ipcp = serverOptions().ipcp;
  const server = new Played(clientOptions({ ...bare, ipcp }));
  server.openLcp();
  assert.equal(server.feed(vector("ipcpRequest")), [vector("ipcpNak")]);
});

test("offers of encryption are those of the vectors", () => {
  for (const [bits, name] of [
    [[128], "ccpRequest128"],
    [[40, 56, 128], "ccpOffer"],
  ] as const) {
    const pair = makePair({ mppe: { required: true, bits, stateful: false } });
    pair.start();
    pair.run(() => pair.areUp());
    assert.ok(pair.server.frames.includes(vector(name)), name);
  }
});

test("packets and options are read as they were written", () => {
  for (const name of Object.keys(vectors).filter((n) => n !== "stateTable")) {
    const frame = bytes(vectors[name] ?? "");
    const packet = readPacket(frame);
    assert.ok(packet);
    assert.equal(writePacket((frame[0] ?? 0) * 256 + (frame[1] ?? 0), packet), frame, name);
    const options = readOptions(packet.data);
    assert.ok(options);
    assert.equal(writeOptions(options), packet.data.slice(), name);
  }
  assert.is(readPacket(bytes("c021 0101 0005")), null, "longer than the frame");
  assert.is(readPacket(bytes("c021 0101 0003 00")), null, "shorter than its header");
  assert.is(readPacket(bytes("c021 0101 0004 ffff"))?.data.length, 0, "padding is none of it");
  assert.is(readOptions(bytes("0100")), null, "an option shorter than its header");
  assert.is(readOptions(bytes("01")), null);
});

/** What a server answers to a Configure-Request with these options, by code and options. */
function answerOf(options: string, played = new Played(serverOptions({ random: seq() }))): string {
  const data = bytes(options);
  const request = writePacket(0xc021, { code: 1, id: 9, data });
  const frame = played.feed(hex(request)).at(-1) ?? "";
  return `${frame.slice(4, 6)} ${frame.slice(12)}`;
}

/** Different numbers each time, as real random ones are. */
function seq(): (count: number) => Uint8Array {
  let next = 1;
  return (count) => new Uint8Array(count).fill(next++);
}

test("LCP takes what it knows and rejects the rest as it was", () => {
  const known = "010405dc 0206000a0000 0506 11223344 0702 0802";
  assert.is(answerOf(known), `02 ${known.replaceAll(" ", "")}`);
  const multilink = "110405dc 1309 03 001122334455 0d03 06 0408 c025 00000064";
  assert.is(answerOf(`${known} ${multilink}`), `04 ${multilink.replaceAll(" ", "")}`);
  assert.is(answerOf("0305c22381"), "04 0305c22381", "nobody asks a server for proof");
  assert.is(answerOf("01040064"), "03 01040080", "an MRU below 128");
  assert.is(answerOf("0103 05"), "04 010305", "an MRU of three bytes");
  assert.is(answerOf("010405dc 010405dc"), "04 010405dc", "twice the same");
  assert.is(answerOf("0506 00000000").slice(0, 7), "03 0506", "no magic number is zero");
});

test("the dialling side answers a method that it does not have with the best it has", () => {
  const client = () => new Played(clientOptions({ random: seq() }));
  assert.is(answerOf("0305c22381", client()), "02 0305c22381");
  assert.is(answerOf("0304c023", client()), "03 0305c22381", "PAP would give the password away");
  assert.is(answerOf("0305c22305", client()), "03 0305c22381", "no keys, and they are required");
  assert.is(answerOf("0304c227", client()), "03 0305c22381", "EAP");
});

test("a smaller MRU is agreed to, a larger or absurd one is not", () => {
  for (const [nak, mru] of [
    ["03e8", "03e8"],
    ["2328", "05b0"],
    ["0040", "05b0"],
  ]) {
    const server = new Played(serverOptions({ random: fixed }));
    const [again = ""] = server.feed(`c021 0301 0008 0104 ${nak}`);
    assert.is(again.slice(12, 20), `0104${mru}`);
  }
});

test("no peer may have our own address, nor none", () => {
  const ipcp = { local: "10.0.0.9", remote: null, dns: [], nbns: [] };
  const client = new Played(clientOptions({ ...bare, ipcp }));
  client.openLcp();
  const answer = (address: string) => client.feed(`8021 0105 000a 0306 ${address}`).at(-1);
  assert.is(answer("0a000009"), "80210405000a03060a000009");
  assert.is(answer("00000000"), "80210405000a030600000000");
  assert.is(answer("0a000001"), "80210205000a03060a000001");
});

test("an echo is answered with our own magic number, whatever else it carries", () => {
  const server = new Played(serverOptions({ random: fixed }));
  server.openLcp("c021 0101 000a 0506 99887766");
  assert.equal(server.feed("c021 0907 000b 99887766 616263"), ["c0210a07000b1a2b3c4d616263"]);
  assert.equal(server.feed("c021 0908 0006 0000"), [], "too short for a magic number");
  assert.equal(server.feed("c021 0b09 0008 99887766"), [], "Discard-Request");
});

test("Identification is remembered, Time-Remaining taken, an unknown code rejected", () => {
  const server = new Played(serverOptions({ random: fixed }));
  assert.equal(server.feed("c021 0c01 000f 00000000 4d53 0a 5241535f"), []);
  assert.is(server.link.status().peerIdentification, "MSRAS_");
  server.openLcp();
  assert.equal(server.feed("c021 0d01 000c 00000000 0000003c"), []);
  assert.equal(server.feed("c021 4d05 0004"), ["c021070200084d050004"]);
});

test("an unknown protocol is rejected in the network phase, and ignored before", () => {
  const client = new Played(clientOptions(bare));
  assert.equal(client.feed("8031 0101 0004"), []);
  client.openLcp();
  assert.equal(client.feed("8031 0101 0004"), ["c0210802000a803101010004"]);
  assert.equal(client.feed("80fd 0101 000a 1206 01000040").length, 1, "CCP, which it does not do");
  assert.equal(client.feed("0021 4500"), [], "packets are the hot path's");
  for (let i = 0; i < 100; i++) client.feed("8031 0101 0004");
  assert.is(client.link.status().counters.protocolRejects, 16, "a bound for each second");
});

test("CCP agrees to exactly one strength, and never to compression", () => {
  const played = (stateful: boolean) => {
    const pair = makePair({ mppe: { required: true, bits: [128, 56], stateful } });
    pair.start();
    pair.run(() => pair.server.frames.some((frame) => frame.startsWith("80fd")));
    return (value: string) => {
      pair.server.link.receive(bytes(`80fd 0133 000a 1206 ${value}`), pair.now_ms);
      const frame = pair.server.frames.at(-1) ?? "";
      return `${frame.slice(4, 6)} ${frame.slice(16)}`;
    };
  };
  const stateless = played(false);
  assert.is(stateless("010000e0"), "03 01000040", "the strongest of several");
  assert.is(stateless("000000e1"), "03 01000040", "stateful, and compression");
  assert.is(stateless("01000020"), "03 01000040", "too weak");
  assert.is(stateless("00000001"), "04 00000001", "compression alone");
  assert.is(stateless("01000080"), "02 01000080", "what is allowed and single");
  const stateful = played(true);
  assert.is(stateful("00000040"), "02 00000040");
  assert.is(stateful("01000040"), "02 01000040", "stateless is always fine");
  assert.is(stateful("000000c0"), "03 00000040");
});

test("a missing Ack is taken as given only for the one mode that is agreed on for sending", () => {
  const keys = () => ({ send: new Uint8Array(16), receive: new Uint8Array(16) });
  const none = () => {};
  const ends = { down: none, finished: none, fatal: none, stale: none };
  const events = { settings: none, up: none, reset: none, ...ends };
  const options = { required: true, bits: [128, 56] as const, stateful: false };
  const layer = new CcpLayer(options, keys, events);
  const mode = (value: string) => [{ type: 18, value: bytes(value) }];
  layer.reset();
  layer.acking(mode("01000080"));
  layer.wentOn();
  assert.not(layer.hasImplied(), "two are offered");
  layer.naked(mode("01000040"));
  assert.not(layer.hasImplied(), "another strength");
  layer.acking(mode("01000040"));
  assert.not(layer.hasImplied(), "nothing came since");
  layer.wentOn();
  assert.ok(layer.hasImplied());
});

test("the MPPE option is read and written bit by bit", () => {
  assert.is(hex(writeMppe([128, 56, 40], false)), "010000e0");
  assert.is(hex(writeMppe([40], true)), "00000020");
  assert.equal(readMppe(bytes("010000f1")), {
    bits: [128, 56, 40],
    stateful: false,
    hasMore: true,
  });
  assert.equal(modeOf(bytes("00000080")), { bits: 56, stateful: true });
  assert.is(modeOf(bytes("010000c0")), null, "two");
  assert.is(modeOf(bytes("01000041")), null, "with compression");
  assert.is(modeOf(bytes("81000040")), null, "with a reserved bit");
  assert.is(readMppe(bytes("0100")), null);
});

test("resets: the request is answered by its identifier, then the next packet is flushed", () => {
  const mppe = { required: true, bits: [128] as const, stateful: true };
  const pair = makePair({ mppe }, { mppe });
  pair.start();
  pair.run(() => pair.areUp());
  pair.server.said.length = 0;
  pair.server.link.receive(bytes(vector("ccpResetRequest")), pair.now_ms);
  assert.equal(pair.server.frames, [vector("ccpResetAck")]);
  assert.equal(pair.server.said.at(-1), { kind: "settings", settings: { resetSend: true } });
  const stateless = upPair();
  stateless.server.said.length = 0;
  stateless.server.link.receive(bytes(vector("ccpResetRequest")), stateless.now_ms);
  assert.equal(
    stateless.server.said.map(({ kind }) => kind),
    ["send"],
    "flushed anyway",
  );
  // And ours: repeated until the Ack comes, once however often the hot path asks.
  pair.pass(100);
  pair.impairment = { loss: 1 };
  pair.client.said.length = 0;
  pair.client.link.resetRequested(pair.now_ms);
  pair.client.link.resetRequested(pair.now_ms);
  assert.is(pair.client.frames.length, 1);
  pair.pass(2_500);
  assert.is(pair.client.frames.length, 3);
  pair.impairment = {};
  pair.pass(2_000);
  assert.is(pair.client.frames.length, 4);
  assert.ok(pair.areUp());
});

test.run();
