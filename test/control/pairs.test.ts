// Secrets of pairs that a controller refuses: callers ask each second, the controller hears of it
// ever more seldom.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ControlError, type ControlErrorCode } from "../../control/index.js";
import { Pairs } from "../../control/member/pairs.js";
import { codeOf } from "./fixture.js";

function pairsThat(fail: () => ControlErrorCode | null) {
  let asked = 0;
  const ask = async () => {
    asked++;
    const code = fail();
    if (code !== null) throw new ControlError(code, "no");
    return { fields: {}, secret: JSON.stringify({ peer: "s3cret" }) };
  };
  let now_ms = 0;
  const now = () => now_ms;
  const pairs = new Pairs({ meshId: "m", file: null, ask, log: () => undefined, now });
  const pass = (ms: number) => {
    now_ms += ms;
  };
  return { pairs, asked: () => asked, pass };
}

test("a refused pair is asked for again only after a pause that grows", async () => {
  let code: ControlErrorCode | null = "MESHD_NOT_A_MEMBER";
  const { pairs, asked, pass } = pairsThat(() => code);
  for (let index = 0; index < 20; index++) {
    assert.is(await codeOf(pairs.secret("peer")), "MESHD_NOT_A_MEMBER");
  }
  assert.is(asked(), 1);
  pass(1_050);
  for (let index = 0; index < 20; index++) await codeOf(pairs.secret("peer"));
  assert.is(asked(), 2);
  pass(1_050);
  await codeOf(pairs.secret("peer"));
  assert.is(asked(), 2, "two seconds now");
  code = null;
  pass(1_050);
  assert.is(await pairs.secret("peer"), "s3cret");
});

test("who could not be asked is asked as soon as it can be", async () => {
  let code: ControlErrorCode | null = "MESHD_NO_CONTROLLER";
  const { pairs, asked } = pairsThat(() => code);
  assert.is(await codeOf(pairs.secret("peer")), "MESHD_NO_CONTROLLER");
  code = null;
  assert.is(await pairs.secret("peer"), "s3cret");
  assert.is(asked(), 2);
});

test.run();
