// Known answers: checksums of RFC 1071 and RFC 1624, an ICMP "fragmentation needed" of RFC 1191,
// and whole IPv4 and IPv6 UDP packets built with an independent tool. Sources:
// test/vectors/README.md.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openKernels } from "../support/kernels.js";

interface Vectors {
  rfc1071: { data: string; sum: string };
  rfc1624: { from: string; to: string; checksum: string; updated: string };
  packets: { name: string; bytes: string }[];
  icmp4: { mtu: number; bytes: string };
}

const path = new URL("../../../test/vectors/checksum.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as Vectors;
const { kernels, bytes } = openKernels();
const AT = 70_000;

const fromHex = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const swap = (word: number) => ((word & 0xff) << 8) | (word >> 8);
const put = (hex: string) => {
  const data = fromHex(hex);
  bytes.set(data, AT);
  return data;
};

test("the example of RFC 1071 section 3 sums to ddf2", () => {
  const data = put(vectors.rfc1071.data);
  const sum = swap(kernels.partial(AT, data.length, 0));
  assert.is(sum.toString(16), vectors.rfc1071.sum);
  assert.is(swap(kernels.finish(kernels.partial(AT, data.length, 0))).toString(16), "220d");
});

test("the example of RFC 1071 sums the same in two pieces of even length", () => {
  const data = put(vectors.rfc1071.data);
  const first = kernels.partial(AT, 2, 0);
  assert.is(swap(kernels.partial(AT + 2, data.length - 2, first)).toString(16), "ddf2");
});

test("RFC 1624's case gives 0000 and not FFFF", () => {
  const { from, to, checksum, updated } = vectors.rfc1624;
  const word = (hex: string) => swap(Number.parseInt(hex, 16));
  assert.is(kernels.update(word(checksum), word(from), word(to)), word(updated));
});

for (const packet of vectors.packets) {
  test(`${packet.name}: header and transport checksums are found right`, () => {
    const data = put(packet.bytes);
    const isV4 = (data[0] ?? 0) >> 4 === 4;
    const header = isV4 ? 20 : 40;
    const protocol = (isV4 ? data[9] : data[6]) ?? 0;
    const length = data.length - header;
    if (isV4) assert.is(kernels.partial(AT, header, 0), 0xffff);
    const pseudo = isV4
      ? kernels.pseudo4(AT, protocol, length)
      : kernels.pseudo6(AT, protocol, length);
    assert.is(kernels.partial(AT + header, length, pseudo), 0xffff);
  });
}

test("the ICMP message of RFC 1191 has the checksum 112e", () => {
  const data = put(vectors.icmp4.bytes);
  assert.is(kernels.partial(AT, data.length, 0), 0xffff);
  bytes.fill(0, AT + 2, AT + 4);
  assert.is(swap(kernels.finish(kernels.partial(AT, data.length, 0))), 0x112e);
});

test.run();
