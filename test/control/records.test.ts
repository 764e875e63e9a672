// Records are checked on every read: any bytes give a record or a refusal, never a throw; what was
// good stays in force.
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { canonicalJson, open, seal } from "../../control/envelope.js";
import { createIdentity } from "../../control/index.js";
import { keyOf } from "../../control/keys.js";
import { Ledger } from "../../control/ledger.js";
import { createKey, signingKey } from "../../control/nats/index.js";
import { defaultConfig } from "../../control/settings.js";
import { recordSamples } from "../support/record-samples.js";
import { factsOf } from "./fixture.js";

const grant = signingKey(createKey("account").seed);
const trust = { meshId: "0b5f3a52-7d0e-4bb4-8bb1-8d3a0a0f3a11", grantKey: grant.publicKey };
const identity = createIdentity();
const { nodeId } = identity;
const nodeKey = signingKey(identity.seed);

const samples = recordSamples(nodeId);
const member = Object.fromEntries(samples)[keyOf.member(nodeId)] ?? {};

function signerOf(key: string) {
  return key.startsWith("nodes.") || key.startsWith("endpoints.") ? nodeKey : grant;
}

function sealed(key: string, record: object | null, serial = 1): string {
  return seal(trust.meshId, key, record, serial, signerOf(key));
}

test("settings that became a node's own count for nothing in the mesh's older record", () => {
  const old = { ...defaultConfig, pptpServer: true, pptpFilter: "eth0" };
  const opened = open(trust, keyOf.config(), sealed(keyOf.config(), old));
  assert.type(opened, "object", String(opened));
  assert.equal(typeof opened === "string" ? null : opened.record, { ...defaultConfig });
});

test("each kind of record is read as it was written", () => {
  for (const [key, record] of samples) {
    const opened = open(trust, key, sealed(key, record));
    assert.type(opened, "object", `${key}: ${String(opened)}`);
    if (typeof opened === "string") continue;
    const { signature: _, ...read } = { signature: "", ...opened.record };
    assert.equal(read, record);
  }
});

test("any bytes under any key are a refusal with a reason, never a throw", () => {
  const keys = fc.oneof(
    fc.constantFrom(...samples.map(([key]) => key), "tokens.x", "members.x", "", ".", "a.b.c"),
    fc.string(),
  );
  fc.assert(
    fc.property(keys, fc.oneof(fc.string(), fc.json()), (key, value) => {
      const ledger = new Ledger(trust);
      const applied = ledger.apply({ key, revision: 1, value, deleted: false });
      assert.is(applied, "refused");
      assert.ok((ledger.refused[0]?.reason.length ?? 0) > 0);
      assert.type(ledger.snapshot(), "object");
    }),
    { numRuns: 2_000 },
  );
});

test("any JSON in any field, properly signed, is a good record or a refusal, never a throw", () => {
  const names = [...new Set(samples.flatMap(([, record]) => Object.keys(record)))];
  const change = fc.record({
    sample: fc.constantFrom(...samples),
    name: fc.oneof(fc.constantFrom(...names), fc.string()),
    value: fc.jsonValue({ maxDepth: 3 }),
  });
  fc.assert(
    fc.property(change, ({ sample: [key, record], name, value }) => {
      const changed = { ...record, [name]: value };
      const opened = open(trust, key, sealed(key, changed));
      if (typeof opened === "string") {
        assert.ok(opened.length > 0 && opened.length < 600);
      } else {
        assert.ok(canonicalJson(opened.record).length > 0);
      }
    }),
    { numRuns: 3_000 },
  );
});

test("a changed character anywhere in a signed value is refused or changes nothing", () => {
  const places = fc.record({
    sample: fc.constantFrom(...samples),
    at: fc.nat(),
    code: fc.integer({ min: 32, max: 126 }),
  });
  fc.assert(
    fc.property(places, ({ sample: [key, record], at, code }) => {
      const value = sealed(key, record);
      const index = at % value.length;
      const changed = value.slice(0, index) + String.fromCharCode(code) + value.slice(index + 1);
      const before = open(trust, key, value);
      const after = open(trust, key, changed);
      if (typeof after === "string" || typeof before === "string") return;
      const strip = (one: object | null) => canonicalJson({ ...one, signature: "" });
      assert.is(strip(after.record), strip(before.record));
    }),
    { numRuns: 2_000 },
  );
});

function reasonOf(key: string, value: string, reader = trust): string {
  const opened = open(reader, key, value);
  return typeof opened === "string" ? opened : "it was taken";
}

