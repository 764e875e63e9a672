// An interface that takes nothing but PPTP, by a real kernel's nftables and real traffic:
//
//   outside 192.0.2.9, .10 --eth0-- host 192.0.2.1 --pod0-- pod 10.244.1.5
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  applyPptpFilter,
  type PptpFilterOptions,
  type RefusedCounts,
  readPptpFilter,
  removePptpFilter,
  run,
} from "../../src/host/index.js";
import { pptpFilterChange, pptpFilterText } from "../../src/host/pptp-filter.js";
import {
  cleanUp,
  createNamespace,
  joinByVeth,
  pings,
  runSync,
  spawnIn,
  until,
} from "../support/netns.js";
import { rootTest } from "../support/root.js";

const RAW_SEND = fileURLToPath(new URL("../support/raw-send.js", import.meta.url));
const OPTIONS: PptpFilterOptions = { overlay: "mesh0", device: "eth0", callers: [], mesh: null };

/** What passed the filter, counted behind it. */
const JUDGE = `table inet judge {
  chain input {
    type filter hook input priority 0;
    iifname "eth0" meta l4proto tcp counter comment "tcp"
    iifname "eth0" meta l4proto udp counter comment "udp"
    iifname "eth0" meta l4proto gre counter comment "gre"
    iifname "eth0" meta l4proto { icmp, ipv6-icmp } counter comment "icmp"
  }
}
`;
/** Accepts on each port and says so. */
const LISTEN = `for (const port of process.argv.slice(1)) require("node:net").createServer((s) => {
  s.on("error", () => 0); s.end("x"); }).listen(port, "::", () => console.log(port));`;
/** Prints what became of a connection: ADDRESS PORT MILLISECONDS. */
const CONNECT = `const [host, port, wait] = process.argv.slice(1);
const s = require("node:net").connect({ host, port });
const end = (word) => { console.log(word); process.exit(); };
s.on("data", () => end("open")); s.on("error", (e) => end(e.code));
setTimeout(() => end("silent"), Number(wait));`;
/** What comes in is answered by then, also on a busy machine; what does not would take for ever. */
const ANSWERED_MS = 15_000;
const SILENT_MS = 600;
/** A datagram to a closed port: prints the ICMP error that came back. */
const ASK = `const s = require("node:dgram").createSocket("udp4");
s.on("error", (e) => { console.log(e.code); process.exit(); });
s.connect(9, process.argv[1], () => { s.send("x"); setTimeout(() => s.send("x"), 100); });
setTimeout(() => { console.log("silent"); process.exit(); }, 15000);`;

/** A datagram of 3000 bytes as a DHCP server would send it. */
const LONG = `const s = require("node:dgram").createSocket("udp4");
s.bind(67, () => s.send(Buffer.alloc(3000), 68, "192.0.2.1", () => s.close()));`;

interface Scene {
  outside: string;
  host: string;
  pod: string;
}

async function listen(namespace: string, ...ports: string[]): Promise<void> {
  const child = spawnIn(namespace, [process.execPath, "-e", LISTEN, ...ports]);
  let said = "";
  child.stdout?.on("data", (piece: Buffer) => {
    said += piece;
  });
  await until("somebody listens", () => said.split("\n").length > ports.length);
}

