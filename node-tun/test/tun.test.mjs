// TUN and TAP queues in a network namespace of their own: what the kernel grants, writes and reads.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { Batch, enterNamespace, field, inNamespace, ip, pattern, thrownBy } from "./support.mjs";

const rootTest = inNamespace(test, enterNamespace(import.meta.url));
const VNET = 10;
const PEER = field(10, 99, 0, 2);

let serial = 0;
const opened = [];
/** A device of a new name, up with 10.99.0.1/24 when asked. */
function open(options = {}, up = true) {
  const queue = tun.openTun({ name: `t${serial++}`, ...options });
  opened.push(queue.fd);
  if (up) {
    // Its router solicitations would come between the packets of a test.
    writeFileSync(`/proc/sys/net/ipv6/conf/${queue.name}/disable_ipv6`, "1");
    ip("link", "set", queue.name, "up");
    ip("address", "add", "10.99.0.1/24", "dev", queue.name);
  }
  return queue;
}
const close = () => opened.splice(0).forEach(tun.closeDescriptor);
const links = () => JSON.parse(ip("-json", "link", "show")).map((link) => link.ifname);
test.after.each(close);

/** Sends `bytes` as UDP to the far side of the TUN device; segment > 0 = one super-packet. */
function sendInto(batch, bytes, segment = 0) {
  const socket = tun.openUdp({ family: 4, address: "10.99.0.1", port: 0 });
  batch.put(0, { bytes, segment, peer: PEER, port: 9 });
  const sent = tun.writeUdpBatch(new Int32Array([socket.fd]), batch.memory, batch.at, 1);
  tun.closeDescriptor(socket.fd);
  return sent;
}

rootTest("a packet of the kernel comes with a vnet header before its IP header", () => {
  const queue = open({ vnetHeader: true, offloads: true });
  assert.is(queue.kind, "tun");
  assert.is(queue.vnetHeader, true);
  assert.is(queue.multiQueue, false);
  const batch = new Batch();
  assert.is(sendInto(batch, pattern(100)), 1);
  const [packet] = batch.collect(tun.readTunBatch, queue.fd, 1);
  assert.is(packet.length, VNET + 20 + 8 + 100);
  assert.is(packet.bytes[VNET], 0x45);
  assert.is(packet.bytes.readUInt16BE(VNET + 2), 128);
  assert.is(packet.flags, 0);
  assert.is(packet.status, 0);
  assert.is(tun.readTunBatch(queue.fd, batch.preset(4).memory, batch.at, 4), 0, "then nothing");
});

rootTest("offloads: the kernel hands over one super-packet where USO was granted", () => {
  const queue = open({ vnetHeader: true, offloads: true });
  const { offloads } = queue;
  assert.ok(offloads.checksum && offloads.tso4 && offloads.tso6);
  const batch = new Batch();
  assert.is(sendInto(batch, pattern(5000), 1000), 1);
  const packets = batch.collect(tun.readTunBatch, queue.fd, offloads.uso4 ? 1 : 5);
  if (offloads.uso4) {
    assert.is(packets[0].length, VNET + 28 + 5000);
    assert.is(packets[0].bytes[1], 5, "gso_type UDP_L4");
    assert.is(packets[0].bytes.readUInt16LE(4), 1000, "gso_size");
  } else {
    assert.is(packets.length, 5);
  }
});

rootTest("without offloads the same send comes as packets with finished checksums", () => {
  const queue = open({ vnetHeader: true });
  const none = { checksum: false, tso4: false, tso6: false, ecn: false, uso4: false, uso6: false };
  assert.equal(queue.offloads, none);
  const batch = new Batch();
  assert.is(sendInto(batch, pattern(5000), 1000), 1);
  const packets = batch.collect(tun.readTunBatch, queue.fd, 5);
  assert.is(packets.length, 5);
  assert.ok(packets.every((packet) => packet.length === VNET + 1028 && packet.bytes[0] === 0));
});

