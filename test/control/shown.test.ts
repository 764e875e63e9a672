// A ledger that takes changes in one at a time shows what a ledger shows that hears all at once;
// and changes are gathered longer the more of them come.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { seal } from "../../control/envelope.js";
import { changedNames, createIdentity } from "../../control/index.js";
import { keyOf } from "../../control/keys.js";
import { Ledger } from "../../control/ledger.js";
import { Pace } from "../../control/member/pace.js";
import { createKey, signingKey } from "../../control/nats/index.js";
import type { MeshSnapshot } from "../../control/records.js";
import { defaultConfig } from "../../control/settings.js";
import { Random } from "../support/random.js";
import { factsOf } from "./fixture.js";

const grant = signingKey(createKey("account").seed);
const trust = { meshId: "0b5f3a52-7d0e-4bb4-8bb1-8d3a0a0f3a11", grantKey: grant.publicKey };
const since = "2026-11-22T00:00:00.000Z";
const people = Array.from({ length: 5 }, () => {
  const identity = createIdentity();
  return { nodeId: identity.nodeId, key: signingKey(identity.seed) };
});

/** Writes of controllers and nodes, good ones that do not always fit one another. */
class Writer {
  serial = 0;
  constructor(
    readonly ledger: Ledger,
    readonly random: Random,
  ) {}

  step(): void {
    const at = this.random.between(0, people.length - 1);
    this.random.pick([
      () => this.member(at),
      () => this.claim(),
      () => this.lease(at),
      () => this.node(at),
      () => this.node(at),
      () => this.endpoint(at),
    ])();
  }

  private write(key: string, record: object | null, signer = grant): void {
    this.serial++;
    const gone = this.random.once(6);
    const value = seal(trust.meshId, key, gone ? null : record, this.serial, signer);
    this.ledger.apply({ key, revision: this.serial, value, deleted: false });
  }

  private person(): { nodeId: string; key: typeof grant } {
    return this.random.pick(people);
  }

  private address(): string {
    return `192.0.2.${this.random.between(1, 3)}`;
  }

  private member(at: number): void {
    const { nodeId } = this.person();
    this.write(keyOf.member(nodeId), {
      ...{ nodeId, key: nodeId, name: `n${this.random.between(1, 3)}`, role: "node", epoch: 1 },
      ...{ state: this.random.pick(["active", "removed"]), joined: since, grantedPrefixes: [] },
      podCIDRs: [`10.244.${this.random.between(0, at)}.0/24`],
    });
  }

  private claim(): void {
    const address = this.address();
    const record = { address, port: 8472, nodeId: this.person().nodeId };
    this.write(keyOf.claim(address, 8472), record);
  }

  private lease(at: number): void {
    const cidr = `10.244.${at}.0/24`;
    const { nodeId } = this.person();
    this.write(keyOf.lease(cidr), { cidr, nodeId, epoch: 1, state: "held", since, until: null });
  }

  private node(at: number): void {
    const { nodeId, key } = this.person();
    const addresses = [this.address(), `192.0.2.${100 + at}`];
    const underlay = { addresses, interfaceAddresses: [], port: 8472 };
    this.write(keyOf.node(nodeId), { nodeId, ...factsOf(1), underlay }, key);
  }

  private endpoint(at: number): void {
    const { nodeId, key } = this.person();
    const pod = `p${at}`;
    const addresses = [`10.244.${this.random.between(0, 2)}.9`];
    this.write(
      keyOf.endpoint(nodeId, pod),
      { nodeId, pod, addresses, labels: {}, identity: 0 },
      key,
    );
  }
}

/** Maps without an order. */
function shownBy({ members, claims, leases, nodes, endpoints, refused }: MeshSnapshot) {
  const inOrder = <T>(map: ReadonlyMap<string, T>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    members: inOrder(members),
    claims: inOrder(claims),
    leases: inOrder(leases),
    nodes: inOrder(nodes),
    endpoints: inOrder(endpoints),
    refused: refused.map(({ key, reason }) => `${key}: ${reason}`).sort(),
  };
}