async function makeScene(): Promise<Scene> {
  const [outside = "", host = "", pod = ""] = ["out", "host", "pod"].map(createNamespace);
  for (const namespace of [outside, host, pod]) {
    const dad = "net.ipv6.conf.default.accept_dad=0";
    // An answer that the filter refuses would come again, in the counts of what is tested next.
    runSync(namespace, ["sysctl", "-qw", dad, "net.ipv4.tcp_synack_retries=0"]);
  }
  joinByVeth(
    { namespace: host, device: "eth0", addresses: ["192.0.2.1/24", "fd99::1/64"] },
    {
      namespace: outside,
      device: "eth0",
      addresses: ["192.0.2.9/24", "192.0.2.10/24", "fd99::9/64"],
    },
  );
  joinByVeth(
    { namespace: host, device: "pod0", addresses: ["10.244.1.1/24"] },
    { namespace: pod, device: "eth0", addresses: ["10.244.1.5/24"] },
  );
  runSync(host, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  runSync(pod, ["ip", "route", "add", "default", "via", "10.244.1.1"]);
  runSync(outside, ["ip", "route", "add", "10.244.1.0/24", "via", "192.0.2.1"]);
  runSync(host, ["nft", "-f", "-"], { input: JUDGE });
  await listen(host, "1723", "8022", "4222");
  await listen(outside, "1723", "8022", "4222");
  return { outside, host, pod };
}

function connects(from: string, address: string, port: number, wait_ms = ANSWERED_MS): string {
  const argv = [process.execPath, "-e", CONNECT, address, `${port}`, `${wait_ms}`];
  return runSync(from, argv).trim();
}

/** Sends packets behind an IP header, in hex. */
function send(
  from: string,
  protocol: number,
  source: string,
  packets: string[],
  to?: string,
): void {
  const [family, own] = source.includes(":") ? ["6", "fd99::1"] : ["4", "192.0.2.1"];
  const target = to ?? own;
  const argv = [process.execPath, RAW_SEND, family, `${protocol}`, source, target];
  runSync(from, argv, { input: packets.join("\n") });
}

const words = (...numbers: number[]) =>
  numbers.map((number) => number.toString(16).padStart(4, "0")).join("");
const udp = (source: number, target: number) => words(source, target, 12, 0, 1, 2);
const GRE = 47;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
/** Enhanced GRE: flags, protocol, length 4, call id 7, sequence 0, an LCP frame's beginning. */
const CALL = `3001880b${words(4, 7, 0, 0)}ff03c021`;
const OTHER_GRE = [`2000880b${words(4, 7, 0, 0)}`, `30010800${words(4, 7, 0, 0)}`, "00000800"];
/** From port 1723 to 8022. */
const SYN = words(1723, 8022, 0, 1, 0, 0, 0x5002, 0xffff, 0, 0);
const ECHO_REQUEST = "0800f7ff00000000";
const REDIRECT = `0501${words(0)}c0000209${"45000014".padEnd(40, "0")}0000000000000000`;

function passed(host: string): Record<string, number> {
  const listed = runSync(host, ["nft", "list", "table", "inet", "judge"]);
  const rows = listed.matchAll(/counter packets (\d+) bytes \d+ comment "(\w+)"/g);
  return Object.fromEntries([...rows].map(([, packets, name]) => [name, Number(packets)]));
}

async function refused(host: string): Promise<Record<string, number>> {
  const counts = await readPptpFilter("mesh0", { netns: host });
  const all = Object.entries(counts ?? ({} as RefusedCounts));
  return Object.fromEntries(all.map(([kind, { packets }]) => [kind, packets]));
}

/**
 * What `work` made pass and made the filter refuse; kinds that did not change are left out. ICMP
 * is never still: neighbours look for each other and report multicast groups.
 */
async function changes(host: string, work: () => void): Promise<Record<string, number>> {
  const before = { ...passed(host), ...prefixed(await refused(host)) };
  work();
  const after: Record<string, number> = { ...passed(host), ...prefixed(await refused(host)) };
  const moved = Object.entries(after).filter(
    ([key, count]) => !key.endsWith("icmp") && count !== before[key],
  );
  return Object.fromEntries(moved.map(([key, count]) => [key, count - (before[key] ?? 0)]));
}

const prefixed = (counts: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).map(([kind, n]) => [`no ${kind}`, n]));

