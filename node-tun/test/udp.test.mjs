// UDP sockets over loopback: trains, TOS, destinations, errors. Needs no privilege.
import dgram from "node:dgram";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import { Batch, field, LOOPBACK4, LOOPBACK6, pattern, thrownBy } from "./support.mjs";

const opened = [];
const open = (options) => {
  const socket = tun.openUdp({ family: 4, address: "127.0.0.1", port: 0, ...options });
  opened.push(socket.fd);
  return socket;
};
test.after.each(() => {
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
});

const send = (batch, socket, count) =>
  tun.writeUdpBatch(new Int32Array([socket.fd]), batch.memory, batch.at, count);
const bytesOf = (packets) => Buffer.concat(packets.map((packet) => packet.bytes));

for (const family of [4, 6]) {
  const address = family === 4 ? "127.0.0.1" : "::1";
  const peer = family === 4 ? LOOPBACK4 : LOOPBACK6;

  test(`IPv${family}: a train sent at once is received at once, with TOS and both ends`, () => {
    const into = open({ family, address, receiveOffload: true, receiveBuffer: 1 << 20 });
    const from = open({ family, address, segmentation: true, sendBuffer: 1 << 20 });
    assert.is(from.segmentation, true);
    assert.is(into.receiveOffload, true);
    assert.is(from.receiveOffload, false);
    const batch = new Batch();
    const bytes = pattern(20 * 1400 + 17);
    batch.put(0, { bytes, segment: 1400, tos: 0xb9, family, peer, port: into.port });
    assert.is(send(batch, from, 1), 1);
    assert.is(batch.get(0).status, 0);
    assert.is(batch.get(0).failed, 0);
    const [got, ...more] = batch.collect(tun.readUdpBatch, into.fd, 1);
    assert.is(more.length, 0);
    assert.is(got.length, bytes.length);
    assert.is(got.segment, 1400);
    assert.is(got.tos, 0xb9);
    assert.is(got.family, family);
    assert.is(got.port, from.port);
    assert.is(got.flags, 0);
    assert.is(got.status, 0);
    assert.equal(got.peer, peer);
    assert.equal(got.local, peer);
    assert.ok(got.bytes.equals(Buffer.from(bytes)));
  });

  test(`IPv${family}: without receive offload the same train comes as datagrams`, () => {
    const into = open({ family, address, receiveBuffer: 1 << 20 });
    const from = open({ family, address, sendBuffer: 1 << 20 });
    const batch = new Batch();
    const bytes = pattern(10 * 1000 + 1);
    batch.put(0, { bytes, segment: 1000, family, peer, port: into.port });
    assert.is(send(batch, from, 1), 1);
    const packets = batch.collect(tun.readUdpBatch, into.fd, 11);
    assert.equal(
      packets.map((packet) => packet.length),
      [...new Array(10).fill(1000), 1],
    );
    assert.ok(packets.every((packet) => packet.segment === 0 && packet.tos === 0));
    assert.ok(bytesOf(packets).equals(Buffer.from(bytes)));
  });
}

for (const family of [4, 6]) {
  const address = family === 4 ? "127.0.0.1" : "::1";
  const peer = family === 4 ? LOOPBACK4 : LOOPBACK6;

  test(`IPv${family}: without checksums a train goes out segment by segment, and arrives`, () => {
    const into = open({ family, address, receiveOffload: true, receiveBuffer: 1 << 20 });
    const from = open({ family, address, segmentation: true, sendBuffer: 1 << 20 });
    tun.setUdpChecksums(from.fd, { send: false, zeroes: false });
    const batch = new Batch();
    const bytes = pattern(10 * 1000 + 1);
    const sendTrain = () => {
      batch.put(0, { bytes, segment: 1000, tos: 4, family, peer, port: into.port });
      assert.is(send(batch, from, 1), 1);
      assert.is(batch.get(0).failed, 0);
    };
    sendTrain();
    const heard = family === 4 ? 11 : 0;
    assert.is(batch.collect(tun.readUdpBatch, into.fd, 11, heard === 0 ? 50 : 3000).length, heard);
    tun.setUdpChecksums(into.fd, { send: true, zeroes: true });
    sendTrain();
    const packets = batch.collect(tun.readUdpBatch, into.fd, 11);
    assert.ok(bytesOf(packets).equals(Buffer.from(bytes)));
    assert.ok(packets.every((packet) => packet.segment === 0 && packet.tos === 4));
    tun.setUdpChecksums(from.fd, { send: true, zeroes: false });
    tun.setUdpChecksums(into.fd, { send: true, zeroes: false });
    sendTrain();
    const [train] = batch.collect(tun.readUdpBatch, into.fd, 1);
    assert.is(train.segment, 1000, "and as one train again");
  });
}

