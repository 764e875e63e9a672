// Comparison of short runs of bytes.

/** Whether `length` bytes, 8 or more, are equal; none outside of them is read. */
export function equal(a: usize, b: usize, length: u32): bool {
  const rest: usize = length - 8;
  if (load<u64>(a) !== load<u64>(b) || load<u64>(a + rest) !== load<u64>(b + rest)) return false;
  for (let i: usize = 8; i < rest; i += 8) {
    if (load<u64>(a + i) !== load<u64>(b + i)) return false;
  }
  return true;
}
