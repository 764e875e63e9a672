// Sealing and boxes: only the right key, context and bytes open them; anything else gives null.
import { randomBytes } from "node:crypto";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as secrets from "../../control/secrets.js";
import { openUserSecret, parseUserSecret, sealUserSecret } from "../../control/user-secret.js";

const text = "what nobody else may read: \u00fc";

/** The text with each of its characters changed in turn, cut, and emptied. */
function* spoilt(sealed: string): Generator<string> {
  for (const at of [...sealed].keys()) {
    const other = sealed[at] === "A" ? "Q" : "A";
    yield sealed.slice(0, at) + other + sealed.slice(at + 1);
  }
  for (const end of [0, 1, 20, 37, sealed.length - 5]) yield sealed.slice(0, end);
}

test("what is sealed opens with its key and context, and with no other", () => {
  const key = randomBytes(32);
  const sealed = secrets.sealWith(key, text, "a");
  assert.is(secrets.openWith(key, sealed, "a"), text);
  assert.is.not(secrets.sealWith(key, text, "a"), sealed, "never twice the same");
  assert.is(secrets.openWith(key, sealed, "b"), null);
  assert.is(secrets.openWith(randomBytes(32), sealed, "a"), null);
  assert.is(secrets.openWith(randomBytes(16), sealed, "a"), null);
  for (const bad of spoilt(sealed)) {
    // Bits of the last character that belong to no byte change nothing.
    const same = Buffer.from(bad, "base64url").equals(Buffer.from(sealed, "base64url"));
    assert.is(secrets.openWith(key, bad, "a"), same ? text : null);
  }
});

test("a box opens for its reader alone, and no key that is none makes it throw", () => {
  const [reader, other] = [secrets.boxKey(), secrets.boxKey()];
  const box = secrets.sealFor(reader.publicKey, text, "a");
  assert.is(secrets.openBox(reader, box, "a"), text);
  assert.is(secrets.openBox(reader, box, "b"), null);
  assert.is(secrets.openBox(other, box, "a"), null);
  const [, body = ""] = box.split(".");
  // Zero and one are points of small order: their shared secret would be known to all.
  for (const byte of [0, 1]) {
    const point = Buffer.alloc(32);
    point[0] = byte;
    assert.is(secrets.openBox(reader, `${point.toString("base64url")}.${body}`, "a"), null);
    assert.throws(() => secrets.sealFor(point.toString("base64url"), text, "a"));
  }
  for (const bad of ["", ".", "A", `${other.publicKey}.${body}`, box.replace(".", "")]) {
    assert.is(secrets.openBox(reader, bad, "a"), null, bad);
  }
  assert.is(
    secrets.boxKey(Buffer.alloc(32, 7)).publicKey,
    secrets.boxKey(Buffer.alloc(32, 7)).publicKey,
  );
});

test("keys of two purposes, or two meshes, have nothing in common", () => {
  const seed = randomBytes(32);
  const keys = [
    secrets.derivedKey(seed, "m1", "one"),
    secrets.derivedKey(seed, "m1", "two"),
    secrets.derivedKey(seed, "m2", "one"),
    secrets.derivedKey(randomBytes(32), "m1", "one"),
  ];
  assert.is(new Set(keys.map((key) => key.toString("hex"))).size, 4);
  assert.equal(secrets.derivedKey(seed, "m1", "one"), keys[0]);
});

test("an account's secret is its own, in its own mesh", () => {
  const key = randomBytes(32);
  const secret = { ntHash: "44ebba8d5312b8d611474411f56989ae", clear: "clientPass" };
  const sealed = sealUserSecret(key, "m1", "ada", secret);
  assert.equal(openUserSecret(key, "m1", "ada", sealed), secret);
  assert.is(openUserSecret(key, "m1", "bob", sealed), null);
  assert.is(openUserSecret(key, "m2", "ada", sealed), null);
});

test("a secret is a hash of 32 digits, with a password of 1 to 256 characters or without", () => {
  const ntHash = "0".repeat(32);
  assert.equal(parseUserSecret(JSON.stringify({ ntHash })), { ntHash });
  const bad = ["", "null", "[]", "{}", "7", '{"ntHash":"00"}', `{"ntHash":"${"G".repeat(32)}"}`];
  for (const one of bad) assert.is(parseUserSecret(one), null, one);
  for (const clear of ["", "a".repeat(257), 7, null]) {
    assert.is(parseUserSecret(JSON.stringify({ ntHash, clear })), null, String(clear));
  }
});

test.run();