test("a record under another key, of another mesh, of another writer is refused", () => {
  const other = createIdentity();
  const value = sealed(keyOf.member(nodeId), member);
  assert.match(reasonOf(keyOf.member(other.nodeId), value), /not signed/);
  const elsewhere = { ...trust, meshId: "another" };
  assert.match(reasonOf(keyOf.member(nodeId), value, elsewhere), /not signed/);
  const byNode = seal(trust.meshId, keyOf.member(nodeId), member, 1, nodeKey);
  assert.match(reasonOf(keyOf.member(nodeId), byNode), /not signed by the mesh's grant key/);
  const misplaced = seal(trust.meshId, keyOf.member(other.nodeId), member, 1, grant);
  assert.match(reasonOf(keyOf.member(other.nodeId), misplaced), /belongs under members\./);
});

test("a bad value leaves the last good one in force, and a good one ends the refusal", () => {
  const ledger = new Ledger(trust);
  const key = keyOf.member(nodeId);
  const apply = (revision: number, value: string, deleted = false) =>
    ledger.apply({ key, revision, value, deleted });
  assert.is(apply(1, sealed(key, member, 5)), "changed");
  assert.is(apply(2, "{}"), "refused");
  assert.is(apply(3, "", true), "refused");
  assert.match(ledger.refused[0]?.reason ?? "", /deleted without a signed removal/);
  assert.is(apply(4, sealed(key, { ...member, state: "removed" }, 4)), "refused");
  assert.match(ledger.refused[0]?.reason ?? "", /older value played again/);
  assert.is(ledger.snapshot().members.get(nodeId)?.state, "active");
  assert.is(ledger.snapshot().refused.length, 1);
  assert.is(apply(5, sealed(key, { ...member, state: "draining" }, 6)), "changed");
  assert.is(ledger.snapshot().members.get(nodeId)?.state, "draining");
  assert.equal(ledger.snapshot().refused, []);
  assert.is(apply(6, sealed(key, null, 7)), "changed");
  assert.is(ledger.snapshot().members.size, 0);
  assert.is(ledger.revision, 6);
});

test("a kept ledger is read back, and only what is signed", () => {
  const ledger = new Ledger(trust);
  for (const [index, [key, record]] of samples.entries()) {
    ledger.apply({ key, revision: index + 1, value: sealed(key, record), deleted: false });
  }
  const text = ledger.serialize();
  const again = new Ledger(trust);
  assert.ok(again.load(text));
  assert.equal(again.snapshot(), ledger.snapshot());
  fc.assert(
    fc.property(fc.string(), fc.nat(), (junk, at) => {
      const index = at % text.length;
      const damaged = new Ledger(trust);
      damaged.load(text.slice(0, index) + junk + text.slice(index));
      assert.type(damaged.snapshot(), "object");
    }),
    { numRuns: 300 },
  );
});

/** What a node record says of its interface, as readers take it; or why it is refused. */
function readInterface(interfaceAddresses: unknown): unknown {
  const { underlay, ...rest } = factsOf(1);
  const { interfaceAddresses: _, ...plain } = underlay;
  const said = interfaceAddresses === undefined ? plain : { ...plain, interfaceAddresses };
  const record = { nodeId, ...rest, underlay: said };
  const key = keyOf.node(nodeId);
  const opened = open(trust, key, seal(trust.meshId, key, record, 1, nodeKey));
  if (typeof opened === "string") return opened;
  return (opened.record as { underlay: { interfaceAddresses: string[] } }).underlay
    .interfaceAddresses;
}

test("a node's interface addresses have lengths; older nodes do not say them", () => {
  const good = ["192.0.2.1/24", "fe80::1/64", "10.0.0.1/32", "10.0.0.1/0"];
  assert.equal(readInterface(good), good);
  assert.equal(readInterface(undefined), []);
  for (const bad of ["192.0.2.1", "192.0.2.1/33", "192.0.2.1/024", "FE80::1/64", "/24", 7, null]) {
    assert.match(String(readInterface([bad])), /interfaceAddresses\[0\] is .*prefix length/);
  }
  assert.match(String(readInterface("192.0.2.1/24")), /not a list/);
});

test("a value is good in whatever order its fields stand, and nothing else may differ", () => {
  const key = keyOf.member(nodeId);
  const value = seal(trust.meshId, key, member, 5, grant);
  const { record, serial, signature } = JSON.parse(value);
  const turned = Object.fromEntries(Object.entries(record).reverse());
  const read = open(trust, key, value);
  assert.is.not(typeof read, "string");
  for (const other of [
    JSON.stringify({ record: turned, serial, signature }),
    JSON.stringify({ signature, serial, record }),
    JSON.stringify({ record, serial, signature }, null, 2),
  ]) {
    assert.equal(open(trust, key, other), { ...(read as object), raw: other }, other);
  }
  const text = canonicalJson(record);
  assert.ok(value.includes(text));
  for (const bad of [
    value.replace('"epoch":1', '"epoch":2'),
    value.replace(`"serial":${serial}`, `"serial":${serial + 1}`),
    // What comes last counts for a reader of JSON: it is not what was signed.
    value.replace(text, `${text},"record":${JSON.stringify({ ...record, name: "n2" })}`),
  ]) {
    assert.type(open(trust, key, bad), "string", bad);
  }
});

test.run();
