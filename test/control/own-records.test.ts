// A node's own records: what the store lost is written anew, however often a write fails first.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { createIdentity } from "../../control/index.js";
import { keyOf } from "../../control/keys.js";
import { Ledger } from "../../control/ledger.js";
import { OwnRecords } from "../../control/member/own-records.js";
import { type Bucket, createKey, signingKey } from "../../control/nats/index.js";
import { eventually, factsOf } from "./fixture.js";

test("a record that the store lost is written until the store took it", async () => {
  const { nodeId, seed } = createIdentity();
  const trust = { meshId: "m", grantKey: createKey("account").publicKey };
  const own = new OwnRecords("m", signingKey(seed), new Ledger(trust), () => undefined);
  const keys: string[] = [];
  let failures = 0;
  const put = async (key: string) => {
    if (failures-- > 0) throw new Error("no leader");
    return keys.push(key);
  };
  await own.verify({ put } as unknown as Bucket);
  await own.setNode({ nodeId, ...factsOf(1) });
  assert.equal(keys, [keyOf.node(nodeId)]);

  failures = 2;
  await own.restore(keyOf.node(nodeId));
  await eventually("it is there again", () => keys.length === 2);
  assert.equal(keys, [keyOf.node(nodeId), keyOf.node(nodeId)]);
  own.detach();
});

test.run();
