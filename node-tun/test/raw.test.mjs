// Raw IP sockets in a network namespace of their own: headers, TOS, and the filter by which several
// sockets share one protocol.
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as tun from "../dist/index.js";
import {
  Batch,
  enterNamespace,
  field,
  inNamespace,
  ip,
  LOOPBACK4,
  LOOPBACK6,
  pattern,
  thrownBy,
} from "./support.mjs";

const rootTest = inNamespace(test, enterNamespace(import.meta.url));
const [IPIP, SIX, GRE, ODD] = [4, 41, 47, 253];

const opened = [];
function open(options) {
  const { fd } = tun.openRaw({ family: 4, protocol: ODD, receiveBuffer: 1 << 22, ...options });
  opened.push(fd);
  return fd;
}
test.after.each(() => {
  for (const fd of opened.splice(0)) tun.closeDescriptor(fd);
});

const inner4 = (i) => {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt32BE(0x0a000000 + i, 12);
  header.writeUInt32BE(0x0a010000 + 3 * i, 16);
  return header;
};
const inner6 = (i) => {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt32BE(0xfd000000, 8);
  header.writeUInt32BE(i, 20);
  header.writeUInt32BE(0xfd000001, 24);
  header.writeUInt32BE(i * 5, 36);
  return header;
};
const gre = (flags, type, fields, inner) => {
  const header = Buffer.alloc(4 + fields);
  header.writeUInt16BE(flags, 0);
  header.writeUInt16BE(type, 2);
  return Buffer.concat([header, inner]);
};
const ethernet = (type, inner) => {
  const header = Buffer.alloc(14, 2);
  header.writeUInt16BE(type, 12);
  return Buffer.concat([header, inner]);
};

/** Sends each payload from a socket of its own; gives how often each came to each of `count`. */
function share(family, protocol, payloads, count = 4) {
  const peer = family === 4 ? LOOPBACK4 : LOOPBACK6;
  const fds = Array.from({ length: count }, (_, index) =>
    open({ family, protocol, share: { index, count } }),
  );
  const from = open({ family, protocol: 252 });
  const all = open({ family, protocol });
  const via = open({ family, protocol, share: { index: 0, count: 1 } });
  const batch = new Batch();
  for (let at = 0; at < payloads.length; at += 200) {
    const part = payloads.slice(at, at + 200);
    part.forEach((bytes, i) => {
      batch.put(i, { bytes, family, peer }, 256);
    });
    const sent = tun.writeRawBatch(new Int32Array([via]), batch.memory, batch.at, part.length);
    assert.is(sent, part.length);
  }
  assert.is(batch.collect(tun.readRawBatch, from, 1, 10).length, 0);
  assert.is(batch.collect(tun.readRawBatch, all, payloads.length).length, payloads.length);
  const skip = family === 4 ? 20 : 0;
  return fds.map((fd) =>
    batch
      .collect(tun.readRawBatch, fd, payloads.length, 20)
      .map((packet) => packet.bytes.subarray(skip).toString("hex")),
  );
}

/** Every payload at exactly one socket, and no socket idle. */
function assertShared(shares, payloads) {
  const sent = payloads.map((payload) => payload.toString("hex")).sort();
  assert.equal(shares.flat().sort(), sent);
  const least = sent.length / shares.length / 4;
  assert.ok(
    shares.every((part) => part.length > least),
    `uneven: ${shares.map((part) => part.length)}`,
  );
}

