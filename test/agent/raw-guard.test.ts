// What keeps the kernel's own tunnels from packets of our raw sockets: put up when there are such
// modules, taken away with the sockets, and said.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { RawGuard } from "../../src/agent/raw-guard.js";
import { createNamespace, runSync } from "../support/netns.js";
import { rootTest } from "../support/root.js";

const TRAFFIC = { family: 4, address: "192.0.2.1", ipProtocols: [4, 41] } as const;
const POOLS = ["10.244.0.0/16"];
const TABLE = "meshd_mesh0_raw";

rootTest(test, "modules that come and go are silenced and let go, and status says so", async () => {
  const netns = createNamespace("guard");
  const root = mkdtempSync(join(tmpdir(), "meshd-guard-"));
  const tables = () => runSync(netns, ["nft", "list", "tables"]).trim();
  try {
    const guard = new RawGuard("mesh0", { netns }, root);
    assert.is(guard.status(), null);
    assert.is(await guard.apply(TRAFFIC, POOLS), 0);
    assert.equal(guard.status(), { ipProtocols: [4, 41], kernel: [], table: null });
    mkdirSync(join(root, "tunnel4"));
    assert.is(await guard.apply(TRAFFIC, POOLS), 1);
    assert.equal(guard.status(), { ipProtocols: [4, 41], kernel: ["tunnel4"], table: TABLE });
    assert.is(tables(), `table inet ${TABLE}`);
    assert.is(await guard.apply(TRAFFIC, POOLS), 0, "nothing is written twice");
    // A process that begins anew finds what the one before it left.
    const next = new RawGuard("mesh0", { netns }, root);
    assert.is(await next.apply({ ...TRAFFIC, ipProtocols: [] }, POOLS), 1);
    assert.is(next.status(), null);
    assert.is(tables(), "");
    assert.is(await guard.apply(TRAFFIC, POOLS), 1);
    rmSync(join(root, "tunnel4"), { recursive: true });
    assert.is(await guard.apply(TRAFFIC, POOLS), 1);
    assert.is(tables(), "");
  } finally {
    rmSync(root, { recursive: true });
  }
});

test.run();