rootTest("ping through the device: what is read can be answered in place", async () => {
  const queue = open({ vnetHeader: true, offloads: true });
  const batch = new Batch();
  const ping = spawn("ping", ["-c", "3", "-i", "0.01", "-W", "5", "10.99.0.2"]);
  const ended = new Promise((resolve) => ping.once("close", resolve));
  const fds = new Int32Array([queue.fd]);
  for (let answered = 0; answered < 3; answered++) {
    const [request] = batch.collect(tun.readTunBatch, queue.fd, 1);
    const reply = Buffer.from(request.bytes);
    request.bytes.copy(reply, VNET + 12, VNET + 16, VNET + 20);
    request.bytes.copy(reply, VNET + 16, VNET + 12, VNET + 16);
    assert.is(reply[VNET + 20], 8);
    reply[VNET + 20] = 0;
    // RFC 1624: the checksum grows by what the type shrank
    reply.writeUInt16BE((reply.readUInt16BE(VNET + 22) + 0x0800) % 0xffff, VNET + 22);
    batch.put(0, { bytes: reply });
    assert.is(tun.writeTunBatch(fds, batch.memory, batch.at, 1), 1);
    assert.is(batch.get(0).status, 0);
    assert.is(batch.get(0).failed, 0);
  }
  assert.is(await ended, 0);
});

rootTest("a packet larger than its slot is flagged and cut, one that just fits is not", () => {
  const queue = open();
  const batch = new Batch();
  for (const size of [73, 72]) assert.is(sendInto(batch, pattern(size)), 1);
  batch.preset(3, 100);
  assert.is(tun.readTunBatch(queue.fd, batch.memory, batch.at, 3, 5), 2);
  assert.equal(
    [0, 1].map((i) => [batch.get(i).length, batch.get(i).flags, batch.get(i).socket]),
    [
      [100, tun.descriptorLayout.D_FLAG_TRUNCATED, 5],
      [100, 0, 5],
    ],
  );
});

test("a slot longer than any packet tells one that fills it, and longer, as cut", () => {
  const pair = tun.openSocketPair();
  const [from, into] = pair;
  const batch = new Batch();
  const [longest, slot] = [10 + 18 + 65535, 70000];
  const seen = [longest, slot - 1, slot, slot + 1].map((length) => {
    batch.put(0, { bytes: pattern(length) }, slot + 1);
    assert.is(tun.writeTunBatch(new Int32Array([from]), batch.memory, batch.at, 1), 1);
    batch.preset(1, slot);
    assert.is(tun.readTunBatch(into, batch.memory, batch.at, 1), 1);
    return [batch.get(0).length, batch.get(0).flags];
  });
  assert.equal(seen, [
    [longest, 0],
    [slot - 1, 0],
    [slot, tun.descriptorLayout.D_FLAG_TRUNCATED],
    [slot, tun.descriptorLayout.D_FLAG_TRUNCATED],
  ]);
  for (const length of [longest, longest + 1]) {
    batch.put(0, { bytes: pattern(length) }, slot);
    assert.is(tun.writeTunBatch(new Int32Array([from]), batch.memory, batch.at, 1), 1);
    batch.preset(1, longest);
    assert.is(tun.readTunBatch(into, batch.memory, batch.at, 1), 1);
    const flag = length > longest ? tun.descriptorLayout.D_FLAG_TRUNCATED : 0;
    assert.equal([batch.get(0).length, batch.get(0).flags], [longest, flag]);
  }
  pair.forEach(tun.closeDescriptor);
});

rootTest("two queues of one device, and what a third must say", () => {
  const first = open({ multiQueue: true });
  const second = open({ name: first.name, multiQueue: true }, false);
  assert.is(second.name, first.name);
  assert.is(second.multiQueue, true);
  const error = thrownBy(() => open({ name: first.name }, false));
  assert.is(error.code, "EINVAL");
  assert.is(error.object, first.name);
  assert.match(error.message, /other flags/);
  const batch = new Batch();
  const fds = new Int32Array([first.fd, second.fd]);
  const packet = Buffer.from(
    "4500001c0000400040110000" + "0a6300020a630001" + "0009000900080000",
    "hex",
  );
  for (let i = 0; i < 4; i++) batch.put(i, { bytes: packet, socket: i % 2 });
  assert.is(tun.writeTunBatch(fds, batch.memory, batch.at, 4), 4);
});

rootTest("a device in use is EBUSY, and so is an existing one when it must be new", () => {
  const held = open({ persist: true });
  for (const options of [{ name: held.name }, { name: held.name, exclusive: true }]) {
    const error = thrownBy(() => open(options, false));
    assert.instance(error, tun.SystemCallError);
    assert.is(error.code, "EBUSY");
    assert.is(error.errno, 16);
    assert.is(error.syscall, "ioctl TUNSETIFF");
    assert.is(error.object, held.name);
  }
  close();
  assert.is(thrownBy(() => open({ name: held.name, exclusive: true }, false)).code, "EBUSY");
  assert.is(open({ name: held.name, persist: false }, false).name, held.name);
});

