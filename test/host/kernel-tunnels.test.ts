// The kernel's own tunnels beside raw sockets: what is looked for, and what silences them.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  applySilence,
  findKernelTunnels,
  type RawTraffic,
  removeSilence,
  type SilenceOptions,
  silenceTable,
  silenceText,
} from "../../src/host/index.js";
import { Capture } from "../support/capture.js";
import {
  createNamespace,
  joinByVeth,
  runSync,
  trySync,
  uniqueDevice,
  until,
} from "../support/netns.js";
import { podPacket } from "../support/nodes.js";
import { concat, setBe16, slowChecksum } from "../support/packets.js";
import { rootTest } from "../support/root.js";

const SEND = fileURLToPath(new URL("../support/raw-send.js", import.meta.url));
const OWN = { 4: "192.0.2.2", 6: "2001:db8::2" } as const;
const OTHER = { 4: "192.0.2.1", 6: "2001:db8::1" } as const;
const UDP = 17;

const traffic = (family: 4 | 6, ipProtocols = [4, 41]): RawTraffic => {
  return { family, address: OWN[family], ipProtocols };
};
const options = (family: 4 | 6): SilenceOptions => {
  return { ...traffic(family), device: "mesh0", prefixes: ["10.244.0.0/16", "fd00:244::/56"] };
};

/** A folder that looks like /sys/module with these. */
function modules(...names: string[]): string {
  const root = mkdtempSync(join(tmpdir(), "meshd-modules-"));
  for (const name of names) mkdirSync(join(root, name));
  return root;
}

rootTest(test, "of loaded modules those are told that read the same packets", async () => {
  const where = { netns: createNamespace("tunnels") };
  const root = modules("tunnel4", "tunnel6", "ip_gre", "ip6_gre", "vxlan");
  try {
    const found = async (wanted: RawTraffic) => findKernelTunnels(wanted, where, root);
    assert.equal(await found(traffic(4)), { modules: ["tunnel4"], devices: [] });
    assert.equal(await found(traffic(6)), { modules: ["tunnel6"], devices: [] });
    assert.equal(await found(traffic(4, [47])), { modules: ["ip_gre"], devices: [] });
    assert.equal(await found(traffic(6, [41, 47])), {
      ...{ modules: ["tunnel6", "ip6_gre"], devices: [] },
    });
  } finally {
    rmSync(root, { recursive: true });
  }
});

test("second copies are told by the kinds of devices that read the same packets", () => {
  const { text } = silenceText(options(4));
  assert.match(text, /meta iifkind \{ "ipip", "sit" \} ip saddr 10\.244\.0\.0\/16 drop/);
  assert.match(text, /meta iifkind \{ "ipip", "sit" \} ip6 saddr fd00:244::\/56 drop/);
  const { text: six } = silenceText({ ...options(6), ipProtocols: [4, 47] });
  assert.match(six, /meta iifkind \{ "ip6tnl", "ip6gre", "ip6gretap" \}/);
  assert.not.match(`${text}${six}`, /hook input/);
});

for (const family of [4, 6] as const) {
  rootTest(test, `IPv${family}: the table is put up once, mended, and taken away`, async () => {
    const where = { netns: createNamespace("silence") };
    assert.is(await removeSilence("mesh0", where), false);
    assert.is(await applySilence(options(family), where), true);
    assert.is(await applySilence(options(family), where), false);
    const others = { ...options(family), prefixes: ["10.244.0.0/16"] };
    assert.is(await applySilence(others, where), true);
    runSync(where.netns, ["nft", "flush", "chain", "inet", silenceTable("mesh0"), "output"]);
    assert.is(await applySilence(others, where), true);
    assert.is(await removeSilence("mesh0", where), true);
    assert.is(runSync(where.netns, ["nft", "list", "tables"]).trim(), "");
  });
}

/** An ICMP error "port unreachable" about a packet of that protocol, as a module makes it. */
function unreachable(family: 4 | 6, protocol: number, option: number | null = null): Uint8Array {
  const quoted = podPacket(family, 1, 2);
  const header = family === 4 ? 20 : 40;
  quoted[family === 4 ? 9 : 6] = option === null ? protocol : 60;
  if (option !== null) quoted[header] = protocol;
  const error = concat(
    Uint8Array.of(...(family === 4 ? [3, 3] : [1, 4]), ...Array(6).fill(0)),
    quoted,
  );
  // The kernel fills in the checksum of ICMPv6 by itself.
  if (family === 4) setBe16(error, 2, slowChecksum(error));
  return error;
}

function makeHosts(): { own: string; other: string; device: string } {
  const [own, other] = [createNamespace("silent"), createNamespace("asker")];
  const device = uniqueDevice("s");
  const end = (namespace: string, name: string, address: { 4: string; 6: string }) => ({
    ...{ namespace, device: name },
    addresses: [`${address[4]}/24`, `${address[6]}/64`],
  });
  joinByVeth(end(own, uniqueDevice("s"), OWN), end(other, device, OTHER));
  return { own, other, device };
}

/** Sends ICMP messages from our host; how many of them the kernel let go. */
function sendErrors(own: string, family: 4 | 6, messages: Uint8Array[]): number {
  const argv = [process.execPath, SEND, `${family}`, family === 4 ? "1" : "58"];
  const input = messages.map((bytes) => Buffer.from(bytes).toString("hex")).join("\n");
  const { code, stderr } = trySync(own, [...argv, OWN[family], OTHER[family]], { input });
  // A send that a rule drops fails, and the program says how many left.
  return code === 0 ? messages.length : Number(/(\d+) of \d+ packets left/.exec(stderr)?.[1]);
}

for (const family of [4, 6] as const) {
  const name = `IPv${family}: errors about our protocols stay here, all others leave`;
  rootTest(test, name, async () => {
    const { own, other, device } = makeHosts();
    await applySilence(options(family), { netns: own });
    const seen = new Capture(other, device, family === 4 ? "icmp[0] = 3" : "ip6[40] = 1");
    try {
      await seen.started();
      const silenced = [unreachable(family, 4), unreachable(family, 41)];
      if (family === 6) silenced.push(unreachable(6, 4, 60));
      for (const message of silenced) assert.is(sendErrors(own, family, [message]), 0);
      const passing = [unreachable(family, UDP), unreachable(family, 47)];
      assert.is(sendErrors(own, family, passing), 2);
      await until("both are seen", () => seen.size() > 2 * 80);
      await seen.stop();
      assert.is(seen.frames("").length, 2);
    } finally {
      seen.remove();
    }
  });
}

test.run();