test("what a full receive buffer loses is counted", () => {
  const into = open({ receiveBuffer: 4096 });
  const from = open({ sendBuffer: 1 << 20 });
  assert.is(tun.receiveDrops(into.fd), 0);
  const batch = new Batch();
  for (let i = 0; i < 40; i++) {
    batch.put(i, { bytes: pattern(1000), segment: 0, family: 4, peer: LOOPBACK4, port: into.port });
  }
  assert.is(send(batch, from, 40), 40);
  const arrived = batch.collect(tun.readUdpBatch, into.fd, 40, 50).length;
  assert.ok(arrived < 40, `${arrived} arrived`);
  assert.is(tun.receiveDrops(into.fd), 40 - arrived);
  assert.match(thrownBy(() => tun.receiveDrops(0x7fff)).message, /SO_MEMINFO/);
});

test("a train of more segments than the kernel takes goes out segment by segment", () => {
  const into = open({ receiveBuffer: 1 << 22 });
  const from = open({ sendBuffer: 1 << 22 });
  const batch = new Batch();
  const bytes = pattern(200 * 10);
  batch.put(0, { bytes, segment: 10, tos: 4, peer: LOOPBACK4, port: into.port });
  assert.is(send(batch, from, 1), 1);
  assert.is(batch.get(0).failed, 0);
  const packets = batch.collect(tun.readUdpBatch, into.fd, 200);
  assert.is(packets.length, 200);
  assert.ok(packets.every((packet) => packet.length === 10 && packet.tos === 4));
  assert.ok(bytesOf(packets).equals(Buffer.from(bytes)));
});

test("a batch longer than one system call keeps its order, and the sockets it names", () => {
  const into = open({ receiveBuffer: 1 << 22 });
  const first = open({ receive: false, sendBuffer: 1 << 20 });
  const second = open({ receive: false, sendBuffer: 1 << 20 });
  const batch = new Batch();
  for (let i = 0; i < 200; i++) {
    const socket = i >= 70 && i < 80 ? 1 : 0;
    batch.put(i, { bytes: [i], socket, peer: LOOPBACK4, port: into.port }, 64);
  }
  const fds = new Int32Array([first.fd, second.fd]);
  assert.is(tun.writeUdpBatch(fds, batch.memory, batch.at, 200), 200);
  batch.preset(300, 64);
  assert.is(tun.readUdpBatch(into.fd, batch.memory, batch.at, 300, 9), 200);
  for (let i = 0; i < 200; i++) {
    const packet = batch.get(i);
    assert.is(packet.bytes[0], i);
    assert.is(packet.socket, 9);
    assert.is(packet.port, i >= 70 && i < 80 ? second.port : first.port);
  }
  assert.is(batch.get(200).length, 0xa5a5a5a5, "a descriptor not filled is not touched");
  assert.is(tun.readUdpBatch(into.fd, batch.memory, batch.at, 300), 0, "empty is 0, no error");
});

test("a packet larger than its slot is flagged, one that just fits is not", () => {
  const into = open();
  const from = open();
  const batch = new Batch();
  batch.put(0, { bytes: pattern(101), peer: LOOPBACK4, port: into.port });
  batch.put(1, { bytes: pattern(100), peer: LOOPBACK4, port: into.port });
  batch.put(2, { bytes: [], peer: LOOPBACK4, port: into.port });
  assert.is(send(batch, from, 3), 3);
  batch.preset(4, 100);
  batch.memory.fill(0x5a, batch.slots, batch.slots + 400);
  assert.is(tun.readUdpBatch(into.fd, batch.memory, batch.at, 4), 3);
  assert.equal(
    [0, 1, 2].map((i) => [batch.get(i).length, batch.get(i).flags]),
    [
      [100, tun.descriptorLayout.D_FLAG_TRUNCATED],
      [100, 0],
      [0, 0],
    ],
  );
  assert.is(batch.memory[batch.slots + 200], 0x5a, "nothing behind the slot");
});

test("a socket on all addresses tells where a packet was sent to, and answers from there", () => {
  const into = open({ address: "0.0.0.0" });
  const from = open();
  const batch = new Batch();
  const elsewhere = field(127, 0, 0, 42);
  batch.put(0, { bytes: [1], peer: elsewhere, port: into.port });
  assert.is(send(batch, from, 1), 1);
  const [got] = batch.collect(tun.readUdpBatch, into.fd, 1);
  assert.equal(got.local, elsewhere);
  batch.put(0, { bytes: [2], peer: got.peer, local: got.local, port: got.port });
  assert.is(send(batch, into, 1), 1);
  assert.equal(batch.collect(tun.readUdpBatch, from.fd, 1)[0].peer, elsewhere);
});

