// Which of the two copies of the tables this run works with.
import {
  C_GENERATION,
  C_TABLES_AT,
  CONTROL,
  W_FIB4,
  W_GENERATION,
  W_TABLES,
} from "./shared/layout";
import { T_FIB4_AT } from "./shared/tables";
import { worker } from "./worker";

/**
 * Reads the generation once and reports it back: from here to the next call this worker uses that
 * copy and no other, so the control thread may refill the other as soon as it sees the number.
 */
export function refresh(): void {
  const generation = atomic.load<u32>(CONTROL, C_GENERATION);
  const copy: usize = generation & 1;
  const tables = load<u32>(CONTROL + copy * 4, C_TABLES_AT);
  store<u32>(worker, tables, W_TABLES);
  // Two loads less for each lookup: a quarter of its time.
  store<u32>(worker, load<u32>(tables, T_FIB4_AT), W_FIB4);
  atomic.store<u32>(worker, generation, W_GENERATION);
}