for (const family of [4, 6]) {
  const peer = family === 4 ? LOOPBACK4 : LOOPBACK6;

  rootTest(`IPv${family}: a raw packet arrives with TOS and both addresses`, () => {
    const into = open({ family });
    const from = open({ family, address: family === 4 ? "127.0.0.1" : "::1" });
    const batch = new Batch();
    const bytes = pattern(500);
    batch.put(0, { bytes, family, peer, tos: 0x2e, port: 4711, segment: 100 });
    assert.is(tun.writeRawBatch(new Int32Array([from]), batch.memory, batch.at, 1), 1);
    const [got] = batch.collect(tun.readRawBatch, into, 1);
    const header = family === 4 ? 20 : 0;
    assert.is(got.length, header + 500);
    assert.ok(got.bytes.subarray(header).equals(Buffer.from(bytes)));
    assert.is(got.tos, 0x2e);
    assert.is(got.family, family);
    assert.is(got.port, 0);
    assert.equal(got.peer, peer);
    assert.equal(got.local, peer);
    if (family === 4) assert.is(got.bytes.readUInt16BE(6), 0x4000, "don't fragment");
  });

  rootTest(`IPv${family}: four sockets share IP in IP by inner addresses, none gets a copy`, () => {
    const payloads = Array.from({ length: 400 }, (_, i) => inner4(i));
    assertShared(share(family, IPIP, payloads), payloads);
  });

  rootTest(`IPv${family}: four sockets share IPv6 in IP`, () => {
    const payloads = Array.from({ length: 400 }, (_, i) => inner6(i));
    assertShared(share(family, SIX, payloads), payloads);
  });

  rootTest(`IPv${family}: GRE is shared by what is inside, behind whatever fields it has`, () => {
    const kinds = [
      (i) => gre(0, 0x0800, 0, inner4(i)),
      (i) => gre(0x2000, 0x86dd, 4, inner6(i)),
      (i) => gre(0x9000, 0x0800, 8, inner4(i + 1e6)),
      (i) => gre(0xb000, 0x6558, 12, ethernet(0x0800, inner4(i))),
      (i) => gre(0, 0x6558, 0, ethernet(0x86dd, inner6(i))),
    ];
    for (const make of kinds) {
      const payloads = Array.from({ length: 200 }, (_, i) => make(i));
      assertShared(share(family, GRE, payloads), payloads);
    }
  });

  rootTest(`IPv${family}: GRE version 1 stays with its call, whatever is inside`, () => {
    const call = (id, i) => {
      const packet = gre(0x3001, 0x880b, 8, inner4(i));
      packet.writeUInt16BE(id, 6);
      return packet;
    };
    const payloads = Array.from({ length: 200 }, (_, i) => call(i % 40, i));
    const shares = share(family, GRE, payloads);
    assertShared(shares, payloads);
    const calls = shares.map((part) => new Set(part.map((hex) => hex.slice(12, 16))));
    assert.is(
      calls.reduce((sum, ids) => sum + ids.size, 0),
      40,
    );
  });

  rootTest(`IPv${family}: short and unknown packets have exactly one reader too`, () => {
    const parts = [
      [IPIP, [0, 1, 19].map((length) => inner4(1).subarray(0, length))],
      [SIX, [0, 20, 39].map((length) => inner6(1).subarray(0, length))],
      [GRE, [0, 3, 7].map((length) => gre(0xb000, 0x0800, 12, inner4(1)).subarray(0, length))],
      [GRE, [8, 15, 20, 35].map((end) => gre(0xb000, 0x0800, 12, inner4(1)).subarray(0, end))],
      [
        GRE,
        [8, 20, 37].map((end) => gre(0, 0x6558, 0, ethernet(0x86dd, inner6(1))).subarray(0, end)),
      ],
      [GRE, [gre(0, 0x1234, 0, inner4(1)), gre(5, 0x0800, 0, inner4(2))]],
      [ODD, [pattern(3), pattern(30)].map((bytes) => Buffer.from(bytes))],
    ];
    for (const [protocol, payloads] of parts) {
      const shares = share(family, protocol, payloads);
      assert.equal(shares.flat().sort(), payloads.map((bytes) => bytes.toString("hex")).sort());
    }
  });
}

rootTest("what does not fit the way is an error of its descriptor alone", () => {
  ip("link", "set", "lo", "mtu", "1500");
  const into = open();
  const from = open();
  const batch = new Batch();
  batch.put(0, { bytes: pattern(1481), peer: LOOPBACK4, segments: 2 });
  batch.put(1, { bytes: pattern(1480), peer: LOOPBACK4 });
  assert.is(tun.writeRawBatch(new Int32Array([from]), batch.memory, batch.at, 2), 1);
  assert.equal([batch.get(0).status, batch.get(0).failed], [90, 2]);
  assert.is(batch.collect(tun.readRawBatch, into, 1).length, 1);
  ip("link", "set", "lo", "mtu", "65536");
});

test("protocols, shares and addresses that cannot be are TypeErrors", () => {
  const cases = [
    [{ protocol: 0 }, /protocol/],
    [{ protocol: 255 }, /protocol/],
    [{ protocol: "gre" }, /protocol/],
    [{ family: 7 }, /family/],
    [{ share: { index: 2, count: 2 } }, /share/],
    [{ share: { index: 0, count: 0 } }, /share/],
    [{ share: {} }, /share.index/],
    [{ share: null }, /share/],
    [{ address: "::1" }, /address/],
    [{ port: 5 }, /unknown option port/],
  ];
  for (const [options, message] of cases) {
    const error = thrownBy(() => tun.openRaw({ family: 4, protocol: 47, ...options }));
    assert.instance(error, TypeError, JSON.stringify(options));
    assert.match(error.message, message);
  }
});

/** Different addresses below 127.0.0.0/8, `first` and those behind it. */
const addressesFrom = (first, count) =>
  Array.from({ length: count }, (_, i) => {
    // Odd steps: neither neighbours nor pairs.
    const number = (first + i) * 7919;
    return field(127, 64 + ((number >>> 16) & 63), (number >>> 8) & 255, number & 255);
  });