test("a send-only socket receives nothing, and shares no port", () => {
  const deaf = open({ receive: false });
  const from = open();
  const batch = new Batch();
  batch.put(0, { bytes: [1], peer: LOOPBACK4, port: deaf.port });
  assert.is(send(batch, from, 1), 1);
  assert.is(batch.collect(tun.readUdpBatch, deaf.fd, 1, 50).length, 0);
});

test("a port in use is EADDRINUSE; probePort sees through SO_REUSEPORT", () => {
  const holder = open({ reusePort: true });
  const error = thrownBy(() => open({ port: holder.port }));
  assert.instance(error, tun.SystemCallError);
  assert.is(error.name, "SystemCallError");
  assert.is(error.code, "EADDRINUSE");
  assert.is(error.errno, 98);
  assert.is(error.syscall, "bind");
  assert.is(error.object, `127.0.0.1:${holder.port}`);
  assert.match(error.message, /EADDRINUSE.*another socket has this port/);
  assert.is(open({ port: holder.port, reusePort: true }).port, holder.port);
  const asked = { family: 4, address: "127.0.0.1", port: holder.port };
  assert.is(tun.probePort(asked), false);
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
  assert.is(tun.probePort(asked), true);
  assert.is(tun.probePort({ family: 6, address: "::1", port: holder.port }), true);
});

test("an address no interface has is EADDRNOTAVAIL, with freebind it is not", () => {
  const absent = { address: "192.0.2.77" };
  assert.is(thrownBy(() => open(absent)).code, "EADDRNOTAVAIL");
  assert.is(open({ ...absent, freebind: true }).address, "192.0.2.77");
  const probe = () => tun.probePort({ family: 4, address: "192.0.2.77", port: 4789 });
  assert.is(thrownBy(probe).code, "EADDRNOTAVAIL");
});

test("IPv6 sockets leave the IPv4 port to others", () => {
  const six = open({ family: 6, address: "::" });
  assert.is(open({ address: "0.0.0.0", port: six.port }).port, six.port);
});

test("what is no address, port or option is a TypeError that says so", () => {
  const cases = [
    [{ address: "localhost" }, /address/],
    [{ address: "127.0.0.1\0x" }, /address/],
    [{ address: "::1" }, /address/],
    [{ family: 6, address: "127.0.0.1" }, /address/],
    [{ family: 5 }, /family/],
    [{ port: 65536 }, /port/],
    [{ port: -1 }, /port/],
    [{ port: 1.5 }, /port/],
    [{ port: "53" }, /port/],
    [{ sendBuffer: -1 }, /sendBuffer/],
    [{ reusePort: 1 }, /reusePort/],
    [{ device: "a-name-that-is-too-long" }, /device/],
    [{ reuseport: true }, /unknown option reuseport/],
  ];
  for (const [options, message] of cases) {
    const error = thrownBy(() => open(options));
    assert.instance(error, TypeError, JSON.stringify(options));
    assert.match(error.message, message);
  }
  assert.is(thrownBy(() => open({ family: 6, address: "fe80::1%none" })).code, "ENODEV");
  assert.is(thrownBy(() => open({ device: "none0" })).code, "ENODEV");
});

test("one peer's refused port does not fail another peer's packet", () => {
  const into = open();
  const from = open();
  const refused = open();
  tun.closeDescriptor(opened.pop());
  const batch = new Batch();
  for (let round = 0; round < 20; round++) {
    batch.put(0, { bytes: [1], peer: LOOPBACK4, port: refused.port });
    batch.put(1, { bytes: [round], peer: LOOPBACK4, port: into.port });
    assert.is(send(batch, from, 2), 2);
  }
  assert.is(batch.collect(tun.readUdpBatch, into.fd, 20).length, 20);
  assert.is(tun.readUdpBatch(from.fd, batch.memory, batch.at, 1), 0, "no error to read either");
});

test("a pending ECONNREFUSED of a connected socket is passed over by sends and reads", async () => {
  const into = open();
  const refused = open();
  tun.closeDescriptor(opened.pop());
  const connected = dgram.createSocket("udp4").unref();
  await new Promise((resolve) => connected.connect(refused.port, "127.0.0.1", resolve));
  const { fd } = connected._handle;
  const batch = new Batch();
  // Alone in its call: sendmmsg itself swallows an error behind its first message.
  const provoke = () => {
    batch.put(0, { bytes: [1], peer: LOOPBACK4, port: refused.port });
    assert.is(send(batch, { fd }, 1), 1);
  };
  for (let round = 0; round < 20; round++) {
    provoke();
    batch.put(0, { bytes: [round], peer: LOOPBACK4, port: into.port });
    assert.is(send(batch, { fd }, 1), 1);
    provoke();
    assert.is(tun.readUdpBatch(fd, batch.preset(1).memory, batch.at, 1), 0);
  }
  assert.is(batch.collect(tun.readUdpBatch, into.fd, 20).length, 20);
  connected.close();
});