rootTest(test, "only TCP 1723 and GRE of callers come in, and what is refused counts", async () => {
  const { outside, host, pod } = await makeScene();
  const where = { netns: host };
  assert.is(connects(outside, "192.0.2.1", 8022), "open", "without the filter all passes");
  assert.ok(pings(outside, "192.0.2.1") && pings(outside, "10.244.1.5"));
  assert.is(await applyPptpFilter(OPTIONS, where), true);
  assert.is(await applyPptpFilter(OPTIONS, where), false);

  for (const address of ["192.0.2.1", "fd99::1"]) {
    assert.is(connects(outside, address, 1723), "open");
    assert.is(connects(outside, address, 8022, SILENT_MS), "silent");
  }
  const begin = () => send(outside, TCP, "192.0.2.9", [SYN]);
  assert.equal(await changes(host, begin), { "no tcp": 1 }, "what comes from 1723 may be new");
  assert.not(pings(outside, "192.0.2.1", 56, 1));
  assert.not(pings(outside, "10.244.1.5", 56, 1), "nor is anything let through to pods");
  const gre = () => send(outside, GRE, "192.0.2.9", [CALL, CALL]);
  assert.equal(await changes(host, gre), { "no gre": 2 }, "no control connection, no call");
  const datagrams = () => send(outside, UDP, "192.0.2.9", [udp(4000, 8472), udp(68, 67)]);
  assert.equal(await changes(host, datagrams), { "no udp": 2 });
  const strange = () => send(outside, 132, "192.0.2.9", ["00".repeat(12)]);
  assert.equal(await changes(host, strange), { "no other": 1 });
  const echo = () => send(outside, ICMP, "192.0.2.9", [ECHO_REQUEST, REDIRECT]);
  const before = (await refused(host)).icmp ?? 0;
  echo();
  assert.ok(((await refused(host)).icmp ?? 0) >= before + 2);
  assert.ok(pings(pod, "10.244.1.1"), "other interfaces are left alone");

  // Addresses of callers come and go, counts stay.
  const sum = await refused(host);
  assert.is(await applyPptpFilter({ ...OPTIONS, callers: ["192.0.2.9", "fd99::9"] }, where), true);
  assert.equal(await refused(host), sum);
  assert.equal(await changes(host, gre), { gre: 2 });
  const elsewhere = () => send(outside, GRE, "192.0.2.10", [CALL]);
  assert.equal(await changes(host, elsewhere), { "no gre": 1 });
  const notPptp = () => send(outside, GRE, "192.0.2.9", OTHER_GRE);
  assert.equal(await changes(host, notPptp), { "no gre": 3 }, "GRE of other sorts");
  const through = () => {
    send(outside, GRE, "192.0.2.9", [CALL], "10.244.1.5");
    send(outside, UDP, "192.0.2.9", [udp(67, 68)], "10.244.1.5");
    send(outside, TCP, "192.0.2.9", [SYN.replace("1f56", "06bb")], "10.244.1.5");
  };
  assert.equal(await changes(host, through), { "no gre": 1, "no udp": 1, "no tcp": 1 });
  const six = () => send(outside, GRE, "fd99::9", [CALL]);
  assert.equal(await changes(host, six), { gre: 1 });
  await applyPptpFilter(OPTIONS, where);
  assert.equal(await changes(host, gre), { "no gre": 2 });

  assert.is(await removePptpFilter("mesh0", where), true);
  assert.is(await removePptpFilter("mesh0", where), false);
  assert.is(await readPptpFilter("mesh0", where), undefined);
  assert.is(connects(outside, "192.0.2.1", 8022), "open");
});

