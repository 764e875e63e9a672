// What the benches read from ping and /proc, and which options they take.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parsePing } from "../../bench/measure/ping.js";
import {
  fineCpuSeconds,
  parseChildrenSeconds,
  parseCpuSeconds,
  parseResident,
  parseRunSeconds,
} from "../../bench/support/processes.js";
import { parseProcessors } from "../../bench/support/processor.js";
import { Results } from "../../bench/support/results.js";

test("round-trip times are taken from ping's lines, lost ones are not there", () => {
  const text = [
    "PING 10.1.0.0 (10.1.0.0) 56(84) bytes of data.",
    "64 bytes from 10.1.0.0: icmp_seq=1 ttl=64 time=0.061 ms",
    "64 bytes from 10.1.0.0: icmp_seq=3 ttl=64 time=1.25 ms",
    "--- 10.1.0.0 ping statistics ---",
    "3 packets transmitted, 2 received, 33.3333% packet loss, time 4ms",
    "rtt min/avg/max/mdev = 0.061/0.655/1.250/0.594 ms",
  ].join("\n");
  assert.equal(parsePing(text), [61, 1250]);
});

test("a list of processors is single ones and ranges", () => {
  assert.equal(parseProcessors("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
  assert.equal(parseProcessors("3"), [3]);
});

test("CPU time is user and system time, also of a program with brackets in its name", () => {
  const fields = "S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 11 0 4242 1 2";
  assert.is(parseCpuSeconds(`77 (a) b (c) ${fields}`), 4);
});

test("time of ended children and of threads is read beside it, finer than a tick", () => {
  const fields = "S 1 2 3 4 5 6 7 8 9 10 250 150 30 45 20 0 11 0 4242 1 2";
  assert.is(parseChildrenSeconds(`77 (a) b (c) ${fields}`), 0.75);
  assert.is(parseRunSeconds("1500000 7000 42\n"), 0.0015);
  const before = fineCpuSeconds([process.pid]);
  let after = before;
  for (let turn = 0; turn < 1e5 && after <= before; turn += 1) {
    after = fineCpuSeconds([process.pid]);
  }
  assert.ok(after > before, "reading alone takes time");
});

test("resident memory is read in bytes", () => {
  assert.is(parseResident("VmHWM:\t  200 kB\nVmRSS:\t    100 kB\n"), 102_400);
});

test("results compare each carrier with kernel VXLAN of the same rounds and leg", () => {
  const results = new Results();
  const leg = "mtu1500";
  results.add({ leg, round: 1, carrier: "vxlan" }, { tcp1: 10 });
  results.add({ leg, round: 1, carrier: "meshd" }, { tcp1: 8, daemons: 1.5 });
  results.add({ leg, round: 2, carrier: "vxlan" }, { tcp1: 20 });
  results.add({ leg, round: 2, carrier: "meshd" }, { tcp1: 10 });
  results.add({ leg: "mtu9000", round: 1, carrier: "raw" }, { tcp1: 99 });
  const expected = { median: 0.6, min: 0.5, max: 0.8, count: 2 };
  assert.equal(results.ratio(leg, "meshd", "tcp1"), expected);
  assert.is(results.summary(leg, "raw", "tcp1"), undefined);
  assert.equal(results.legs(), [leg, "mtu9000"]);
  assert.equal(results.carriers(leg), ["vxlan", "meshd"]);
  const rows = results.table(leg).split("\n");
  assert.is(rows.length, 4, "head, rule, TCP and CPU: what nobody measured has no row");
  assert.match(rows[2] ?? "", /TCP 1 stream .* 15\.0 \(10\.0-20\.0\) .* 0\.60 \(0\.50-0\.80\)$/);
});

test.run();
