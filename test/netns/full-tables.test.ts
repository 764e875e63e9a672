// Tables that are full, 65,536 prefixes of each family, replaced again and again under traffic:
// real TUN, real UDP, a paced flow both ways; not one packet is lost, and lookups know each table.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fullPeers, PREFIXES } from "../../bench/scale/table-contents.js";
import { droppedPackets, type TableContents } from "../../src/datapath/index.js";
import { DatapathNode } from "../support/datapath-node.js";
import { inNamespace } from "../support/netns.js";
import { rootTest } from "../support/root.js";
import { configOf, makeHostPair } from "../support/two-hosts.js";

const COUNT = 1500;
const INTERVAL_S = 0.002;
const PEERS = 500;

/** The contents with other prefixes behind them, as many of each family as there is room for. */
function filled(contents: TableContents, variant: number): TableContents {
  const used = [contents.self, ...contents.peers].flatMap(({ prefixes }) => prefixes);
  const own = used.filter((prefix) => prefix.includes(":")).length;
  const prefixes = PREFIXES - Math.max(own, used.length - own) - 1;
  return {
    ...contents,
    peers: [...contents.peers, ...fullPeers({ prefixes, peers: PEERS, variant })],
  };
}

/** Sends paced echo requests; what ping says of them at its end. */
async function pingPaced(namespace: string, address: string): Promise<string> {
  const argv = ["ping", "-q", "-i", `${INTERVAL_S}`, "-c", `${COUNT}`, "-W", "2", address];
  const [file = "", ...rest] = inNamespace(namespace, argv);
  const child = spawn(file, rest, { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (text) => {
    said += text;
  });
  await once(child, "close");
  return said;
}

rootTest(
  test,
  "full tables are replaced under traffic in both families without a loss",
  async () => {
    const { a, b } = makeHostPair(1500);
    const configs = [configOf(a, b, {}), configOf(b, a, {})] as const;
    const left = await DatapathNode.start(a.namespace, configs[0]);
    const right = await DatapathNode.start(b.namespace, configs[1]);
    try {
      const flows = [pingPaced(a.namespace, b.overlay[4]), pingPaced(b.namespace, a.overlay[6])];
      let isOver = false;
      const over = Promise.all(flows).then((said) => {
        isOver = true;
        return said;
      });
      let replaced = 0;
      while (!isOver) {
        const variant = replaced % 2;
        await Promise.all([
          left.ask({ do: "publish", contents: filled(configs[0].contents, variant) }),
          right.ask({ do: "publish", contents: filled(configs[1].contents, variant) }),
        ]);
        replaced++;
        await sleep(50);
      }
      for (const said of await over) {
        assert.match(said, `${COUNT} packets transmitted, ${COUNT} received`);
      }
      assert.ok(replaced >= 2, `tables were replaced ${replaced} times`);
      for (const node of [left, right]) {
        for (const { egress, ingress } of await node.settledCounters()) {
          const { MULTICAST: _, ...drops } = { ...egress.drops, ...ingress.drops };
          assert.equal(drops, {});
          assert.is(droppedPackets(ingress), 0);
        }
        const { live } = await node.ask<{ live: number }>({ do: "generation" });
        assert.ok(live > 2, `generation ${live} is live`);
      }
    } finally {
      await Promise.all([left.stop(), right.stop()]);
    }
  },
);

test.run();
