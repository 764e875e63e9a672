// The table for foreign networks on the real kernel, and what it makes of a packet's source.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { applyCallNat, run } from "../../src/host/index.js";
import { createNamespace, joinByVeth, runSync } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const CALL = { address: "10.20.0.7", prefixes: ["10.9.0.0/16", "10.20.0.1/32"] };

rootTest(test, "the table of calls is made, compared, mended and removed", async () => {
  const netns = createNamespace("calls");
  const options = { device: "mesh0", sources: ["10.244.1.0/24", "fd00::/64"], calls: [CALL] };
  assert.is(await applyCallNat({ ...options, calls: [] }, { netns }), false);
  assert.is(await applyCallNat(options, { netns }), true);
  assert.is(await applyCallNat(options, { netns }), false);
  for (const spoil of [
    "delete element inet meshd_mesh0_calls call0 { 10.9.0.0/16 }",
    "flush chain inet meshd_mesh0_calls postrouting",
    "delete table inet meshd_mesh0_calls",
  ]) {
    await run(["nft", "-f", "-"], { netns, input: `${spoil}\n` });
    assert.is(await applyCallNat(options, { netns }), true, spoil);
    assert.is(await applyCallNat(options, { netns }), false, spoil);
  }
  assert.is(await applyCallNat({ ...options, calls: [] }, { netns }), true);
  assert.not.match(runSync(netns, ["nft", "list", "tables"]), /meshd/);
});

rootTest(
  test,
  "pods' packets to a foreign network have the call's address, others stay",
  async () => {
    const [near, far] = [createNamespace("calls"), createNamespace("calls")];
    const here = { namespace: near, device: "mesh0", addresses: ["10.20.0.7/16", "10.244.1.5/32"] };
    joinByVeth(here, { namespace: far, device: "eth0", addresses: ["10.20.0.1/16"] });
    const options = { device: "mesh0", sources: ["10.244.1.0/24"], calls: [CALL] };
    // Without the table the far end knows no way back to a pod's address.
    const ping = () => {
      const argv = ["ping", "-n", "-c", "1", "-W", "1", "-I", "10.244.1.5", "10.20.0.1"];
      return run(argv, { netns: near }).then(
        () => true,
        () => false,
      );
    };
    assert.is(await ping(), false);
    await applyCallNat(options, { netns: near });
    assert.is(await ping(), true);
  },
);

test.run();
