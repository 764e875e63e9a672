// Zeroing of large tables that are mostly empty.

const PAGE_SIZE = 4096;
const ZEROS = Buffer.alloc(PAGE_SIZE);

/**
 * Zeroes bytes `from` to `to`. What is zero already is only read: pages that nobody has written to
 * share one page of the kernel's and take no memory.
 */
export function clear(bytes: Uint8Array, from: number, to: number): void {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = from; at < to; ) {
    const end = Math.min(to, at - (at % PAGE_SIZE) + PAGE_SIZE);
    if (whole.compare(ZEROS, 0, end - at, at, end) !== 0) whole.fill(0, at, end);
    at = end;
  }
}