rootTest(test, "errors, neighbours, DHCP and answers to own dials come in", async () => {
  const { outside, host } = await makeScene();
  const where = { netns: host };
  await applyPptpFilter(OPTIONS, where);
  assert.is(connects(host, "192.0.2.9", 1723), "open", "an answer to a dial of ours");
  assert.is(connects(host, "192.0.2.9", 8022, SILENT_MS), "silent", "an answer to anything else");
  const ask = () => runSync(host, [process.execPath, "-e", ASK, "192.0.2.9"]);
  assert.is(ask().trim(), "ECONNREFUSED", "an ICMP error");
  const dhcp = () => send(outside, UDP, "192.0.2.9", [udp(67, 68)]);
  assert.equal(await changes(host, dhcp), { udp: 1 });
  for (const namespace of [host, outside]) {
    runSync(namespace, ["ip", "-6", "neighbour", "flush", "dev", "eth0"]);
    runSync(namespace, ["ip", "-4", "neighbour", "flush", "dev", "eth0"]);
  }
  assert.is(connects(outside, "fd99::1", 1723), "open", "neighbours find each other");
  assert.is(connects(host, "192.0.2.9", 1723), "open");
  const long = () => runSync(outside, [process.execPath, "-e", LONG]);
  assert.equal(await changes(host, long), { udp: 1 }, "fragments are judged as one packet");
});

rootTest(test, "with the mesh its tunnel comes in from members, and NATS both ways", async () => {
  const { outside, host } = await makeScene();
  const where = { netns: host };
  const ports = { udpPorts: [8472], ipProtocols: [4], natsPorts: [4222] };
  const mesh = { ...ports, members: ["192.0.2.9"], bare: ["192.0.2.10"] };
  await applyPptpFilter({ ...OPTIONS, mesh }, where);
  const member = () => send(outside, UDP, "192.0.2.9", [udp(4000, 8472), udp(4000, 8473)]);
  assert.equal(await changes(host, member), { udp: 1, "no udp": 1 });
  runSync(outside, ["ip", "address", "add", "192.0.2.11/24", "dev", "eth0"]);
  const stranger = () => send(outside, UDP, "192.0.2.11", [udp(4000, 8472)]);
  assert.equal(await changes(host, stranger), { "no udp": 1 });
  const raw = () => send(outside, 4, "192.0.2.9", ["45000014".padEnd(40, "0")]);
  assert.equal(await changes(host, raw), {}, "IP in IP of a member is not refused");
  const bare = () => send(outside, UDP, "192.0.2.10", [udp(4000, 9999)]);
  assert.equal(await changes(host, bare), { udp: 1 }, "a pod's packet without a tunnel");
  const foreign = () => send(outside, 4, "192.0.2.11", ["45000014".padEnd(40, "0")]);
  assert.equal(await changes(host, foreign), { "no other": 1 });
  assert.is(connects(outside, "192.0.2.1", 4222), "open");
  assert.is(connects(host, "192.0.2.9", 4222), "open");
  assert.is(connects(outside, "192.0.2.1", 8022, SILENT_MS), "silent");
});

rootTest(test, "a spoiled table is mended", async () => {
  const host = createNamespace("host");
  const where = { netns: host };
  await applyPptpFilter(OPTIONS, where);
  for (const spoil of [
    "add element inet meshd_mesh0_pptp callers4 { 10.0.0.1/32 }\n",
    "flush chain inet meshd_mesh0_pptp gate\n",
    "add rule inet meshd_mesh0_pptp gate accept\n",
    "delete table inet meshd_mesh0_pptp\n",
  ]) {
    await run(["nft", "-f", "-"], { ...where, input: spoil });
    assert.is(await applyPptpFilter(OPTIONS, where), true, spoil);
    assert.is(await applyPptpFilter(OPTIONS, where), false, spoil);
  }
});

test("the table's text is of its options alone, and refuses what is no address or device", () => {
  const two = { ...OPTIONS, callers: ["192.0.2.9", "192.0.2.8"] };
  assert.is(pptpFilterText(two), pptpFilterText({ ...two, callers: [...two.callers].reverse() }));
  assert.is(pptpFilterChange(OPTIONS, undefined), pptpFilterText(OPTIONS));
  assert.throws(() => pptpFilterText({ ...OPTIONS, callers: ["1.1.1.1 }"] }), /prefix/);
  assert.throws(() => pptpFilterText({ ...OPTIONS, device: 'e"0' }));
});

// Who listens would keep this process alive.
test.after(cleanUp);
test.run();
