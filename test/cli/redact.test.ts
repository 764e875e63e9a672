// What a sysdump's redactor takes out of texts by the names that stand before it, and what it
// leaves.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { REMOVED, Redactor } from "../../src/cli/sysdump/redact.js";

const redactor = new Redactor([]);

test("a value in quotes is taken out whole, with the spaces and signs in it", () => {
  const texts = [
    'password: "correct horse, battery staple"',
    "password: 'correct horse; it is'",
    '{"user":"x","password":"a horse } of \\"this\\" staple"}',
    'MESHD_PASSWORD="correct horse"',
    '--password "correct horse staple"',
    "--token='correct horse staple'",
    String.raw`{"said":"before password: \"correct horse, staple\" behind"}`,
    "  natsPassword: correct horse battery staple",
    "# password: correct, horse",
  ];
  for (const text of texts) {
    const cleaned = redactor.clean(text);
    assert.not.match(cleaned, /correct|horse|staple|this|it is/, cleaned);
    assert.match(cleaned, REMOVED);
  }
});

test("a password in a URL goes to the last @ before the host, slashes in it, too", () => {
  const cleaned = redactor.clean('nats: tls://user:pa/ss@wo:rd@192.0.2.1:4222/x "y@z"');
  assert.is(cleaned, `nats: tls://${REMOVED}@192.0.2.1:4222/x "y@z"`);
});

test("what stands beside a secret stays", () => {
  const kept = [
    "used tokens: 3 of 5",
    "see http://192.0.2.1/a and b@c",
    '{"msg":"no password","user":"bob"}',
    '["token","other"]',
    "tls://192.0.2.1:4222,tls://192.0.2.2:4222",
  ];
  for (const text of kept) assert.is(redactor.clean(text), text);
  assert.is(
    redactor.clean("tls://192.0.2.1:4222,tls://u:p@192.0.2.2:4222"),
    `tls://192.0.2.1:4222,tls://${REMOVED}@192.0.2.2:4222`,
  );
  assert.is(
    redactor.clean(String.raw`{"said":"password: \"a b\" behind","n":1}`),
    String.raw`{"said":"password: \"${REMOVED}\" behind","n":1}`,
  );
});

test.run();
