// Known answers of what MS-CHAP is made of: RFC 1320, 2433, 2759 and 3079. Two prints are errata:
// RFC 3079 2.5.3 step 3 has "ca" for c1, and 3.5.2 ends in 58 for b8 (test/assembly has that one).
import { createHash } from "node:crypto";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { desEncrypt, parityKey } from "../../src/ppp/auth/des.js";
import { md4 } from "../../src/ppp/auth/md4.js";
import * as ms from "../../src/ppp/auth/ms-chap.js";
import { masterKey, startKeysV1, startKeysV2 } from "../../src/ppp/auth/start-keys.js";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const letters = "abcdefghijklmnopqrstuvwxyz";

test("MD4 gives the digests of RFC 1320, and the length of a long message enters it", () => {
  const known = {
    "": "31d6cfe0d16ae931b73c59d7e0c089c0",
    a: "bde52cb31de33e46245e05fbdbd6fb24",
    abc: "a448017aaf21d8525fc10ae87aa6729d",
    "message digest": "d9130a8164549fe818874806e1c7014b",
    [letters]: "d79e1c308aa5bbcdeea8ed63df412da9",
    [`${letters.toUpperCase()}${letters}0123456789`]: "043f8582f241db351ce627e153e7f0e4",
    ["1234567890".repeat(8)]: "e33b4ddc9c38f2199c3e7b164fcc0536",
  };
  for (const [text, digest] of Object.entries(known)) {
    assert.is(hex(md4(Buffer.from(text))), digest, JSON.stringify(text));
  }
  const sizes = [55, 56, 63, 64, 65];
  assert.is(new Set(sizes.map((size) => hex(md4(Buffer.alloc(size))))).size, sizes.length);
});

test("this system's MD5 gives the digests of RFC 1321", () => {
  const md5 = (text: string) => createHash("md5").update(text).digest("hex");
  assert.is(md5(""), "d41d8cd98f00b204e9800998ecf8427e");
  assert.is(md5("abc"), "900150983cd24fb0d6963f7d28e17f72");
});

test("DES and its parity keys give the blocks of RFC 2433 B.2", () => {
  const challenge = bytes("10 2d b5 df 08 5d 30 41");
  const encrypted = (key: string) => hex(desEncrypt(parityKey(bytes(key)), challenge));
  assert.is(encrypted("fc 15 6a f7 ed cd 6c"), "4e9d3c8f9cfd385d");
  assert.is(hex(parityKey(bytes("fc 15 6a f7 ed cd 6c"))), "fd0b5b5e7f6e34d9");
  assert.is(hex(parityKey(bytes("0e dd e3 33 7d 42 7f"))), "0e6e796737ea08fe");
});

test("MS-CHAPv1 gives the hashes and answers of RFC 2433 B.2 and B.3", () => {
  const challenge = bytes("10 2d b5 df 08 5d 30 41");
  const hash = ms.ntHash("MyPw");
  assert.is(hex(hash), "fc156af7edcd6c0edde3337d427f4eac");
  const answer = "4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61";
  assert.is(hex(ms.challengeResponse(challenge, hash)), answer);
  const lm = ms.lmHash("MyPw");
  assert.is(hex(lm), "75ba30198e6d1975aad3b435b51404ee");
  const lmAnswer = "91881d0152ab0c33c524135ec24a95ee64e23cdc2d33347d";
  assert.is(hex(ms.challengeResponse(challenge, lm)), lmAnswer);
});

const exchange: ms.Exchange = {
  authenticatorChallenge: bytes("5b 5d 7c 7d 7b 3f 2f 3e 3c 2c 60 21 32 26 26 28"),
  peerChallenge: bytes("21 40 23 24 25 5e 26 2a 28 29 5f 2b 3a 33 7c 7e"),
  name: Buffer.from("User"),
};
const answerV2 = "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df";

test("MS-CHAPv2 gives the hashes, the answer and the proof of RFC 2759 9.2", () => {
  const hash = ms.ntHash("clientPass");
  assert.is(hex(hash), "44ebba8d5312b8d611474411f56989ae");
  assert.is(hex(ms.ntHashHash(hash)), "41c00c584bd2d91c4017a2a12fa59f3f");
  assert.is(hex(ms.challengeHash(exchange)), "d02e4386bce91226");
  assert.is(hex(ms.ntResponseV2(exchange, hash)), answerV2);
  const proof = ms.authenticatorResponse(exchange, hash, bytes(answerV2));
  assert.is(proof, "S=407A5589115FD0D6209F510FE9C04566932CDA56");
});

test("a domain in front of the name changes no answer", () => {
  const hash = ms.ntHash("clientPass");
  const inDomain = { ...exchange, name: Buffer.from("CORP\\User") };
  assert.is(hex(ms.ntResponseV2(inDomain, hash)), answerV2);
});

test("start keys of MS-CHAPv2 are those of RFC 3079 3.5, mirrored at the client", () => {
  const hash = ms.ntHash("clientPass");
  const answer = bytes(answerV2);
  assert.is(hex(masterKey(hash, answer)), "fdece3717a8c838cb388e527ae3cdd31");
  const [sends, receives] = [
    "8b7cdc149b993a1ba118cb153f56dccb",
    "d5f0e9521e3ea9589645e86051c82226",
  ];
  const server = startKeysV2(hash, answer, 128, true);
  assert.equal([hex(server.send), hex(server.receive)], [sends, receives]);
  const client = startKeysV2(hash, answer, 128, false);
  assert.equal([hex(client.send), hex(client.receive)], [receives, sends]);
  for (const bits of [40, 56] as const) {
    const short = startKeysV2(hash, answer, bits, true);
    assert.is(hex(short.send), `${sends.slice(0, 16)}${"00".repeat(8)}`);
  }
});

test("start keys of MS-CHAPv1 are those of RFC 3079 2.5; short ones need the password", () => {
  const challenge = bytes("10 2d b5 df 08 5d 30 41");
  const account = { ntHash: ms.ntHash("clientPass"), clear: "clientPass" };
  assert.is(hex(ms.lmHash("clientPass")), "76a152936096d7830e2390227404afd2");
  const long = startKeysV1(account, challenge, 128);
  assert.is(hex(long?.send ?? bytes("")), "a8947850cfc0acc1d1789fb62ddcddb0");
  assert.equal(long?.send, long?.receive);
  for (const bits of [40, 56] as const) {
    const short = startKeysV1(account, challenge, bits);
    assert.is(hex(short?.send ?? bytes("")), `76a152936096d783${"00".repeat(8)}`);
    assert.is(startKeysV1({ ntHash: account.ntHash }, challenge, bits), null);
  }
});

test.run();
