// The last datagram from the underlay that ended for each reason, for whoever asks why: from whom,
// how long, its first bytes. Written in the worker's region, read by the control thread.
import {
  D_FAMILY,
  D_PEER,
  D_SOCKET,
  DROP_RECORD_SIZE,
  R_ADDRESS,
  R_BYTES,
  R_BYTES_MAX,
  R_FAMILY,
  R_LENGTH,
  R_SOCKET,
  R_TIME,
  R_VERSION,
  W_DROP_RECORDS,
  W_NOW,
} from "./shared/layout";
import { worker } from "./worker";

/** Keeps a datagram of `length` bytes at `at` that came by a descriptor, in place of the last. */
export function keep(reason: i32, descriptor: usize, at: usize, length: u32): void {
  const record = worker + W_DROP_RECORDS + <usize>reason * DROP_RECORD_SIZE;
  const version = load<u32>(record, R_VERSION) | 1;
  atomic.store<u32>(record, version, R_VERSION);
  store<u16>(record, load<u16>(descriptor, D_SOCKET), R_SOCKET);
  store<u8>(record, load<u8>(descriptor, D_FAMILY), R_FAMILY);
  store<u32>(record, length, R_LENGTH);
  store<f64>(record, load<f64>(worker, W_NOW), R_TIME);
  v128.store(record, v128.load(descriptor, D_PEER), R_ADDRESS);
  memory.copy(record + R_BYTES, at, min<usize>(length, R_BYTES_MAX));
  atomic.store<u32>(record, version + 1, R_VERSION);
}
