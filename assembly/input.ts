// What both directions ask of the descriptors they are given.
import { BATCH, D_ADDRESS, D_CAPACITY, D_LENGTH, HEADROOM, SLOT_SIZE } from "./shared/layout";

/** Whether a descriptor's bytes lie in the slots that begin at `slots`, behind headroom. */
export function isInSlots(descriptor: usize, slots: u64): bool {
  const address: u64 = load<u32>(descriptor, D_ADDRESS);
  const length = load<u32>(descriptor, D_LENGTH);
  if (length > load<u32>(descriptor, D_CAPACITY)) return false;
  return address >= slots + HEADROOM && address + length <= slots + SLOT_SIZE * BATCH;
}
