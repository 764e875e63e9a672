// Sends that a link or a route refuses, in a network namespace of their own: nobody else's packet
// suffers, and every descriptor says what became of it.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { Batch, enterNamespace, field, inNamespace, ip, LOOPBACK4, pattern } from "./support.mjs";

const rootTest = inNamespace(test, enterNamespace(import.meta.url));
const [EAGAIN, EMSGSIZE, ENETUNREACH] = [11, 90, 101];
const opened = [];
function open(options) {
  const socket = tun.openUdp({ family: 4, address: "0.0.0.0", port: 0, ...options });
  opened.push(socket.fd);
  return socket;
}
test.after.each(() => {
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
});

rootTest("a train whose segments are too long for the link: only its short last one goes", () => {
  ip("link", "set", "lo", "mtu", "1500");
  const into = open();
  const from = open();
  const batch = new Batch();
  batch.put(0, { bytes: pattern(3 * 1600 + 10), segment: 1600, peer: LOOPBACK4, port: into.port });
  batch.put(1, { bytes: pattern(3 * 1400), segment: 1400, peer: LOOPBACK4, port: into.port });
  assert.is(tun.writeUdpBatch(new Int32Array([from.fd]), batch.memory, batch.at, 2), 1);
  assert.equal([batch.get(0).status, batch.get(0).failed], [EMSGSIZE, 3]);
  assert.equal([batch.get(1).status, batch.get(1).failed], [0, 0]);
  const lengths = batch.collect(tun.readUdpBatch, into.fd, 4).map((packet) => packet.length);
  assert.equal(lengths, [10, 1400, 1400, 1400]);
  ip("link", "set", "lo", "mtu", "65536");
});

rootTest("a peer without a route fails alone", () => {
  const into = open();
  const from = open();
  const batch = new Batch();
  for (let i = 0; i < 6; i++) {
    const peer = i % 2 === 0 ? field(198, 51, 100, i) : LOOPBACK4;
    batch.put(i, { bytes: [i], peer, port: into.port });
  }
  assert.is(tun.writeUdpBatch(new Int32Array([from.fd]), batch.memory, batch.at, 6), 3);
  const statuses = Array.from({ length: 6 }, (_, i) => batch.get(i).status);
  assert.equal(statuses, [ENETUNREACH, 0, ENETUNREACH, 0, ENETUNREACH, 0]);
  assert.is(batch.collect(tun.readUdpBatch, into.fd, 3).length, 3);
});

/** A link from 10.98.0.1 to 10.98.0.2 that keeps what it is given. */
function addSlowLink() {
  ip("link", "add", "slow0", "type", "veth", "peer", "name", "slow1");
  ip("address", "add", "10.98.0.1/24", "dev", "slow0");
  ip("link", "set", "slow0", "up");
  ip("link", "set", "slow1", "up");
  ip("neighbour", "add", "10.98.0.2", "lladdr", "02:00:00:00:00:02", "dev", "slow0");
  execFileSync("tc", "qdisc add dev slow0 root tbf rate 8kbit burst 2kb limit 100mb".split(" "));
}

rootTest(
  "a full send buffer fails its own packets after a short wait, not another socket's",
  () => {
    addSlowLink();
    const into = open({ receiveBuffer: 1 << 20 });
    const full = open({ sendBuffer: 20000, address: "10.98.0.1" });
    const free = open();
    const batch = new Batch();
    for (let i = 0; i < 200; i++) {
      const socket = i % 4 === 3 ? 1 : 0;
      const way =
        socket === 1
          ? { peer: LOOPBACK4, port: into.port }
          : { peer: field(10, 98, 0, 2), port: 9 };
      batch.put(i, { bytes: pattern(1400), socket, ...way }, 1500);
    }
    const sent = tun.writeUdpBatch(new Int32Array([full.fd, free.fd]), batch.memory, batch.at, 200);
    const all = Array.from({ length: 200 }, (_, i) => batch.get(i));
    const slow = all.filter((_, i) => i % 4 !== 3);
    const quick = all.filter((_, i) => i % 4 === 3);
    assert.ok(quick.every((packet) => packet.status === 0));
    assert.is(batch.collect(tun.readUdpBatch, into.fd, 50).length, 50);
    const failed = slow.filter((packet) => packet.status === EAGAIN && packet.failed === 1);
    const gone = slow.filter((packet) => packet.status === 0 && packet.failed === 0);
    assert.is(failed.length + gone.length, 150);
    assert.ok(failed.length > 0 && gone.length > 0);
    assert.is(sent, 50 + gone.length);
    ip("link", "delete", "slow0");
  },
);

/** How often the thread has slept so far. */
function sleeps() {
  const status = readFileSync("/proc/thread-self/status", "utf8");
  return Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)[1]);
}

rootTest("however many send buffers are full, a batch waits once", () => {
  addSlowLink();
  const sockets = Array.from({ length: 7 }, () =>
    open({ sendBuffer: 20000, address: "10.98.0.1" }),
  );
  const fds = Int32Array.from(sockets, ({ fd }) => fd);
  const batch = new Batch();
  const write = () => {
    for (let i = 0; i < 210; i++) {
      const way = { peer: field(10, 98, 0, 2), port: 9, socket: i % 7 };
      batch.put(i, { bytes: pattern(1400), ...way }, 1500);
    }
    return tun.writeUdpBatch(fds, batch.memory, batch.at, 210);
  };
  assert.ok(write() > 0);
  const before = sleeps();
  assert.is(write(), 0);
  const slept = sleeps() - before;
  assert.ok(slept >= 1 && slept < 4, `slept ${slept} times`);
  ip("link", "delete", "slow0");
});

test.run();