rootTest("a persistent device outlives its queue, until it is told not to", () => {
  const { name } = open({ persist: true });
  close();
  assert.ok(links().includes(name));
  tun.setTunPersist(open({ name }, false).fd, false);
  close();
  assert.not.ok(links().includes(name));
  const other = open({}, false);
  tun.setTunPersist(other.fd, true);
  close();
  assert.ok(links().includes(other.name));
  ip("link", "delete", other.name);
});

rootTest("the kernel chooses the number of a name with %d", () => {
  assert.match(open({ name: "many%d" }).name, /^many\d+$/);
});

rootTest("a TAP queue carries Ethernet frames", () => {
  const queue = open({ kind: "tap" });
  assert.is(queue.kind, "tap");
  const batch = new Batch();
  ip("neighbour", "add", "10.99.0.2", "lladdr", "02:00:00:00:00:02", "dev", queue.name);
  assert.is(sendInto(batch, pattern(30)), 1);
  const [frame] = batch.collect(tun.readTunBatch, queue.fd, 1);
  assert.is(frame.bytes.subarray(0, 6).toString("hex"), "020000000002");
  assert.is(frame.bytes.readUInt16BE(12), 0x0800);
  assert.is(frame.length, 14 + 28 + 30);
});

rootTest("what cannot be written says why, and the rest of the batch is written", () => {
  const queue = open();
  const down = open({}, false);
  const batch = new Batch();
  const packet = Buffer.from(
    "4500001c0000400040110000" + "0a6300020a630001" + "0009000900080000",
    "hex",
  );
  batch.put(0, { bytes: packet });
  batch.put(1, { bytes: packet, socket: 1, segments: 7 });
  batch.put(2, { bytes: packet, socket: 2 });
  batch.put(3, { address: batch.memory.length - 1, length: 2, segments: 2 });
  batch.put(4, { bytes: [0x75, 0, 0] });
  batch.put(5, { bytes: packet });
  const fds = new Int32Array([queue.fd, down.fd]);
  assert.is(tun.writeTunBatch(fds, batch.memory, batch.at, 6), 2);
  const seen = Array.from({ length: 6 }, (_, i) => [batch.get(i).status, batch.get(i).failed]);
  const [EIO, EBADF, EFAULT, EINVAL] = [5, 9, 14, 22];
  assert.equal(seen, [
    [0, 0],
    [EIO, 7],
    [EBADF, 1],
    [EFAULT, 2],
    [EINVAL, 1],
    [0, 0],
  ]);
});

rootTest("an adopted queue tells its name, kind and offloads", () => {
  const queue = open({ vnetHeader: true, offloads: true, multiQueue: true });
  assert.equal(tun.adoptTun(queue.fd), queue);
  const plain = open({ kind: "tap" });
  assert.equal(tun.adoptTun(plain.fd), plain);
});

rootTest("a deleted device wakes the poller, and reading it is an error", () => {
  const queue = open();
  const poller = tun.openPoller();
  tun.pollerAdd(poller, queue.fd, 77);
  ip("link", "delete", queue.name);
  const ready = new Uint32Array(2);
  assert.is(tun.pollerWait(poller, ready, 3e6), 1);
  assert.is(ready[0], 77);
  const batch = new Batch();
  const error = thrownBy(() => tun.readTunBatch(queue.fd, batch.preset(1).memory, batch.at, 1));
  assert.is(error.code, "EBADFD");
  tun.closeDescriptor(poller);
});

test("options that cannot be are TypeErrors that say so", () => {
  const cases = [
    [{ name: "" }, /name/],
    [{ name: "a/b" }, /name/],
    [{ name: "sixteen-bytes-xx" }, /name/],
    [{ name: "a b" }, /name/],
    [{ name: 7 }, /name/],
    [{}, /name/],
    [{ name: "x", kind: "bridge" }, /kind/],
    [{ name: "x", offloads: true }, /vnetHeader/],
    [{ name: "x", multiQueue: 1 }, /multiQueue/],
    [{ name: "x", persist: "yes" }, /persist/],
    [{ name: "x", queues: 2 }, /unknown option queues/],
    [null, /options/],
  ];
  for (const [options, message] of cases) {
    const error = thrownBy(() => tun.openTun(options));
    assert.instance(error, TypeError, JSON.stringify(options));
    assert.match(error.message, message);
  }
});

test.run();
