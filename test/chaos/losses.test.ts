// Where packets may have ended: what of the kernel's tables is read, and what of it is new.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { addKernel, addLinks, grown, type Ledger, ledgerText, together } from "./losses.js";

/** A row of /proc/net/udp. */
const socket = (slot: number, port: string, dropped: number) => {
  const addresses = `00000000:${port} 00000000:0000 07 00000000:00000000`;
  return ` ${slot}: ${addresses} 00:00000000 00000000     0        0 4711 2 00000000 ${dropped}`;
};
const KERNEL = [
  ...["Ip: Forwarding InReceives InDiscards OutNoRoutes", "Ip: 2 1000 3 0"],
  ...["Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors", "Udp: 500 1 7 400 6"],
  ...["Ip6InReceives                   \t800", "Ip6InTooBigErrors               \t4"],
  ...["Udp6RcvbufErrors                \t2", "   sl  local_address rem_address  drops"],
  ...[socket(1189, "12B5", 9), socket(1190, "12B5", 1), socket(1191, "12B6", 0), ""],
].join("\n");

test("of the kernel's counters those are read that a packet's end moves, and each socket's", () => {
  const ledger: Ledger = new Map();
  addKernel(ledger, "n1", KERNEL);
  assert.equal(Object.fromEntries(ledger), {
    "n1 IpInDiscards": 3,
    "n1 UdpNoPorts": 1,
    "n1 UdpInErrors": 7,
    "n1 UdpRcvbufErrors": 6,
    "n1 Ip6InTooBigErrors": 4,
    "n1 Udp6RcvbufErrors": 2,
    "n1 socket of port or protocol 4789 dropped": 10,
  });
});

test("of a link all is read that did not pass", () => {
  const ledger: Ledger = new Map();
  const stats64 = { rx: { bytes: 9, packets: 9, dropped: 2 }, tx: { packets: 1, dropped: 0 } };
  addLinks(ledger, "net", [
    { ifindex: 4, ifname: "br0", stats64 },
    { ifindex: 5, ifname: "lo" },
  ]);
  assert.equal([...ledger], [["net br0#4 rx dropped", 2]]);
});

test("what grew is told of both stretches, and a counter that began anew counts from zero", () => {
  const before: Ledger = new Map([
    ["a", 5],
    ["b", 9],
  ]);
  const wires: Ledger = new Map([["w", 3]]);
  const after: Ledger = new Map([
    ["a", 5],
    ["b", 2],
    ["c", 1],
  ]);
  const more = grown(together(before, wires), after);
  assert.equal(Object.fromEntries(more), { b: 2, c: 1 });
  assert.is(ledgerText(together(wires, more)), "b: 2, c: 1, w: 3");
  assert.is(ledgerText(new Map()), "nothing");
});

test.run();
