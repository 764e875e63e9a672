// The addon (C) and the hot path (assembly/shared/layout.ts) must see the same descriptor.
import { descriptorLayout } from "node-tun";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as layout from "../../assembly/shared/layout.js";

const ours: Record<string, number> = Object.fromEntries(
  Object.entries(layout).filter(([name]) => /^(D_|DESCRIPTOR_SIZE$)/.test(name)),
);

test("every field of the hot path's descriptor has the addon's offset, and none is missing", () => {
  assert.ok(Object.keys(ours).length >= 17, "the layout still names its descriptor D_*");
  assert.equal({ ...descriptorLayout }, ours);
});

test("the addon's table cannot be changed by a caller", () => {
  assert.ok(Object.isFrozen(descriptorLayout));
});

test.run();
