// Carriers of the throughput bench: that they carry, say why they cannot, and leave nothing behind.
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  CARRIERS,
  type CarrierName,
  closeCarrier,
  openCarrier,
} from "../../bench/network/carriers.js";
import { withCubic } from "../../bench/network/cubic.js";
import type { Lab } from "../../bench/network/lab.js";
import { daemonKind, type Recipe } from "../../bench/network/peers/daemon.js";
import { findProgram, whyMissing } from "../../bench/network/peers/program.js";
import { WIRE } from "../../bench/network/wire.js";
import { createNamespace, joinByVeth, pings, runSync } from "../support/netns.js";
import { rootTest } from "../support/root.js";

/** Two hosts on a wire, as a lab has them, without meshd. */
function openHosts(): Lab {
  const folder = mkdtempSync(join(tmpdir(), "meshd-carriers-"));
  const [client, server] = [1, 2].map((number) => ({
    namespace: createNamespace(`c${number}`),
    address: `198.18.0.${number}`,
    overlay: "none",
    pid: process.pid,
  })) as [Lab["client"], Lab["server"]];
  const ends = [client, server].map(({ namespace, address }) => {
    return { namespace, device: WIRE, addresses: [`${address}/24`], mtu: 1500 };
  });
  joinByVeth(...(ends as Parameters<typeof joinByVeth>));
  return { client, server, folder, close: () => rmSync(folder, { recursive: true }) };
}

async function withHosts(body: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = openHosts();
  try {
    await body(lab);
  } finally {
    lab.close();
  }
}

/** By name: the wire's own carrier comes up when it likes. */
const devices = ({ client }: Lab) =>
  runSync(client.namespace, ["ip", "-brief", "link"]).replace(/^(\S+).*$/gm, "$1");

/** Its longest packet gets through whole, and nothing of it is left when it is closed. */
async function carries(lab: Lab, name: CarrierName, mtu: number): Promise<void> {
  const before = devices(lab);
  const carrier = await openCarrier(lab, name);
  assert.is(carrier.pids.length, 2, name);
  assert.ok(carrier.version, `${name} has a version`);
  const answers = (size: number) => pings(lab.client.namespace, carrier.address, size - 28, 1);
  assert.ok(answers(mtu), `${name} carries ${mtu} bytes`);
  assert.not.ok(answers(mtu + 1), `${name} carries no more`);
  await closeCarrier(lab, carrier);
  assert.equal(
    carrier.pids.map((pid) => existsSync(`/proc/${pid}`)),
    [false, false],
    name,
  );
  assert.equal(readdirSync(lab.folder), [], name);
  assert.is(devices(lab), before, name);
}

rootTest(test, "the C proxy carries packets as long as meshd's, and goes when closed", () =>
  withHosts((lab) => carries(lab, "proxy", 1450)),
);

const PEERS = { "wireguard-go": 1440, nebula: 1440, tinc: 1436, openvpn: 1440, fastd: 1450 };

for (const [name, mtu] of Object.entries(PEERS) as [CarrierName, number][]) {
  const absence = CARRIERS[name].isAvailable();
  if (absence !== undefined) process.stdout.write(`  NOT INSTALLED: ${name}: ${absence}\n`);
  else
    rootTest(test, `${name} carries packets of ${mtu} bytes and goes when closed`, () =>
      withHosts((lab) => carries(lab, name, mtu)),
    );
}

const broken: Recipe = {
  title: "broken",
  network: 26,
  overhead: 50,
  isAvailable: () => undefined,
  prepare: ({ device }) => [["false"], ["ip", "link", "show", "dev", device]],
};

rootTest(
  test,
  "a daemon that ends at once is reported by its last words, and nothing is left",
  () =>
    withHosts(async (lab) => {
      try {
        await daemonKind(broken).setUp(lab);
        assert.unreachable("it cannot start");
      } catch (error) {
        assert.match((error as Error).message, /^ip ended: .*does not exist/);
      }
      assert.equal(readdirSync(lab.folder), []);
    }),
);

rootTest(
  test,
  "a route names CUBIC while it is asked to, and is as before, also after a failure",
  () =>
    withHosts(async ({ client: { namespace }, server: { address } }) => {
      const shown = () => runSync(namespace, ["ip", "route"]);
      const before = shown();
      await withCubic(namespace, address, async () => assert.match(shown(), /congctl cubic/));
      assert.is(shown(), before);
      runSync(namespace, ["ip", "route", "add", `${address}/32`, "dev", WIRE]);
      const own = shown();
      const fails = () => Promise.reject(new Error("no transfer"));
      try {
        await withCubic(namespace, address, fails);
        assert.unreachable("the failure is the caller's to see");
      } catch (error) {
        assert.is((error as Error).message, "no transfer");
      }
      assert.is(shown(), own);
    }),
);

test("what is not there is named, with what brings it", () => {
  assert.is(findProgram("no-such-program"), undefined);
  assert.match(
    whyMissing("node", "no-such-program") ?? "",
    /^no program no-such-program; .*setup\.mjs/,
  );
  assert.is(whyMissing("sh"), undefined);
});

test.run();
