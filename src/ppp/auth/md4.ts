// MD4 (RFC 1320), of which the NT hash is made. OpenSSL 3 has it in its legacy provider alone, so
// it stands here. Broken: good for nothing but this.

/** Message word of each step, in rounds of 16; additive constants; rotations by round. */
const orders = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15],
  [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15],
];
const constants = [0, 0x5a827999, 0x6ed9eba1];
const rotations = [
  [3, 7, 11, 19],
  [3, 5, 9, 13],
  [3, 9, 11, 15],
];

function mix(round: number, x: number, y: number, z: number): number {
  if (round === 0) return (x & y) | (~x & z);
  if (round === 1) return (x & y) | (x & z) | (y & z);
  return x ^ y ^ z;
}

/** RFC 1320 section 3.1 and 3.2: a one bit, zeros, and the length in bits. */
function padded(message: Uint8Array): DataView {
  const length = Math.ceil((message.length + 9) / 64) * 64;
  const bytes = new Uint8Array(length);
  bytes.set(message);
  bytes[message.length] = 0x80;
  const view = new DataView(bytes.buffer);
  view.setUint32(length - 8, message.length * 8, true);
  view.setUint32(length - 4, Math.floor(message.length / 0x2000_0000), true);
  return view;
}

/** The 16 bytes of MD4 over a message. */
export function md4(message: Uint8Array): Uint8Array {
  const data = padded(message);
  let state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
  for (let at = 0; at < data.byteLength; at += 64) state = block(state, data, at);
  const digest = new DataView(new ArrayBuffer(16));
  for (const [index, word] of state.entries()) digest.setUint32(index * 4, word, true);
  return new Uint8Array(digest.buffer);
}

/** RFC 1320 section 3.4: one block of 64 bytes. */
function block(state: readonly number[], data: DataView, at: number): number[] {
  let [a = 0, b = 0, c = 0, d = 0] = state;
  for (const [round, order] of orders.entries()) {
    const constant = constants[round] ?? 0;
    const shifts = rotations[round] ?? [];
    for (const [step, word] of order.entries()) {
      const sum = a + mix(round, b, c, d) + data.getUint32(at + word * 4, true) + constant;
      const shift = shifts[step & 3] ?? 0;
      [a, d, c, b] = [d, c, b, (sum << shift) | ((sum | 0) >>> (32 - shift))];
    }
  }
  return [a, b, c, d].map((word, index) => (word + (state[index] ?? 0)) | 0);
}