test("after any writes a ledger shows what one shows that hears them all at once", () => {
  const reasons: string[] = [];
  for (let seed = 1; seed <= 12; seed++) {
    const writer = new Writer(new Ledger(trust), new Random(seed));
    for (let step = 0; step < 60; step++) {
      writer.step();
      // Not after each: several changes are shown as one, too.
      if (step % 3 === 0) continue;
      const shown = shownBy(writer.ledger.snapshot());
      const fresh = new Ledger(trust);
      fresh.load(writer.ledger.serialize());
      assert.equal(shown, shownBy(fresh.snapshot()), `seed ${seed}, step ${step}`);
      reasons.push(...shown.refused);
    }
  }
  assert.ok(reasons.some((reason) => reason.includes("is claimed by")));
  assert.ok(reasons.some((reason) => reason.includes("is in no PodCIDR")));
});

test("a snapshot does not change once it is made, and shares the maps that did not change", () => {
  const ledger = new Ledger(trust);
  const write = (key: string, record: object, serial: number) => {
    const value = seal(trust.meshId, key, record, serial, grant);
    ledger.apply({ key, revision: serial, value, deleted: false });
  };
  write(keyOf.config(), { ...defaultConfig }, 1);
  const nodeId = people[0]?.nodeId ?? "";
  const claim = (port: number) => ({ address: "192.0.2.1", port, nodeId });
  write(keyOf.claim("192.0.2.1", 1), claim(1), 2);
  const before = ledger.snapshot();
  write(keyOf.claim("192.0.2.1", 2), claim(2), 3);
  const after = ledger.snapshot();
  assert.equal([...before.claims.keys()], ["192.0.2.1:1"]);
  assert.equal([...after.claims.keys()], ["192.0.2.1:1", "192.0.2.1:2"]);
  assert.is(after.members, before.members);
  assert.is(after.claims.get("192.0.2.1:1"), before.claims.get("192.0.2.1:1"));
});

test("of two snapshots the ledger knows what changed, or that it does not know any more", () => {
  let [told, changed] = [0, 0];
  for (let seed = 1; seed <= 6; seed++) {
    const writer = new Writer(new Ledger(trust), new Random(seed));
    const shown: MeshSnapshot[] = [];
    for (let step = 0; step < 200; step++) {
      writer.step();
      const after = writer.ledger.snapshot();
      shown.push(after);
      const before = writer.random.pick(shown.slice(-40));
      for (const kind of ["members", "claims", "leases", "nodes", "endpoints"] as const) {
        const [old, now] = [before[kind], after[kind]] as ReadonlyMap<string, unknown>[];
        if (old === undefined || now === undefined) throw new Error(kind);
        const names = changedNames(old, now);
        for (const name of new Set([...old.keys(), ...now.keys()])) {
          if (old.get(name) === now.get(name)) continue;
          assert.ok(names?.has(name), `seed ${seed}, step ${step}: ${kind} ${name}`);
          changed++;
        }
        told += names?.size ?? 0;
      }
    }
    const [first, last] = [shown[0], shown.at(-1)];
    if (!first || !last) throw new Error("nothing was shown");
    assert.is(changedNames(first.nodes, last.nodes), null, "too long ago");
    assert.is(changedNames(last.nodes, first.nodes), null, "backwards");
    assert.is(changedNames(last.nodes, last.leases), null, "of two lines");
    assert.is(changedNames(new Map(), last.nodes), null, "of no line");
  }
  assert.ok(changed > 1_000 && told < 2 * changed, `${told} told, ${changed} changed`);
});

test("a change after quiet is told at once, one of many later and later up to a second", () => {
  const pace = new Pace({ least_ms: 20, most_ms: 1_000 });
  let now = 0;
  const waits = Array.from({ length: 10 }, () => {
    const wait = pace.wait_ms(now);
    now += wait;
    pace.told(now);
    now += 1;
    return wait;
  });
  assert.equal(waits, [20, 40, 80, 160, 320, 640, 1_000, 1_000, 1_000, 1_000]);
  assert.is(pace.wait_ms(now + 2_500), 20);
});

test.run();