const listOf = (addresses, size) => Uint8Array.from(addresses.flatMap((one) => one.slice(0, size)));

/** Sends a packet from each address; gives how many of those each of the sockets read. */
function readFrom(fds, family, protocol, addresses) {
  const peer = family === 4 ? LOOPBACK4 : LOOPBACK6;
  const via = open({ family, protocol, receive: false });
  const batch = new Batch();
  for (let at = 0; at < addresses.length; at += 200) {
    const part = addresses.slice(at, at + 200);
    part.forEach((local, i) => {
      batch.put(i, { bytes: inner4(i), family, peer, local }, 256);
    });
    const sent = tun.writeRawBatch(new Int32Array([via]), batch.memory, batch.at, part.length);
    assert.is(sent, part.length);
  }
  const keys = addresses.map(String);
  return fds.map((fd) => {
    const read = batch.collect(tun.readRawBatch, fd, addresses.length, 20);
    return read.filter(({ peer: from }) => keys.includes(String(from))).length;
  });
}

const total = (counts) => counts.reduce((sum, one) => sum + one, 0);

for (const count of [1, 2, 31, 32, 33, 64, 65, 500, 3000]) {
  rootTest(`a filter of ${count} sources takes those, each packet once, and no others`, () => {
    const share = (index) => ({ index, count: 4 });
    const fds = [0, 1, 2, 3].map((index) => open({ protocol: IPIP, share: share(index) }));
    const known = addressesFrom(0, count);
    const sources = listOf(known, 4);
    for (const [index, fd] of fds.entries()) {
      tun.filterRaw(fd, { family: 4, protocol: IPIP, share: share(index), sources });
    }
    assert.is(total(readFrom(fds, 4, IPIP, known)), count);
    assert.is(total(readFrom(fds, 4, IPIP, addressesFrom(count, 500))), 0);
    for (const [index, fd] of fds.entries()) {
      tun.filterRaw(fd, { family: 4, protocol: IPIP, share: share(index) });
    }
    assert.is(
      total(readFrom(fds, 4, IPIP, addressesFrom(count, 500))),
      500,
      "without sources: all",
    );
  });
}

rootTest("a filter of IPv6 sources, for one socket alone", () => {
  const addresses = Array.from({ length: 40 }, (_, i) => {
    ip("-6", "address", "add", `fd00::${(i + 1).toString(16)}`, "dev", "lo", "nodad");
    return [0xfd, ...new Array(14).fill(0), i + 1];
  });
  const into = open({ family: 6, protocol: ODD });
  const known = addresses.filter((_, i) => i % 2 === 0);
  const strangers = addresses.filter((_, i) => i % 2 === 1);
  tun.filterRaw(into, { family: 6, protocol: ODD, sources: listOf(known, 16) });
  assert.equal(readFrom([into], 6, ODD, known), [20]);
  assert.equal(readFrom([into], 6, ODD, strangers), [0]);
  tun.filterRaw(into, { family: 6, protocol: ODD, sources: new Uint8Array(0) });
  assert.equal(readFrom([into], 6, ODD, known), [0], "none is known");
  tun.filterRaw(into, { family: 6, protocol: ODD });
  assert.equal(readFrom([into], 6, ODD, addresses), [40]);
});

rootTest("of strangers' packets one in so many passes where that is asked for", () => {
  const into = open({ protocol: ODD });
  tun.filterRaw(into, { family: 4, protocol: ODD, sources: listOf([LOOPBACK4], 4), sample: 8 });
  const strangers = addressesFrom(0, 4000);
  const [passed] = readFrom([into], 4, ODD, strangers);
  // 500 are expected; ten standard deviations are 209.
  assert.ok(passed > 290 && passed < 710, `${passed} of 4000`);
  assert.equal(readFrom([into], 4, ODD, [LOOPBACK4]), [1]);
});

rootTest("more sources than fit are refused, and the socket takes its share of all again", () => {
  const into = open({ protocol: ODD });
  tun.filterRaw(into, { family: 4, protocol: ODD, sources: listOf([LOOPBACK4], 4) });
  const strangers = addressesFrom(0, 10);
  assert.equal(readFrom([into], 4, ODD, strangers), [0]);
  const many = listOf(addressesFrom(0, 5000), 4);
  const { code } = thrownBy(() => tun.filterRaw(into, { family: 4, protocol: ODD, sources: many }));
  assert.is(code, "E2BIG");
  assert.equal(readFrom([into], 4, ODD, strangers), [10]);
  const half = { family: 4, protocol: ODD, sources: new Uint8Array(3) };
  assert.instance(
    thrownBy(() => tun.filterRaw(into, half)),
    TypeError,
  );
});

test.run();