test("a packet that cannot be sent says why, and the others of the batch go", () => {
  const into = open();
  const from = open();
  const batch = new Batch();
  const good = { bytes: [7], peer: LOOPBACK4, port: into.port };
  const size = batch.memory.length;
  batch.put(0, good);
  batch.put(1, { ...good, family: 5, segments: 3 });
  batch.put(2, { ...good, socket: 1 });
  batch.put(3, { ...good, bytes: undefined, address: size - 10, length: 11 });
  batch.put(4, { ...good, bytes: undefined, address: 0xffffffff, length: 0xffffffff, segment: 9 });
  batch.put(5, { ...good, bytes: undefined, length: 66000 });
  batch.put(6, { ...good, family: 6, peer: LOOPBACK6 });
  batch.put(7, good);
  assert.is(send(batch, from, 8), 2);
  const seen = Array.from({ length: 8 }, (_, i) => batch.get(i));
  const [EBADF, EFAULT, EMSGSIZE, EAFNOSUPPORT] = [9, 14, 90, 97];
  const statuses = [0, EAFNOSUPPORT, EBADF, EFAULT, EFAULT, EMSGSIZE, EAFNOSUPPORT, 0];
  assert.equal(
    seen.map((packet) => packet.status),
    statuses,
  );
  assert.equal(
    seen.map((packet) => packet.failed),
    [0, 3, 1, 1, 65535, 1, 1, 0],
  );
  assert.is(batch.collect(tun.readUdpBatch, into.fd, 2).length, 2);
});

test("descriptors or slots outside of the memory are EFAULT, also where 32 bits overflow", () => {
  const socket = open();
  const batch = new Batch();
  const size = batch.memory.length;
  const fault = (action) => {
    const error = thrownBy(action);
    assert.instance(error, tun.SystemCallError);
    assert.is(error.code, "EFAULT");
  };
  const fds = new Int32Array([socket.fd]);
  for (const [at, count] of [
    [size - 63, 1],
    [size, 1],
    [0xffffffc0, 1],
    [64, 0xffffffff],
    [0xfffffffc, 0xffffffff],
    [batch.at + 1, 1],
  ]) {
    fault(() => tun.readUdpBatch(socket.fd, batch.memory, at, count));
    fault(() => tun.writeUdpBatch(fds, batch.memory, at, count));
    fault(() => tun.readTunBatch(socket.fd, batch.memory, at, count));
    fault(() => tun.writeTunBatch(fds, batch.memory, at, count));
  }
  assert.is(tun.readUdpBatch(socket.fd, batch.memory, size, 0), 0, "no descriptors at the end");
  for (const [address, capacity] of [
    [size - 1, 2],
    [0xffffffff, 0xffffffff],
    [8, 0xfffffffa],
  ]) {
    batch.preset(1);
    batch.view.setUint32(batch.at, address, true);
    batch.view.setUint32(batch.at + 4, capacity, true);
    fault(() => tun.readUdpBatch(socket.fd, batch.memory, batch.at, 1));
  }
});

test("packets before a bad slot are handed over, the error stands at the next call", () => {
  const into = open({ receiveBuffer: 1 << 20 });
  const from = open();
  const batch = new Batch();
  for (let i = 0; i < 70; i++) batch.put(i, { bytes: [i], peer: LOOPBACK4, port: into.port }, 64);
  assert.is(send(batch, from, 70), 70);
  batch.preset(80, 64);
  for (const bad of [5, 64]) batch.view.setUint32(batch.of(bad), 0xffffffff, true);
  const read = (from) => tun.readUdpBatch(into.fd, batch.memory, batch.of(from), 80 - from);
  assert.is(read(0), 5);
  assert.is(thrownBy(() => read(5)).code, "EFAULT");
  assert.is(read(6), 58);
  assert.is(thrownBy(() => read(64)).code, "EFAULT");
  batch.preset(80, 64);
  assert.is(read(64), 7, "nothing was lost");
  assert.is(batch.get(70).bytes[0], 69);
});

test("a descriptor of another kind is an error with its call", () => {
  const batch = new Batch();
  const wake = tun.openWake();
  const error = thrownBy(() => tun.readUdpBatch(wake, batch.preset(1).memory, batch.at, 1));
  assert.is(error.code, "ENOTSOCK");
  assert.is(error.syscall, "recvmmsg");
  assert.is(error.object, `descriptor ${wake}`);
  assert.is(thrownBy(() => tun.adoptUdp(wake)).code, "ENOTSOCK");
  assert.is(thrownBy(() => tun.adoptTun(wake)).code, "ENOTTY");
  tun.closeDescriptor(wake);
  assert.is(thrownBy(() => tun.closeDescriptor(wake)).code, "EBADF");
});

test.run();
